//! A worker behind `dynamo.frontend --router-mode direct`.
//!
//! The frontend obeys a worker's instance id and a rank, each named by a header, and tells neither ranks nor events of
//! the workers behind it. So config says how many ranks a worker has and where they publish their events, in vLLM's layout. Which
//! worker it is changes with every start. `/health` lists the workers that are there (1.6.1, measured; it says 200 whoever is) by id and
//! by the address of Dynamo's own wire, which workers of one process share and which names no event port. So which of
//! them a config's entry means is not told: either config names one by the header, or it is found by what its events tell of a request that
//! was sent to it. A request that names a worker that is not there is answered 400.

use rankwise_core::ids::DpRank;
use serde::Deserialize;

use crate::disaggregation::Role;
use crate::discovery::{self, Answers, Blindness, Overrides, RANKS_MAX, RankDescription, WorkerDescription};
use crate::error::Error;
use crate::pin::Pinning;

/// The header that names the worker to the frontend.
pub const INSTANCE_HEADER: &str = "x-worker-instance-id";

/// Paths to ask with GET besides the models.
pub const PATHS: [&str; 1] = [HEALTH];

/// Lists the workers that are there.
pub const HEALTH: &str = "/health";

const EVENTS: &str = "set events for the worker: its engine's ports, one per rank";

#[derive(Deserialize)]
struct Health {
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
struct Instance {
    endpoint: String,
    instance_id: u64,
}

/// The endpoint that takes requests; workers have others besides.
const GENERATE: &str = "generate";

/// Ids of the workers that take requests, each once; `None` where that is not told.
pub fn instances(health: &[u8]) -> Option<Vec<u64>> {
    let health: Health = serde_json::from_slice(health).ok()?;
    let generating = health.instances.into_iter().filter(|instance| instance.endpoint == GENERATE);
    let mut ids: Vec<_> = generating.map(|instance| instance.instance_id).take(RANKS_MAX).collect();
    ids.sort_unstable();
    ids.dedup();
    Some(ids)
}

/// The workers one of which is meant, if config does not name it; whoever is named has to be there, where that is told.
fn meant(answers: &Answers<'_>, named: Option<u64>) -> Result<Vec<u64>, Error> {
    let wrong = |what| Err(Error::Answer { path: HEALTH, what });
    match (answers.get(HEALTH).and_then(instances), named) {
        (Some(there), Some(named)) if !there.contains(&named) => {
            wrong("no worker with the instance id that the config names: it is another after every start")
        }
        (_, Some(_)) => Ok(Vec::new()),
        (Some(there), None) if there.is_empty() => wrong("no worker is there"),
        (Some(there), None) => Ok(there),
        (None, None) => wrong("workers are not told: name one by x-worker-instance-id among the headers"),
    }
}

/// The ranks that config says, and the frontend's models.
///
/// # Errors
/// If config names too many ranks or a worker that is not there, or the answer is no list of models.
pub(crate) fn describe(answers: &Answers<'_>, overrides: &Overrides) -> Result<WorkerDescription, Error> {
    let models = answers.get("/v1/models").map(discovery::models).transpose()?.unwrap_or_default();
    let instances = meant(answers, overrides.instance)?;
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
        instances,
        findings,
    })
}

#[cfg(test)]
mod tests {
    use rankwise_core::ids::BlockSize;

    use super::*;

    const MODELS: &[u8] = br#"{"data":[{"id":"m","owned_by":"nvidia"}]}"#;

    /// As the frontend of 1.6.1 answers, of two workers of its mocker.
    const TWO: &[u8] = br#"{"status":"healthy","endpoints":["dyn://dynamo.backend.generate"],"instances":[
        {"component":"backend","endpoint":"generate","namespace":"dynamo","instance_id":1897669906632631288,
         "transport":{"tcp":"127.0.0.1:44549/1a55e0b9cdc963f8/dynamo/backend/generate"},"device_type":"cuda"},
        {"component":"backend","endpoint":"generate","namespace":"dynamo","instance_id":4374431326090935256},
        {"component":"backend","endpoint":"worker_kv_query_source_105f","namespace":"dynamo","instance_id":1897669906632631288}]}"#;
    const IDS: [u64; 2] = [1_897_669_906_632_631_288, 4_374_431_326_090_935_256];

    #[test]
    fn what_it_is_stands_in_the_config() {
        let answers = Answers::default().with("/v1/models", MODELS);
        let overrides = Overrides {
            ranks: Some(4),
            block_size: Some(BlockSize(64)),
            capacity_blocks: Some(9),
            instance: Some(42),
            ..Overrides::default()
        };
        let worker = describe(&answers, &overrides).unwrap();
        assert_eq!((worker.ranks.len(), worker.instances), (4, vec![]));
        assert!(worker.ranks.iter().all(|rank| (rank.group, rank.capacity_blocks) == (0, 9)));
        assert_eq!(worker.findings, [Blindness::EventsOff { start: EVENTS }]);
        let little = describe(&answers, &Overrides { instance: Some(42), ..Overrides::default() }).unwrap();
        assert_eq!(little.ranks.len(), 1);
        assert!(little.findings.contains(&Blindness::BlockSizeUnknown));
        assert!(describe(&answers, &Overrides { ranks: Some(0), ..overrides }).is_err());
        assert!(describe(&Answers::default().with("/v1/models", b"[]"), &overrides).is_err());
    }

    #[test]
    fn the_worker_is_the_one_that_is_named_or_one_of_those_there() {
        assert_eq!(instances(TWO).unwrap(), IDS);
        let meant = |health: &[u8], instance| {
            let answers = Answers::default().with("/v1/models", MODELS).with(HEALTH, health);
            describe(&answers, &Overrides { instance, ..Overrides::default() }).map(|worker| worker.instances)
        };
        let one = br#"{"instances":[{"endpoint":"generate","instance_id":7}]}"#;
        assert_eq!(meant(one, None).unwrap(), [7]);
        assert_eq!(meant(TWO, None).unwrap(), IDS);
        assert!(meant(one, Some(7)).unwrap().is_empty(), "config names it");
        assert!(meant(TWO, Some(IDS[1])).unwrap().is_empty());
        // Where nobody tells, the config is believed.
        assert!(meant(b"", Some(8)).unwrap().is_empty());
        for (health, named) in [
            (&one[..], Some(8)),
            (br#"{"instances":[]}"#, None),
            (br#"{"instances":[]}"#, Some(7)),
            (b"", None),
            (br#"{"status":"healthy"}"#, None),
        ] {
            let error = meant(health, named).unwrap_err().to_string();
            assert!(error.starts_with("/health: "), "{error}");
        }
    }
}
