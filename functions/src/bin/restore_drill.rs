//! The Lambda of the schedule of the same name.
fn main() -> Result<(), functions::Error> {
    functions::serve_schedule(functions::schedules::restore_drill::run)
}
