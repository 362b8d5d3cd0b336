//! The Lambda of the endpoint of the same name.
fn main() -> Result<(), functions::Error> {
    functions::serve(functions::entries::list_room_events)
}
