//! The binaries of this workspace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The path of a binary: `greenroom`, or a function's. All are built once, by the same cargo, with the features and the
/// profile of the tests.
pub(crate) fn binary(name: &str) -> PathBuf {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(build);
    BUILT.join(name)
}

/// The agent, which can measure.
pub(crate) fn agent() -> PathBuf {
    AGENTS[0].clone()
}

/// The agent as it is built without ALSA's headers: it can pair, and cannot measure.
pub(crate) fn agent_without_capture() -> PathBuf {
    AGENTS[1].clone()
}

/// Built apart, because the features of what cpal needs would build the SDK twice, and only for tests that need it.
static AGENTS: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    let (with, without) = (binary("greenroom-agent"), binary("greenroom-agent-without-capture"));
    std::fs::copy(&with, &without).unwrap();
    if cfg!(has_pulse) {
        cargo_build(&["--package", "agent", "--features", "capture"]);
    }
    [with, without]
});

fn build() -> PathBuf {
    cargo_build(&["--workspace"]);
    target().join(if cfg!(debug_assertions) { "debug" } else { "release" })
}

fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

fn cargo_build(what: &[&str]) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--bins", "--target-dir"]).arg(target()).args(what).current_dir(root());
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // What cargo tells a test about its own package: ring's build script would take it for a change and run again.
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
