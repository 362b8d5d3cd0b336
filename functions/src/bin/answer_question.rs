//! Written by `cargo xtask docs`.
fn main() -> Result<(), functions::Error> {
    functions::serve(functions::handlers::answer_question)
}
