//! Written by `cargo xtask docs`.
fn main() -> Result<(), functions::Error> {
    functions::consume(functions::streams::on_state_change::run)
}
