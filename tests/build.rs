//! Finds the programs that some tests need. A test without its program is listed as ignored, never as passed.
//!
//! With `GREENROOM_REQUIRE_TOOLS=1`, as in CI, a missing program fails the build instead.

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// The cfgs, and the programs and libraries that each of them needs.
const TOOLS: &[(&str, &[Need])] = &[
    ("has_chromium", &[Need::Program(&["chromium", "chromium-browser"]), Need::Program(&["chromedriver"])]),
    (
        "has_axe",
        &[
            Need::Program(&["chromium", "chromium-browser"]),
            Need::Program(&["chromedriver"]),
            // The script of axe-core. `.ci/run` fetches it.
            Need::File("AXE_CORE"),
        ],
    ),
    (
        "has_pulse",
        &[
            Need::Program(&["pulseaudio"]),
            Need::Program(&["pactl"]),
            Need::Program(&["pacat"]),
            Need::Program(&["sox"]),
            Need::Program(&["espeak-ng"]),
            Need::Library("alsa"),
        ],
    ),
];

enum Need {
    /// At least one of these programs.
    Program(&'static [&'static str]),
    /// A library with headers, as pkg-config names it.
    Library(&'static str),
    /// A file that this environment variable names.
    File(&'static str),
}

impl Need {
    fn is_met(&self) -> bool {
        match self {
            Self::Program(names) => names.iter().any(|name| is_on_path(name)),
            Self::Library(name) => {
                let found = Command::new("pkg-config").args(["--exists", name]).stderr(Stdio::null()).status();
                found.is_ok_and(|status| status.success())
            }
            Self::File(variable) => env::var_os(variable).is_some_and(|path| Path::new(&path).is_file()),
        }
    }

    fn missing(&self) -> String {
        match self {
            Self::Program(names) => format!("none of these is on PATH: {}", names.join(", ")),
            Self::Library(name) => format!("pkg-config does not find the headers of {name}"),
            Self::File(variable) => format!("the environment variable {variable} names no file"),
        }
    }
}

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rerun-if-env-changed=GREENROOM_REQUIRE_TOOLS");
    println!("cargo::rerun-if-env-changed=AXE_CORE");
    // `automod` reads this folder, and cargo does not know that.
    println!("cargo::rerun-if-changed=api");
    println!("cargo::rerun-if-changed=build.rs");
    let required = env::var("GREENROOM_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
    let mut complete = true;
    for (cfg, needs) in TOOLS {
        println!("cargo::rustc-check-cfg=cfg({cfg})");
        match needs.iter().find(|need| !need.is_met()) {
            None => println!("cargo::rustc-cfg={cfg}"),
            Some(need) if required => {
                println!("cargo::error=GREENROOM_REQUIRE_TOOLS=1, but {}", need.missing());
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
