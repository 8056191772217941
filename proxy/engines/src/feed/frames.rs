//! The frames of live messages and of replays.

use bytes::Bytes;

/// Sequence number of the marker that ends a replay.
const END: u64 = u64::MAX;

/// One message of the engine.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) sequence: u64,
    pub(super) payload: Bytes,
}

/// What a multipart message is.
#[derive(Debug)]
pub(super) enum Frames {
    Message(Message),
    End,
    Malformed,
}

impl Frames {
    /// `[topic, sequence, payload]`. An empty configured topic takes any, as the subscription does.
    pub(super) fn live(frames: &[Bytes], topic: &[u8]) -> Self {
        match frames {
            [got, _, _] if topic.is_empty() || got == topic => Self::from_back(frames),
            _ => Self::Malformed,
        }
    }

    /// `["", topic, sequence, payload]`, up to 0.25 without the topic; some sockets take the empty frame off.
    pub(super) fn replay(frames: &[Bytes]) -> Self {
        if frames.len() > 4 { Self::Malformed } else { Self::from_back(frames) }
    }

    fn from_back(frames: &[Bytes]) -> Self {
        let [.., sequence, payload] = frames else { return Self::Malformed };
        let Ok(sequence) = <[u8; 8]>::try_from(&sequence[..]) else { return Self::Malformed };
        match u64::from_be_bytes(sequence) {
            END => Self::End,
            sequence => Self::Message(Message { sequence, payload: payload.clone() }),
        }
    }
}

/// The two frames that ask for everything from `from`. The empty one is required: without it vLLM does not answer.
pub fn replay_request(from: u64) -> [Bytes; 2] {
    [Bytes::new(), Bytes::copy_from_slice(&from.to_be_bytes())]
}
