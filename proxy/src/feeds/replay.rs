//! Replays: one DEALER socket each, read on a task of its own so that it never holds up the live messages.

use std::time::Duration;

use bytes::Bytes;
use rankwise_engines::feed::replay_request;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, ZmqError, ZmqMessage};

/// What a replay brought.
pub(super) enum ReplayReply {
    /// One message.
    Message {
        /// Of which replay.
        id: u64,
        /// As it came.
        frames: Vec<Bytes>,
    },
    /// It cannot be read on.
    Failed {
        /// Which replay.
        id: u64,
    },
}

/// Messages read ahead of the feed. When they are full the reader waits, and TCP with it.
const READ_AHEAD: usize = 256;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The running replay of a rank, if there is one.
#[derive(Default)]
pub(super) struct Replays {
    running: Option<(AbortHandle, mpsc::Receiver<ReplayReply>)>,
}

impl Replays {
    /// Starts one, in place of any earlier.
    pub(super) fn start(&mut self, endpoint: Option<String>, from: u64, id: u64) {
        self.stop();
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        #[expect(clippy::disallowed_methods, reason = "aborted when the replay is replaced or dropped")]
        let task = tokio::spawn(async move {
            let Some(endpoint) = endpoint else { return };
            if let Err(error) = read(&endpoint, from, id, &sender).await {
                tracing::debug!(endpoint, %error, "replay");
            }
            // The feed knows better whether anything was missing; if nobody listens, nobody needs to know.
            let _ = sender.send(ReplayReply::Failed { id }).await;
        });
        self.running = Some((task.abort_handle(), receiver));
    }

    /// The next message; never resolves while none is running.
    pub(super) async fn next(&mut self) -> ReplayReply {
        if let Some((_, receiver)) = &mut self.running
            && let Some(reply) = receiver.recv().await
        {
            return reply;
        }
        self.stop();
        std::future::pending().await
    }

    fn stop(&mut self) {
        if let Some((task, _)) = self.running.take() {
            task.abort();
        }
    }
}

impl Drop for Replays {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn read(endpoint: &str, from: u64, id: u64, out: &mpsc::Sender<ReplayReply>) -> Result<(), ZmqError> {
    let mut socket = DealerSocket::new();
    timeout(CONNECT_TIMEOUT, socket.connect(endpoint))
        .await
        .unwrap_or(Err(ZmqError::Other("no connection in time")))?;
    let request = ZmqMessage::try_from(replay_request(from).to_vec())
        .map_err(|_| ZmqError::Other("an empty request"))?;
    socket.send(request).await?;
    loop {
        let frames = socket.recv().await?.into_vec();
        if out.send(ReplayReply::Message { id, frames }).await.is_err() {
            return Ok(());
        }
    }
}
