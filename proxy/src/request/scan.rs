//! Reading an answer as it passes: a stream event by event, a plain body at its end.

use rankwise_engines::reply::{BodyScanner, ReplySummary, StreamScanner};

/// Bytes of one event's line, or of a plain body's end, that are looked into.
const LOOKED_INTO_MAX: usize = 64 * 1024;

/// Either kind of scanner.
pub(super) enum Scanner {
    /// An event stream, and the events with a choice that were counted.
    Stream {
        /// Reads it.
        scanner: StreamScanner,
        /// Counted so far.
        chunks: u64,
        /// Whether the id of its response was told.
        named: bool,
    },
    /// A plain body.
    Body(BodyScanner),
    /// It has been read to its end, or nothing is read of it.
    Finished {
        /// Whether it was an event stream.
        stream: bool,
    },
}

impl Scanner {
    /// For an answer of this kind.
    pub(super) fn new(stream: bool) -> Self {
        if stream {
            Self::Stream { scanner: StreamScanner::new(LOOKED_INTO_MAX), chunks: 0, named: false }
        } else {
            Self::Body(BodyScanner::new(LOOKED_INTO_MAX))
        }
    }

    /// For an answer of this kind that tells nothing of a rank.
    pub(super) fn unread(stream: bool) -> Self {
        Self::Finished { stream }
    }

    /// Takes the next bytes. How many events with a choice ended in them.
    pub(super) fn push(&mut self, bytes: &[u8]) -> u32 {
        match self {
            Self::Stream { scanner, chunks, .. } => {
                scanner.push(bytes);
                let before = std::mem::replace(chunks, scanner.summary().chunks);
                u32::try_from(*chunks - before).unwrap_or(u32::MAX)
            }
            Self::Body(scanner) => {
                scanner.push(bytes);
                0
            }
            Self::Finished { .. } => 0,
        }
    }

    /// The id of the response that is streamed, once, as soon as it is known.
    pub(super) fn name(&mut self) -> Option<&str> {
        match self {
            Self::Stream { scanner, named, .. } if !*named => {
                let id = scanner.summary().response_id.as_deref();
                *named = id.is_some();
                id
            }
            _ => None,
        }
    }

    /// Whether the stream said that it is over.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Stream { scanner, .. } if scanner.summary().done)
    }

    /// Whether it is an event stream.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream { .. } | Self::Finished { stream: true })
    }

    /// All that was learned.
    pub(super) fn finish(&mut self) -> ReplySummary {
        let finished = Self::Finished { stream: self.is_stream() };
        match std::mem::replace(self, finished) {
            Self::Stream { scanner, .. } => scanner.finish(),
            Self::Body(scanner) => scanner.finish(),
            Self::Finished { .. } => ReplySummary::default(),
        }
    }
}
