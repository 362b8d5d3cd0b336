//! Finds the programs that some tests need. A test without its program is listed as ignored, never as passed.
//!
//! With `GREENROOM_REQUIRE_TOOLS=1`, as in CI, a missing program fails the build instead.

use std::env;
use std::path::Path;
use std::process::ExitCode;

/// The name of the cfg, and the programs it needs: of each group one.
const TOOLS: &[(&str, &[&[&str]])] = &[("has_chromium", &[&["chromium", "chromium-browser"], &["chromedriver"]])];

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rerun-if-env-changed=GREENROOM_REQUIRE_TOOLS");
    // `automod` reads these folders, which cargo does not know.
    println!("cargo::rerun-if-changed=api");
    println!("cargo::rerun-if-changed=build.rs");
    let required = env::var("GREENROOM_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
    let mut complete = true;
    for (cfg, groups) in TOOLS {
        println!("cargo::rustc-check-cfg=cfg({cfg})");
        let missing = groups.iter().find(|names| !names.iter().any(|name| is_on_path(name)));
        match missing {
            None => println!("cargo::rustc-cfg={cfg}"),
            Some(names) if required => {
                println!("cargo::error=GREENROOM_REQUIRE_TOOLS=1, but none of these is on PATH: {}", names.join(", "));
                complete = false;
            }
            Some(_) => {}
        }
    }
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_on_path(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory: std::path::PathBuf| Path::new(&directory).join(name).is_file())
}
