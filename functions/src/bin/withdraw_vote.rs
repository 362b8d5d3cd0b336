//! Written by `cargo xtask docs`.
fn main() -> Result<(), functions::Error> {
    functions::serve(functions::handlers::withdraw_vote)
}
