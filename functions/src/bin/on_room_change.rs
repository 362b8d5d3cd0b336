//! Written by `cargo xtask docs`.
fn main() -> Result<(), functions::Error> {
    functions::consume_live(functions::consumers::on_room_change::run)
}
