//! Written by `cargo xtask docs`.
fn main() -> Result<(), functions::Error> {
    functions::consume_live(functions::consumers::on_state_change::run)
}
