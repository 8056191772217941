//! The ZMQ side of a rank: PUB for live batches, ROUTER for replay.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use zeromq::{PubSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use super::faults::Faults;
use super::feed::{Batch, RankFeed};
use crate::error::SimError;

/// What ends a replay, in place of a sequence number.
const END_MARKER: [u8; 8] = [0xff; 8];

/// Listens on loopback; port 0 takes a free one. Returns the port.
pub(crate) fn listen(port: u16, what: &str) -> Result<(TcpListener, u16), SimError> {
    let failed = |source| SimError::Io { what: format!("{what}: listen on port {port}"), source };
    // The standard library sets SO_REUSEADDR, so a restarted worker gets its port back.
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((listener, port))
}

/// Listens on so many ports that follow each other, and are free. Returns the first.
///
/// Below those that Linux gives to connections: among these a row is rarely free while much is connected.
pub(crate) fn listen_in_a_row(count: usize, what: &str) -> Result<(Vec<TcpListener>, u16), SimError> {
    const PORTS: std::ops::Range<u64> = 10_000..32_000;
    const ATTEMPTS: u64 = 100;
    // Somewhere else in every process and every time.
    let random = RandomState::new();
    let mut attempt = 0;
    loop {
        let first = PORTS.start + random.hash_one(attempt) % (PORTS.end - PORTS.start);
        let ports = (first..).take(count).map(|port| u16::try_from(port).unwrap_or(u16::MAX));
        match ports.map(|port| Ok(listen(port, what)?.0)).collect() {
            Ok(row) => return Ok((row, first as u16)),
            Err(_) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

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

/// Sends batches as they come: topic, sequence number, payload.
pub(crate) async fn publish(mut socket: PubSocket, mut batches: mpsc::Receiver<Batch>, topic: Bytes) {
    while let Some((seq, payload)) = batches.recv().await {
        let message = message([topic.clone(), Bytes::copy_from_slice(&seq.to_be_bytes()), payload]);
        if let Err(error) = socket.send(message).await {
            tracing::debug!(%error, "kv event not sent");
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
        if faults.now().no_replay {
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

fn message<const FRAMES: usize>(frames: [Bytes; FRAMES]) -> ZmqMessage {
    let mut frames = frames.into_iter();
    let mut message = ZmqMessage::from(frames.next().unwrap_or_default());
    for frame in frames {
        message.push_back(frame);
    }
    message
}
