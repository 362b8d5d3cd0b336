//! Written by `cargo xtask docs`.
fn main() -> Result<(), functions::Error> {
    functions::serve(functions::entries::get_room_safe)
}
