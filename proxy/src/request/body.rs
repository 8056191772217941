//! The body of a request: read whole, bounded in size, memory and time, kept as the client's bytes.

use std::mem;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use super::Settings;
use super::admission::Admitted;
use crate::error::{ProxyError, Stage};

/// Reads a body. Its memory is counted as it comes: what was announced is not reserved, as announcing costs a client
/// nothing.
///
/// # Errors
/// 413 over `body_bytes_max`, 503 when all bodies in flight are over `bodies_bytes_max`, 408 after `body_timeout`, 400 if
/// the client broke off.
pub(super) async fn collect(
    mut body: Incoming,
    settings: &Settings,
    admitted: &mut Admitted,
) -> Result<Bytes, ProxyError> {
    let bytes_max = settings.body_bytes_max;
    let too_large = || {
        let message = format!("the body is larger than {bytes_max} bytes");
        ProxyError::new(Stage::Body, message).status(StatusCode::PAYLOAD_TOO_LARGE)
    };
    let announced = body.size_hint();
    if announced.lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let expected = announced.upper().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(bytes_max);
    let mut collected = Collected::default();
    let end = Instant::now() + settings.body_timeout;
    loop {
        let frame = match timeout_at(end, body.frame()).await {
            Ok(None) => return Ok(collected.into_bytes()),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(ProxyError::new(Stage::Body, "the body broke off")),
            Err(_) => {
                let message = format!("the body did not arrive within {:?}", settings.body_timeout);
                return Err(ProxyError::new(Stage::Body, message).status(StatusCode::REQUEST_TIMEOUT));
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        if collected.len() + data.len() > bytes_max {
            return Err(too_large());
        }
        admitted.hold(collected.room_for(data.len(), expected), settings.bodies_bytes_max)?;
        collected.push(data);
    }
}

/// What has come so far. Most bodies come in one frame, which is then the body without a copy.
#[derive(Default)]
struct Collected {
    first: Bytes,
    rest: Vec<u8>,
    /// What `rest` has to have room for.
    room: usize,
}

impl Collected {
    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// Makes a place for the next frame; the memory that it takes beyond what was taken before. `expected` bounds how far
    /// ahead of what has come that may be.
    fn room_for(&mut self, frame: usize, expected: usize) -> usize {
        if self.len() == 0 {
            return frame;
        }
        let needed = self.len() + frame;
        if needed <= self.room {
            return 0;
        }
        let before = mem::replace(&mut self.room, needed.max((2 * needed).min(expected)));
        // The first frame was counted; it is copied in.
        self.room - before.max(self.first.len())
    }

    fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        self.rest.reserve_exact(self.room.saturating_sub(self.rest.len()));
        let first = mem::take(&mut self.first);
        self.rest.extend_from_slice(&first);
        self.rest.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(frames: &[&[u8]], expected: usize) -> (Bytes, usize) {
        let mut collected = Collected::default();
        let mut held = 0;
        for frame in frames {
            held += collected.room_for(frame.len(), expected);
            collected.push(Bytes::copy_from_slice(frame));
            assert!(collected.first.len().max(collected.rest.capacity()) <= held, "what is taken is held");
        }
        (collected.into_bytes(), held)
    }

    #[test]
    fn memory_is_held_before_it_is_taken() {
        assert_eq!(collect(&[], 10), (Bytes::new(), 0));
        assert_eq!(collect(&[b"abc"], 3), (Bytes::from("abc"), 3));
        assert_eq!(collect(&[b"", b"abc", b"", b"de"], 5), (Bytes::from("abcde"), 5));
        assert_eq!(collect(&[b"ab", b"c", b"d", b"e", b"f", b"g"], 100), (Bytes::from("abcdefg"), 14));
        assert_eq!(collect(&[b"ab", b"c", b"d", b"e", b"f", b"g"], 7), (Bytes::from("abcdefg"), 7));
    }

    #[test]
    fn a_body_that_comes_in_one_frame_is_not_copied() {
        let frame = Bytes::from_static(b"{}");
        let mut collected = Collected::default();
        collected.room_for(2, 2);
        collected.push(frame.clone());
        assert_eq!(collected.into_bytes().as_ptr(), frame.as_ptr());
    }
}
