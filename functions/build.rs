//! The binary that serves the page contains it, so a change in `web`, even a new file, must cause a new build.
fn main() {
    println!("cargo::rerun-if-changed=../web");
}
