//! The page is part of the function that serves it: a change of it, also a new file, must lead to a new build.
fn main() {
    println!("cargo::rerun-if-changed=../web");
}
