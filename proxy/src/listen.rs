//! The client side: sockets, connections, and the threads that serve them.

mod accept;
mod connection;
mod thread;

pub use accept::{AcceptError, Listener};
pub use connection::{ConnectionLimits, Protocol};
pub use thread::{RequestThreads, Service};
