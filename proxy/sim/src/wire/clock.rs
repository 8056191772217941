//! Simulated time out of the wall clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::time::Micros;

/// `speed` simulated seconds per second since it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    speed: f64,
}

impl Clock {
    pub(crate) fn start(speed: f64) -> Self {
        Self { start: Instant::now(), speed }
    }

    pub(crate) fn now(&self) -> Micros {
        Micros((self.start.elapsed().as_secs_f64() * self.speed * 1e6) as u64)
    }

    pub(crate) fn instant(&self, at: Micros) -> Instant {
        // A tiny speed must not overflow; an hour ahead is as good as never, and is looked at again then.
        let seconds = (at.0 as f64 / 1e6 / self.speed).min(self.start.elapsed().as_secs_f64() + 3600.0);
        self.start + Duration::from_secs_f64(seconds)
    }
}
