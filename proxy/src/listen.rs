//! The client side: sockets, connections, and the threads that serve them.

mod accept;
mod connection;
mod thread;

pub use accept::{AcceptError, Listener};
pub use connection::{ConnectionLimits, Protocol};
pub use thread::{RequestThreads, Service};

/// What a listener's clients may do; each connection keeps its listener's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerOptions {
    /// They may name the worker and rank of a request.
    pub trust_pins: bool,
}
