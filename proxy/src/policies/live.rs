//! The table that a policy is tried on before it is let at traffic: the pool's ranks as they are.

use rankwise_core::policy::Needs;
use rankwise_core::request::PlacementRequest;
use rankwise_core::snapshot::Snapshot;
use rankwise_core::state::RoutingState;
use rankwise_core::target::Availability;
use rankwise_policy_host::SmokeTable;

use crate::clock;

/// Builds it for whatever columns a policy needs; an invented one while no rank may be picked.
pub(super) fn table(state: &std::sync::Arc<RoutingState>) -> impl Fn(&Needs) -> SmokeTable {
    let state = std::sync::Arc::clone(state);
    move |needs| {
        let mut snapshot = Snapshot::new();
        let mut ready =
            |target: &rankwise_core::target::Target| target.health.availability() == Availability::Ready;
        let request = PlacementRequest::default();
        state.snapshot(&request, &needs.columns, &mut ready, clock::now(), &mut snapshot);
        match u32::try_from(snapshot.rows().len()) {
            Ok(rows @ 1..) => SmokeTable {
                rows,
                columns: snapshot.packed().to_vec(),
                workers: snapshot.rows().iter().map(|row| row.worker.0).collect(),
            },
            _ => SmokeTable::example(needs),
        }
    }
}
