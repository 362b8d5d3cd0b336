//! Written by `cargo xtask docs`.
fn main() -> Result<(), functions::Error> {
    functions::serve_socket_live(functions::sockets::connect_socket::run)
}
