//! Any server of the OpenAI API: no events, no load, and its ranks, if it has any, cannot be named.

use rankwise_core::ids::DpRank;

use crate::disaggregation::Role;
use crate::discovery::{self, Answers, Blindness, Overrides, RankDescription, WorkerDescription};
use crate::pin::Pinning;

/// What would have to be so that ranks and cache are seen.
const ENGINE: &str = "only its OpenAI API is known; set engine if it is vllm, sglang, trtllm or dynamo";

/// One rank that stands for the worker. Serves a list of models or none at all: what it answers is its own affair.
pub(crate) fn describe(answers: &Answers<'_>, overrides: &Overrides) -> WorkerDescription {
    let models = answers.get("/v1/models").and_then(|body| discovery::models(body).ok()).unwrap_or_default();
    let rank = RankDescription {
        header_rank: DpRank(0),
        global_rank: 0,
        group: 0,
        capacity_blocks: overrides.capacity_blocks.unwrap_or(0),
        events: None,
        load: None,
    };
    WorkerDescription {
        ranks: vec![rank],
        pinning: Pinning::Nothing,
        block_size: overrides.block_size,
        prefix_caching: None,
        max_model_len: models.first().and_then(|card| card.max_model_len),
        role: Role::Aggregated,
        bootstrap_port: None,
        models,
        tokenizer_source: None,
        version: None,
        drained: false,
        instances: Vec::new(),
        findings: vec![Blindness::RankNotTaken { start: ENGINE }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_stands_for_the_worker() {
        let models = br#"{"data":[{"id":"m","owned_by":"someone"}]}"#;
        let overrides = Overrides { ranks: Some(4), capacity_blocks: Some(7), ..Overrides::default() };
        for (answers, names) in [
            (Answers::default().with("/v1/models", models), vec!["m"]),
            (Answers::default().with("/v1/models", b"<html>"), vec![]),
        ] {
            let worker = describe(&answers, &overrides);
            assert_eq!((worker.ranks.len(), worker.ranks[0].capacity_blocks), (1, 7));
            assert_eq!(worker.models.iter().map(|card| card.id.as_str()).collect::<Vec<_>>(), names);
        }
    }
}
