//! The Lambda of the consumer of the same name.
fn main() -> Result<(), functions::Error> {
    functions::consume(functions::streams::on_state_change::run)
}
