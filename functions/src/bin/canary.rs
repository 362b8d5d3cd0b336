//! Written by `cargo xtask docs`.
fn main() -> Result<(), functions::Error> {
    functions::serve_schedule(functions::schedules::canary::run)
}
