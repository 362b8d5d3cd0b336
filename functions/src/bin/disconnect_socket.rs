//! Written by `cargo xtask docs`.
fn main() -> Result<(), functions::Error> {
    functions::serve_socket(functions::sockets::disconnect_socket::run)
}
