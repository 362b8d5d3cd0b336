//! Written by `cargo xtask docs`.
fn main() -> Result<(), functions::Error> {
    functions::serve_live(functions::handlers::update_participant)
}
