//! `cargo xtask new …` creates an endpoint; `cargo xtask docs` writes the files that are generated from the
//! declarations.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};

const USAGE: &str = "usage:
  cargo xtask new MODULE NAME METHOD PATH   create the files of an endpoint, for example
                                            cargo xtask new users set_volume PATCH '/api/users/{userId}/volume'
  cargo xtask docs                          write the generated files: template.yaml, events/,
                                            the binaries, and the generated pages of docs/";

/// Writes the generated files. This needs a new process, because this program was compiled without the new function.
fn generate() -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["run", "--quiet", "--package", "xtask", "--", "docs"];
    let status = Command::new(cargo).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("the files are created, but `cargo xtask docs` fails".to_owned()),
        Err(error) => Err(format!("the files are created, but cargo cannot be started: {error}")),
    }
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["new", module, name, method, path] => {
            let written = xtask::Endpoint::new(module, name, method, path).and_then(|endpoint| endpoint.write(&root));
            written.and_then(|files| generate().map(|()| files))
        }
        ["docs"] => xtask::docs(&root),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(written) => {
            for file in written {
                // It is not a failure if the reader has closed the pipe.
                let _ = writeln!(std::io::stdout(), "{file}");
            }
            ExitCode::SUCCESS
        }
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "{problem}");
            ExitCode::from(2)
        }
    }
}
