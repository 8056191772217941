//! A request body on its way to a worker: the client's own bytes, perhaps with a tail of ours.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Up to two frames, sent as they are: no copy of the client's bytes.
#[derive(Clone, Debug, Default)]
pub struct UpstreamBody {
    frames: [Bytes; 2],
}

impl UpstreamBody {
    /// Nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The client's bytes, and what replaces their end.
    pub fn spliced(front: Bytes, tail: Bytes) -> Self {
        Self { frames: [front, tail] }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.frames.iter().map(|frame| frame.len() as u64).sum()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for UpstreamBody {
    fn from(bytes: Bytes) -> Self {
        Self { frames: [bytes, Bytes::new()] }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.frames.iter_mut().find(|frame| !frame.is_empty()).map(std::mem::take);
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}
