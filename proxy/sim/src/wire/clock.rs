//! Simulated time out of the wall clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::time::Micros;

/// `speed` simulated seconds per second while it runs; it can be held. Clones are the same clock.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<watch::Sender<Course>>);

#[derive(Clone, Copy, Debug)]
struct Course {
    /// Simulated time at `since`.
    from: Micros,
    since: Instant,
    speed: f64,
    /// Where it stands when it gets there.
    stop: Option<Micros>,
}

impl Clock {
    pub(crate) fn start(speed: f64) -> Self {
        let course = Course { from: Micros(0), since: Instant::now(), speed, stop: None };
        Self(Arc::new(watch::Sender::new(course)))
    }

    pub(crate) fn now(&self) -> Micros {
        self.0.borrow().now()
    }

    /// Stops.
    pub(crate) fn hold(&self) {
        self.go_on(Some(Micros(0)));
    }

    /// Goes on without end.
    pub(crate) fn release(&self) {
        self.go_on(None);
    }

    /// Goes on for so long, and stops.
    pub(crate) fn advance(&self, by: Micros) {
        self.go_on(Some(by));
    }

    fn go_on(&self, by: Option<Micros>) {
        self.0.send_modify(|course| {
            course.from = course.now();
            course.since = Instant::now();
            course.stop = by.map(|by| Micros(course.from.0.saturating_add(by.0)));
        });
    }

    /// Waits for a time, or about an hour for one that is further off.
    pub(crate) async fn until(&self, at: Micros) {
        let mut courses = self.0.subscribe();
        loop {
            let course = *courses.borrow_and_update();
            let came = async {
                if course.stop.is_some_and(|stop| stop < at) {
                    std::future::pending().await
                } else {
                    tokio::time::sleep_until(course.instant(at)).await
                }
            };
            // The clock holds the sender: the change cannot fail before the clock is gone.
            tokio::select! {
                () = came => return,
                _ = courses.changed() => {}
            }
        }
    }
}

impl Course {
    fn now(&self) -> Micros {
        let passed = self.since.elapsed().as_secs_f64() * self.speed;
        let now = Micros(self.from.0 + (passed * 1e6) as u64);
        self.stop.map_or(now, |stop| now.min(stop))
    }

    fn instant(&self, at: Micros) -> Instant {
        // A tiny speed must not overflow; an hour ahead is as good as never.
        let seconds = at.0.saturating_sub(self.from.0) as f64 / 1e6 / self.speed;
        self.since + Duration::from_secs_f64(seconds.min(self.since.elapsed().as_secs_f64() + 3600.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_stands_while_it_is_held() {
        let clock = Clock::start(1e6);
        clock.hold();
        let held_at = clock.now();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(clock.now(), held_at);
        let next = Micros(held_at.0 + 1_000_000);
        let mut waiting = Box::pin(clock.until(next));
        let given_up = tokio::time::timeout(Duration::from_millis(5), &mut waiting).await;
        assert!(given_up.is_err(), "came while the clock stood");
        clock.release();
        waiting.await;
        assert!(clock.now() >= next);
    }

    #[tokio::test]
    async fn it_stops_where_it_was_told_to() {
        let clock = Clock::start(1e6);
        clock.hold();
        let from = clock.now();
        let stop = Micros(from.0 + 1_000_000);
        clock.advance(Micros(1_000_000));
        clock.until(stop).await;
        assert_eq!(clock.now(), stop);
        let given_up = tokio::time::timeout(Duration::from_millis(5), clock.until(Micros(stop.0 + 1))).await;
        assert!(given_up.is_err(), "went past the stop");
        assert_eq!(clock.now(), stop);
    }
}
