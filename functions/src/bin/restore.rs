//! The Lambda of the command of the same name.
fn main() -> Result<(), functions::Error> {
    functions::serve_schedule(functions::commands::restore::run)
}
