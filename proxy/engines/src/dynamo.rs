//! A worker behind `dynamo.frontend --router-mode direct`.
//!
//! The frontend obeys a worker's instance id and a rank, each named by a header, and tells neither ranks nor events of
//! the workers behind it. So config says which worker it is (a header of its own, as ids change with every start), how
//! many ranks it has and where they publish their events, in vLLM's layout.

use rankwise_core::ids::DpRank;

use crate::disaggregation::Role;
use crate::discovery::{self, Answers, Blindness, Overrides, RankDescription, WorkerDescription};
use crate::error::Error;
use crate::pin::Pinning;

/// The header that names the worker to the frontend.
pub const INSTANCE_HEADER: &str = "x-worker-instance-id";

const EVENTS: &str = "set events for the worker: its engine's ports, one per rank";

/// The ranks that config says, and the frontend's models.
///
/// # Errors
/// If config names too many ranks, or the answer is no list of models.
pub(crate) fn describe(answers: &Answers<'_>, overrides: &Overrides) -> Result<WorkerDescription, Error> {
    let models = answers.get("/v1/models").map(discovery::models).transpose()?.unwrap_or_default();
    let mut findings = vec![Blindness::EventsOff { start: EVENTS }];
    if overrides.block_size.is_none() {
        findings.push(Blindness::BlockSizeUnknown);
    }
    let rank = |rank| RankDescription {
        header_rank: DpRank(rank),
        global_rank: rank,
        group: if overrides.independent_ranks { rank } else { 0 },
        capacity_blocks: overrides.capacity_blocks.unwrap_or(0),
        events: None,
        load: None,
    };
    Ok(WorkerDescription {
        ranks: (0..overrides.ranks()?.unwrap_or(1)).map(rank).collect(),
        pinning: Pinning::Header,
        block_size: overrides.block_size,
        prefix_caching: None,
        max_model_len: models.first().and_then(|card| card.max_model_len),
        role: Role::Aggregated,
        bootstrap_port: None,
        models,
        tokenizer_source: None,
        version: None,
        drained: false,
        findings,
    })
}

#[cfg(test)]
mod tests {
    use rankwise_core::ids::BlockSize;

    use super::*;

    #[test]
    fn what_it_is_stands_in_the_config() {
        let models = br#"{"data":[{"id":"m","owned_by":"nvidia"}]}"#;
        let answers = Answers::default().with("/v1/models", models);
        let overrides = Overrides {
            ranks: Some(4),
            block_size: Some(BlockSize(64)),
            capacity_blocks: Some(9),
            independent_ranks: false,
            drain_events: false,
            takes_rank_fields: None,
        };
        let worker = describe(&answers, &overrides).unwrap();
        assert_eq!(worker.ranks.len(), 4);
        assert!(worker.ranks.iter().all(|rank| (rank.group, rank.capacity_blocks) == (0, 9)));
        assert_eq!(worker.findings, [Blindness::EventsOff { start: EVENTS }]);
        let little = describe(&answers, &Overrides::default()).unwrap();
        assert_eq!(little.ranks.len(), 1);
        assert!(little.findings.contains(&Blindness::BlockSizeUnknown));
        assert!(describe(&answers, &Overrides { ranks: Some(0), ..overrides }).is_err());
        assert!(describe(&Answers::default().with("/v1/models", b"[]"), &overrides).is_err());
    }
}
