//! A SUB socket on what a rank publishes.

use std::time::Duration;

use tokio::time::timeout;
use zeromq::{Socket, SubSocket, ZmqError};

/// Connects one. An empty topic is everything.
pub(crate) async fn subscribe(topic: &str, endpoint: &str, within: Duration) -> Result<SubSocket, ZmqError> {
    let mut socket = SubSocket::new();
    socket.subscribe(topic).await?;
    // Towards a port where nobody listens, connecting neither fails nor returns.
    timeout(within, socket.connect(endpoint))
        .await
        .unwrap_or(Err(ZmqError::Other("no connection in time")))?;
    Ok(socket)
}
