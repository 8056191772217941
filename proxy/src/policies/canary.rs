//! A policy on trial that decides for a share of the requests, or of the sessions.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rankwise_core::sessions::{Session, stable_key};
use rankwise_policy_host::{Activation, Current, PolicyLane};
use serde::{Deserialize, Serialize};

/// A whole, in the unit of shares: a hundredth of a percent.
const WHOLE: u32 = 10_000;

/// What a canary takes its share of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryBy {
    /// Of the requests, each by itself.
    #[default]
    Request,
    /// Of the sessions: all requests of one, or none. Requests without a session count by themselves.
    Session,
}

/// How much a canary decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryShare {
    /// Of 10,000.
    of_whole: u32,
    by: CanaryBy,
}

impl CanaryShare {
    /// So many percent.
    ///
    /// # Errors
    /// When that is not more than 0 and at most 100.
    pub fn new(percent: f64, by: CanaryBy) -> Result<Self, String> {
        let of_whole = (percent * f64::from(WHOLE) / 100.0).round();
        if of_whole >= 1.0 && of_whole <= f64::from(WHOLE) {
            Ok(Self { of_whole: of_whole as u32, by })
        } else {
            Err(format!("`percent` is {percent}: expected from 0.01 to 100"))
        }
    }

    /// In percent.
    pub fn percent(self) -> f64 {
        f64::from(self.of_whole) * 100.0 / f64::from(WHOLE)
    }

    /// Of what.
    pub fn by(self) -> CanaryBy {
        self.by
    }

    /// Whether a request is in it. `draw` is uniform, and the same for every decision about one request.
    /// With another `digest` of the policy other sessions are in it, the same ones on every replica of the proxy.
    fn takes(self, draw: u64, session: Option<Session>, digest: &str) -> bool {
        let draw = match (self.by, session) {
            (CanaryBy::Session, Some(session)) => {
                stable_key(&[&session.key().to_le_bytes(), digest.as_bytes()].concat())
            }
            (CanaryBy::Request, _) | (CanaryBy::Session, None) => draw,
        };
        ((draw >> 32) * u64::from(WHOLE)) >> 32 < u64::from(self.of_whole)
    }
}

/// The lane of a canary.
#[derive(Default)]
pub(super) struct Canary {
    lane: PolicyLane,
    share: ArcSwapOption<CanaryShare>,
}

impl Canary {
    /// Begins.
    pub(super) fn start(&self, activation: Arc<Activation>, share: CanaryShare) {
        self.lane.activate(activation);
        self.share.store(Some(Arc::new(share)));
    }

    /// Ends; the policy, if there was one.
    pub(super) fn stop(&self) -> Option<Arc<Activation>> {
        self.share.store(None);
        let chosen = self.lane.chosen();
        self.lane.clear();
        chosen
    }

    /// The policy on trial and its share.
    pub(super) fn on_trial(&self) -> Option<(Arc<Activation>, CanaryShare)> {
        self.lane.chosen().zip(self.share.load().as_deref().copied())
    }

    /// Whether it decides for a request.
    pub(super) fn takes(&self, draw: u64, session: Option<Session>) -> bool {
        let share = self.share.load();
        let Some(share) = share.as_deref() else { return false };
        let current = self.lane.current();
        current
            .activation()
            .is_some_and(|activation| share.takes(draw, session, &activation.version().digest))
    }

    /// What decides in its lane.
    pub(super) fn current(&self) -> Current {
        self.lane.current()
    }

    /// The lane, for its failures.
    pub(super) fn lane(&self) -> &PolicyLane {
        &self.lane
    }
}

#[cfg(test)]
mod tests {
    use rankwise_core::hash::HashKey;

    use super::*;

    fn session(number: u64) -> Option<Session> {
        let name = format!("session-{number}");
        Some(Session::named(name.as_bytes(), 0, &HashKey::new([0; 32])))
    }

    #[test]
    fn a_share_is_about_as_large_as_it_says() {
        for (percent, by) in [(1.0, CanaryBy::Request), (25.0, CanaryBy::Session), (100.0, CanaryBy::Session)]
        {
            let share = CanaryShare::new(percent, by).unwrap();
            let mut random = fastrand::Rng::with_seed(7);
            let takes = |number: &u64| share.takes(random.u64(..), session(*number), "d1");
            let taken = (0..20_000).filter(takes).count() as f64 / 200.0;
            assert!((taken - percent).abs() < 1.0, "{taken} % of {percent} %");
        }
    }

    #[test]
    fn a_session_is_in_or_out_as_a_whole() {
        let share = CanaryShare::new(50.0, CanaryBy::Session).unwrap();
        let mut others = 0;
        for number in 0..100 {
            let first = share.takes(1, session(number), "d1");
            assert!((0..20).all(|draw| share.takes(draw << 40, session(number), "d1") == first));
            others += usize::from(share.takes(1, session(number), "d2") != first);
        }
        assert!((20..80).contains(&others), "another policy takes other sessions: {others} of 100 differ");
    }

    #[test]
    fn a_share_is_within_bounds() {
        for wrong in [0.0, -1.0, 100.1, f64::NAN, 0.001] {
            assert!(CanaryShare::new(wrong, CanaryBy::Request).is_err(), "{wrong}");
        }
        assert_eq!(CanaryShare::new(0.05, CanaryBy::Request).unwrap().percent(), 0.05);
    }
}
