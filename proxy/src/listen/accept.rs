//! Accepting: one task per listener hands each connection to the request thread with the fewest open ones.
//!
//! SO_REUSEPORT would let the kernel spread connections by hash, which is uneven for the few long-lived ones of a
//! gateway in front of us and resets those still queued when a socket closes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{ListenerOptions, RequestThreads};

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("listener {address}: {source}")]
pub struct AcceptError {
    address: SocketAddr,
    source: io::Error,
}

/// An open listener.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds. Port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address is in use or not ours.
    pub async fn bind(address: SocketAddr) -> Result<Self, AcceptError> {
        let failed = |source| AcceptError { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket itself, for a listener that serves its connections in place (status, admin).
    pub fn into_socket(self) -> TcpListener {
        self.socket
    }

    /// Accepts until told to stop.
    pub async fn run(self, threads: Arc<RequestThreads>, options: ListenerOptions, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match stream.into_std() {
                    Ok(stream) => threads.hand_over(stream, peer, options),
                    Err(error) => tracing::warn!(%error, "could not hand over a connection"),
                },
                // Out of descriptors, most likely: a connection that ends makes room. Not a busy loop.
                Err(error) => {
                    tracing::warn!(listener = %self.address, %error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}
