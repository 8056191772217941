//! When a rank is taken out, and when it is tried again. The time is an argument.

use rankwise_core::ids::Millis;

/// What went wrong at a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection broke before the end of the answer.
    Broken,
    /// The answer's status was 500, 502, 503 or 504.
    ServerError,
    /// The answer said 200, and within it that the engine failed.
    ErrorInAnswer,
    /// No answer in time, or no more of it.
    Silent,
    /// No connection in time.
    Unreachable,
    /// Its event publisher closed the connection.
    EventsClosed,
    /// The proxy's own request was not served.
    Unproven,
    /// Another rank served what was pinned to it.
    Disobeyed,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Broken,
        Self::ServerError,
        Self::ErrorInAnswer,
        Self::Silent,
        Self::Unreachable,
        Self::EventsClosed,
        Self::Unproven,
        Self::Disobeyed,
    ];

    /// Whether it may be the fault of the request that met it.
    fn may_be_the_requests(self) -> bool {
        !matches!(self, Self::Unreachable | Self::EventsClosed)
    }

    /// The label in metrics and the admin API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::ServerError => "server_error",
            Self::ErrorInAnswer => "error_in_answer",
            Self::Silent => "silent",
            Self::Unreachable => "unreachable",
            Self::EventsClosed => "events_closed",
            Self::Unproven => "unproven",
            Self::Disobeyed => "disobeyed",
        }
    }
}

/// When many failures are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BreakerSettings {
    /// For so long after a good proof a failure is taken for the request's own; also the time over which answers and
    /// failures are counted then.
    pub(super) window_ms: u64,
    /// So many failures within it, if they are half of all answers, take the rank out all the same.
    pub(super) failures_min: u32,
}

/// One rank's.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    out: Option<Out>,
    /// A request has failed since its last proof.
    accused: bool,
    /// It is in, and has to prove itself from then on.
    doubted: Option<Millis>,
    /// After a failure that was not its own, as its proof has shown: counts what follows.
    window: Option<Window>,
    /// The last good proof.
    proven_at: Option<Millis>,
    /// Pauses so far, each twice as long as the one before.
    pauses: u32,
}

#[derive(Clone, Copy, Debug)]
struct Out {
    why: Failure,
    since: Millis,
    /// When it has to prove itself.
    due: Millis,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Millis,
    answered: u32,
    failed: u32,
}

/// Between two proofs of a rank that fails them.
const PAUSE_MS: u64 = 250;
const PAUSE_MS_MAX: u64 = 8_000;

impl Breaker {
    /// Of a rank that has yet to prove itself.
    pub(super) fn new(settings: BreakerSettings, now: Millis) -> Self {
        let out = Out { why: Failure::Unproven, since: now, due: now };
        Self {
            settings,
            out: Some(out),
            accused: false,
            doubted: None,
            window: None,
            proven_at: None,
            pauses: 0,
        }
    }

    /// Why it is out, and since when.
    pub(super) fn out(&self) -> Option<(Failure, Millis)> {
        self.out.map(|out| (out.why, out.since))
    }

    /// Whether a request has failed since its last proof.
    pub(super) fn is_accused(&self) -> bool {
        self.accused
    }

    /// When it has to prove itself; `None`: it need not.
    pub(super) fn due(&self) -> Option<Millis> {
        self.out.map(|out| out.due).or(self.doubted)
    }

    /// Whether answers are counted.
    pub(super) fn is_counting(&self, now: Millis) -> bool {
        self.window.is_some_and(|window| now.since(window.began) < self.settings.window_ms)
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, now: Millis) {
        if self.is_counting(now)
            && let Some(window) = &mut self.window
        {
            window.answered = window.answered.saturating_add(1);
        }
    }

    /// A request failed. Whether that takes the rank out; the last one of its pool is only doubted.
    pub(super) fn failed(&mut self, why: Failure, now: Millis, is_last: impl FnOnce() -> bool) -> bool {
        if self.out.is_some() {
            return false;
        }
        self.accused = true;
        let settings = self.settings;
        let mut due = now;
        if why.may_be_the_requests()
            && self.is_counting(now)
            && let Some(window) = &mut self.window
        {
            window.failed = window.failed.saturating_add(1);
            let (failed, all) = (window.failed, window.failed.saturating_add(window.answered));
            if failed < settings.failures_min || failed.saturating_mul(2) < all {
                return false;
            }
            // It proved itself, and fails: the next proof would say no more.
            due = Millis(now.0 + self.pause_ms());
        } else {
            self.pauses = 0;
        }
        if is_last() {
            self.doubted.get_or_insert(due);
            return false;
        }
        self.take_out(why, now, due);
        true
    }

    /// It has to prove itself from `due` on, and is in until then. One that has just done so need not.
    pub(super) fn doubt(&mut self, due: Millis) {
        let is_fresh =
            self.window.is_some_and(|window| due.since(window.began) < self.settings.window_ms / 2);
        if self.out.is_none() && !is_fresh {
            self.doubted.get_or_insert(due);
        }
    }

    /// Its proof was good.
    pub(super) fn proven(&mut self, now: Millis) {
        (self.out, self.doubted, self.proven_at) = (None, None, Some(now));
        if std::mem::take(&mut self.accused) {
            self.window = Some(Window { began: now, answered: 0, failed: 0 });
        }
    }

    /// Its proof was good but for its events, which told nothing: it is asked again after a while.
    pub(super) fn untold(&mut self, now: Millis) {
        self.proven(now);
        self.doubted = Some(Millis(now.0 + self.pause_ms()));
    }

    /// Its proof was not. Whether that takes it out.
    pub(super) fn unproven(&mut self, why: Failure, now: Millis, is_last: impl FnOnce() -> bool) -> bool {
        let due = Millis(now.0 + self.pause_ms());
        match &mut self.out {
            Some(out) => {
                (out.why, out.due) = (why, due);
                false
            }
            None if is_last() => {
                self.doubted = Some(due);
                false
            }
            None => {
                self.take_out(why, now, due);
                true
            }
        }
    }

    /// Its process is another one: nothing of this is known of it.
    pub(super) fn restarted(&mut self, now: Millis) {
        *self = Self::new(self.settings, now);
    }

    fn take_out(&mut self, why: Failure, now: Millis, due: Millis) {
        self.out = Some(Out { why, since: now, due });
        (self.doubted, self.window) = (None, None);
    }

    fn pause_ms(&mut self) -> u64 {
        let pause = PAUSE_MS.saturating_mul(1 << self.pauses.min(16)).min(PAUSE_MS_MAX);
        self.pauses = self.pauses.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests;
