//! API Gateway's WebSocket API: connections that stay, functions called for what happens on them, and a way to post to them.

mod connection;
mod conversation;
mod limits;
mod management;
mod opening;
mod registry;
mod routing;

pub use limits::Limits;
pub use management::Management;
pub(super) use opening::Sockets;
