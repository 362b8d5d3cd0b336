//! `cargo xtask new …` makes the files of an endpoint; `cargo xtask docs` writes the generated pages.

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage:
  cargo xtask new MODULE NAME METHOD PATH   make the files of an endpoint, for example
                                            cargo xtask new users set_volume PATCH '/api/users/{userId}/volume'
  cargo xtask docs                          write the generated pages of docs/";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people")]
fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["new", module, name, method, path] => {
            xtask::Endpoint::new(module, name, method, path).and_then(|endpoint| endpoint.write(&root))
        }
        ["docs"] => xtask::docs(&root),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(written) => {
            for file in written {
                println!("{file}");
            }
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(2)
        }
    }
}
