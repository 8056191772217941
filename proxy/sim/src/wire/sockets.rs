//! The ZMQ side of a rank: PUB for live batches, ROUTER for replay.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use zeromq::{PubSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use super::faults::Faults;
use super::feed::{Batch, QUEUE_BATCHES, RankFeed};
use crate::error::SimError;

/// What ends a replay, in place of a sequence number.
const END_MARKER: [u8; 8] = [0xff; 8];

/// Puts a PUB socket on the listener.
pub(crate) async fn publisher(listener: TcpListener, what: &str) -> Result<PubSocket, SimError> {
    let mut socket = PubSocket::new();
    let bound = socket.bind_listener(listener).await;
    bound.map_err(|source| SimError::Zmq { what: format!("{what}: events"), source })?;
    Ok(socket)
}

/// Puts a ROUTER socket on the listener.
pub(crate) async fn replayer(listener: TcpListener, what: &str) -> Result<RouterSocket, SimError> {
    let mut socket = RouterSocket::new();
    let bound = socket.bind_listener(listener).await;
    bound.map_err(|source| SimError::Zmq { what: format!("{what}: replay"), source })?;
    Ok(socket)
}

/// Sends batches as they come, or late: topic, sequence number, payload.
pub(crate) async fn publish(
    mut socket: PubSocket,
    mut batches: mpsc::Receiver<Batch>,
    faults: Arc<Faults>,
    topic: Bytes,
) {
    // In order, each with when it is sent.
    let mut held = VecDeque::<(Instant, Batch)>::new();
    loop {
        let first = held.front().map(|(due, _)| *due);
        tokio::select! {
            batch = batches.recv(), if held.len() < QUEUE_BATCHES => {
                let Some(batch) = batch else { return };
                held.push_back((Instant::now() + faults.now().late_events.unwrap_or_default(), batch));
            }
            () = sleep_until(first.unwrap_or_else(Instant::now)), if first.is_some() => {}
        }
        while held.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let Some((_, (seq, payload))) = held.pop_front() else { break };
            let message = message([topic.clone(), Bytes::copy_from_slice(&seq.to_be_bytes()), payload]);
            if let Err(error) = socket.send(message).await {
                tracing::debug!(%error, "kv event not sent");
            }
        }
    }
}

/// Answers replay requests, frames `identity, empty, start`, with `empty, topic, seq, payload` each and an end marker.
pub(crate) async fn replay(mut socket: RouterSocket, feed: Arc<RankFeed>, faults: Arc<Faults>, topic: Bytes) {
    while let Ok(request) = socket.recv().await {
        let Some((identity, start)) = replay_request(&request) else {
            tracing::debug!(rank = feed.rank(), "invalid replay request");
            continue;
        };
        let faults = faults.now();
        if faults.no_replay || faults.hung_rank == Some(feed.rank()) {
            continue;
        }
        for (seq, payload) in feed.since(start) {
            let seq = Bytes::copy_from_slice(&seq.to_be_bytes());
            if socket
                .send(message([identity.clone(), Bytes::new(), topic.clone(), seq, payload]))
                .await
                .is_err()
            {
                break;
            }
        }
        let end = [identity, Bytes::new(), Bytes::new(), Bytes::from_static(&END_MARKER), Bytes::new()];
        if let Err(error) = socket.send(message(end)).await {
            tracing::debug!(%error, "replay not ended");
        }
    }
}

fn replay_request(request: &ZmqMessage) -> Option<(Bytes, u64)> {
    if request.len() != 3 || !request.get(1)?.is_empty() {
        return None;
    }
    let start = <[u8; 8]>::try_from(request.get(2)?.as_ref()).ok()?;
    Some((request.get(0)?.clone(), u64::from_be_bytes(start)))
}

pub(super) fn message<const FRAMES: usize>(frames: [Bytes; FRAMES]) -> ZmqMessage {
    let mut frames = frames.into_iter();
    let mut message = ZmqMessage::from(frames.next().unwrap_or_default());
    for frame in frames {
        message.push_back(frame);
    }
    message
}
