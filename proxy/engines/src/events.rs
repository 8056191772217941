//! KV-event batches: msgpack in, what happened out.
//!
//! A batch is an array `[timestamp, events, data_parallel_rank?]`. An event is a map with a `type` (0.24 and later) or a
//! positional array led by it (0.20 and before); both are read, unknown keys and trailing elements are ignored, and
//! missing trailing elements are absent.

mod event;
mod translate;

pub use event::{Content, Event, Extra, Stored};
pub use translate::{SkipReason, Skipped, Translation, Translator};

use crate::error::Error;
use crate::msgpack::{Reader, Token};

/// Bounds on one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Bytes of one payload. Default 64 MiB: a million-token prompt is 5 MB.
    pub payload_bytes_max: usize,
    /// Events in one batch. Default 1,048,576: a removal is an event of its own.
    pub events_max: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { payload_bytes_max: 64 << 20, events_max: 1 << 20 }
    }
}

/// One message of a rank: what one engine step did to its cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<'a> {
    /// When, in unix seconds by the engine's clock.
    pub timestamp: f64,
    /// In order.
    pub events: Vec<Event<'a>>,
    /// The global rank that the engine says it is.
    pub rank: Option<u32>,
}

/// Reads one payload.
///
/// # Errors
/// If it is not msgpack of this shape or exceeds a bound. Nothing of a batch that cannot be read whole is returned.
pub fn decode(payload: &[u8], limits: BatchLimits) -> Result<Batch<'_>, Error> {
    if payload.len() > limits.payload_bytes_max {
        return Err(Error::Bound { what: "event batch, bytes", max: limits.payload_bytes_max });
    }
    let mut reader = Reader::new(payload);
    let length = reader.array("a batch, as an array")?;
    if length < 2 {
        return Err(reader.expected("timestamp and events"));
    }
    let timestamp = match reader.token()? {
        Token::Float(value) => value,
        Token::Unsigned(value) => value as f64,
        Token::Nil => 0.0,
        _ => return Err(reader.expected("timestamp")),
    };
    let count = reader.array("events, as an array")?;
    if count > limits.events_max {
        return Err(Error::Bound { what: "event batch, events", max: limits.events_max });
    }
    // An event takes many bytes, so the count that a short payload can claim is no reason to allocate.
    let mut events = Vec::with_capacity(count.min(256));
    for _ in 0..count {
        events.push(event::read(&mut reader)?);
    }
    let mut rank = None;
    if length > 2 {
        rank = match reader.token()? {
            Token::Nil => None,
            Token::Unsigned(value) => u32::try_from(value).ok().or(Some(u32::MAX)),
            _ => return Err(reader.expected("data_parallel_rank")),
        };
    }
    for _ in 3..length {
        reader.skip()?;
    }
    reader.end()?;
    Ok(Batch { timestamp, events, rank })
}

#[cfg(test)]
mod tests;
