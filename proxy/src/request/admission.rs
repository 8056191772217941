//! How much may be in flight at once: requests, and the memory of their bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::error::{ProxyError, Stage};

/// What is in flight, over all threads.
#[derive(Debug, Default)]
pub struct Admission {
    requests: AtomicUsize,
    body_bytes: AtomicUsize,
}

/// One request's part. Gives it back when dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    body_bytes: usize,
}

impl Admission {
    /// Lets a request in.
    pub(super) fn enter(self: &Arc<Self>, requests_max: usize) -> Result<Admitted, ProxyError> {
        let before = self.requests.fetch_add(1, Relaxed);
        let admitted = Admitted { admission: Arc::clone(self), body_bytes: 0 };
        if before >= requests_max {
            return Err(ProxyError::new(Stage::Queue, "too many requests are in flight"));
        }
        Ok(admitted)
    }

    /// Requests in flight.
    pub fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }
}

impl Admitted {
    /// Counts its body.
    pub(super) fn hold(&mut self, bytes: usize, bytes_max: usize) -> Result<(), ProxyError> {
        let before = self.admission.body_bytes.fetch_add(bytes, Relaxed);
        self.body_bytes += bytes;
        // One body alone may be as large as a body may be.
        if before > 0 && before + bytes > bytes_max {
            return Err(ProxyError::new(Stage::Queue, "the bodies in flight hold too much memory"));
        }
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.requests.fetch_sub(1, Relaxed);
        self.admission.body_bytes.fetch_sub(self.body_bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_makes_room() {
        let admission = Arc::new(Admission::default());
        let first = admission.enter(1).unwrap();
        assert_eq!(admission.enter(1).unwrap_err().status, 503);
        drop(first);
        assert!(admission.enter(1).is_ok());
        assert_eq!(admission.requests(), 0);
    }

    #[test]
    fn bodies_share_a_bound() {
        let admission = Arc::new(Admission::default());
        let mut first = admission.enter(9).unwrap();
        first.hold(150, 100).unwrap();
        let mut second = admission.enter(9).unwrap();
        assert!(second.hold(1, 100).is_err());
        drop((first, second));
        admission.enter(9).unwrap().hold(100, 100).unwrap();
    }
}
