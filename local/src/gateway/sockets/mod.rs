//! The runner's counterpart of API Gateway's WebSocket API: long-lived connections, functions that are called for their
//! events, and an API to post to them.

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
