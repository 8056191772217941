//! How much may be in flight at once: requests, and the memory of their bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::error::{ProxyError, Stage};
use crate::metrics::Metrics;

/// What is in flight, over all threads.
#[derive(Debug)]
pub struct Admission {
    requests: AtomicUsize,
    body_bytes: AtomicUsize,
    /// The same two, to be seen.
    metrics: Metrics,
}

/// One request's part. Gives it back when dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    body_bytes: usize,
}

impl Admission {
    /// Nothing is in flight.
    pub fn new(metrics: Metrics) -> Self {
        Self { requests: AtomicUsize::new(0), body_bytes: AtomicUsize::new(0), metrics }
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// 503 when there are `requests_max`.
    pub(super) fn enter(self: &Arc<Self>, requests_max: usize) -> Result<Admitted, ProxyError> {
        let before = self.requests.fetch_add(1, Relaxed);
        self.metrics.in_flight.inc();
        let admitted = Admitted { admission: Arc::clone(self), body_bytes: 0 };
        if before >= requests_max {
            return Err(ProxyError::new(Stage::Queue, "too many requests are in flight"));
        }
        Ok(admitted)
    }
}

impl Admitted {
    /// Counts so much more memory for its body. To be called before it is taken, so that many bodies that come slowly
    /// stay under the bound as well as one that comes at once.
    ///
    /// # Errors
    /// 503 when all bodies would hold more than `bytes_max`.
    pub(super) fn hold(&mut self, bytes: usize, bytes_max: usize) -> Result<(), ProxyError> {
        let before = self.admission.body_bytes.fetch_add(bytes, Relaxed);
        self.admission.metrics.body_bytes.add(as_i64(bytes));
        self.body_bytes += bytes;
        if before + bytes > bytes_max {
            return Err(ProxyError::new(Stage::Queue, "the bodies in flight hold too much memory"));
        }
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.requests.fetch_sub(1, Relaxed);
        self.admission.body_bytes.fetch_sub(self.body_bytes, Relaxed);
        self.admission.metrics.in_flight.dec();
        self.admission.metrics.body_bytes.sub(as_i64(self.body_bytes));
    }
}

fn as_i64(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Arc<Admission> {
        Arc::new(Admission::new(Metrics::new().unwrap()))
    }

    #[test]
    fn what_is_dropped_makes_room() {
        let admission = admission();
        let first = admission.enter(1).unwrap();
        assert_eq!(admission.enter(1).unwrap_err().status, 503);
        assert_eq!(admission.metrics.in_flight.get(), 1);
        drop(first);
        assert!(admission.enter(1).is_ok());
        assert_eq!(admission.metrics.in_flight.get(), 0);
    }

    #[test]
    fn bodies_share_a_bound() {
        let admission = admission();
        let mut first = admission.enter(9).unwrap();
        first.hold(60, 100).unwrap();
        first.hold(30, 100).unwrap();
        let mut second = admission.enter(9).unwrap();
        second.hold(10, 100).unwrap();
        assert_eq!(second.hold(1, 100).unwrap_err().status, 503);
        assert!(first.hold(1, 100).is_err(), "whoever grows");
        drop((first, second));
        assert_eq!(admission.metrics.body_bytes.get(), 0);
        admission.enter(9).unwrap().hold(100, 100).unwrap();
    }
}
