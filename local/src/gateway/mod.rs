//! The runner's counterpart of API Gateway: connections, limits, routes. It can face the open network.

mod body;
mod connections;
mod engine_port;
mod headers;
mod http;
mod places;
mod sockets;

pub use connections::{listen, run};
pub use engine_port::{run_dynamodb, run_engine};
pub use http::Gateway;
pub use sockets::{Limits, Management};
