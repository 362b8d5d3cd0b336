//! What API Gateway does on AWS: connections, limits, routes. Made to stand in the open.

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
