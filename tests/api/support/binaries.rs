//! The binaries of this workspace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The path of a binary: `greenroom`, or a function's. The tests build all binaries once. A benchmark builds only this
/// binary, because each release build takes a minute.
pub(crate) fn binary(name: &str) -> PathBuf {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(build);
    if cfg!(debug_assertions) {
        return BUILT.join(name);
    }
    // The runner has a profile of its own.
    let profile = if name == "greenroom" { "runner" } else { "release" };
    match name {
        "greenroom-agent" => cargo_build(&["--package", "agent", "--features", "capture", "--profile", profile]),
        other => cargo_build(&["--workspace", "--bin", other, "--profile", profile]),
    }
    target().join(profile).join(name)
}

/// The agent, built without ALSA's headers: it can pair, but it cannot measure.
pub(crate) fn agent_without_capture() -> PathBuf {
    binary(AGENT_WITHOUT_CAPTURE)
}

const AGENT_WITHOUT_CAPTURE: &str = "greenroom-agent-without-capture";

fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

fn build() -> PathBuf {
    let built = target().join("debug");
    cargo_build(&["--workspace"]);
    std::fs::copy(built.join("greenroom-agent"), built.join(AGENT_WITHOUT_CAPTURE)).unwrap();
    if cfg!(has_pulse) {
        // This is a separate build: in one build with the rest, the features that cpal needs would compile the SDK
        // twice.
        cargo_build(&["--package", "agent", "--features", "capture"]);
    }
    built
}

fn cargo_build(what: &[&str]) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--target-dir"]).arg(target()).args(what).current_dir(root());
    if !what.contains(&"--bin") {
        cargo.arg("--bins");
    }
    // Cargo sets these variables for the package of the tests. The build script of ring would take them for a change,
    // and run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text == "OUT_DIR" || text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    let built = cargo.status().unwrap();
    assert!(built.success(), "the binaries under test do not build");
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A file of the workspace.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every source file below a folder of the workspace: path and text.
pub(crate) fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        if path.is_dir() {
            found.extend(sources(&name));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((name.clone(), read(&name)));
        }
    }
    found
}
