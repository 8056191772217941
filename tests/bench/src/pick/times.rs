//! What was measured of a pick, and of what it is held against.

use rankwise_measure::samples::{Samples, median};

/// How long each took.
#[derive(Default)]
pub(super) struct Times {
    pub(super) component: Samples,
    pub(super) call: Samples,
    pub(super) native: Samples,
    pub(super) scan: Samples,
    pub(super) plain: Samples,
    /// What a pick took beyond a call, in scans, by turn.
    beyond_call: Vec<f64>,
    /// What a pick took, in picks of the plain component, by turn.
    vs_plain: Vec<f64>,
}

impl Times {
    /// Those of one turn.
    pub(super) fn add(&mut self, turn: &Self) {
        self.component.extend(&turn.component);
        self.call.extend(&turn.call);
        self.native.extend(&turn.native);
        self.scan.extend(&turn.scan);
        self.plain.extend(&turn.plain);
        self.vs_plain.push(turn.component.p50() / turn.plain.p50());
        let beyond_call = turn.component.p50() - turn.call.p50();
        self.beyond_call.push(beyond_call / turn.scan.p50());
    }

    /// The median of the turns: for parts of a second calls may take half as long again, and scans hardly more.
    pub(super) fn beyond_call(&self) -> f64 {
        median(self.beyond_call.clone())
    }

    /// The median of the turns.
    pub(super) fn vs_plain(&self) -> f64 {
        median(self.vs_plain.clone())
    }
}
