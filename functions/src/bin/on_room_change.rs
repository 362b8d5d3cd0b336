//! Written by `cargo xtask docs`.
fn main() -> Result<(), functions::Error> {
    functions::consume(functions::consumers::on_room_change::run)
}
