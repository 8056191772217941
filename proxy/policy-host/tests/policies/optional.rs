//! What a component may export beside the picker: scores, and learning.

use rankwise_core::policy::{Decision, PolicyRequest};
use rankwise_policy_host::{Learner, OUTCOME_FIELDS, Smoke, SmokeTable, ThreadPolicies};
use serde_json::json;

use super::guests::*;

const WEIGHTED: &[u8] = include_bytes!("../../../../policies/dist/weighted.wasm");
const QUICKEST: &[u8] = include_bytes!("../../../../policies/dist/quickest-prefill.wasm");
const RANDOM: &[u8] = include_bytes!("../../../../policies/dist/random.wasm");

#[test]
fn a_scorer_tells_a_score_for_every_row() {
    let host = host();
    let compiled = host.compile("weighted", WEIGHTED).unwrap();
    assert!(compiled.has_scorer() && !compiled.has_learner());
    let settings = json!({ "weights": { "prefill-tokens": 2.0, "running": 1.0 } });
    let activation = host.activate(&compiled, &pool(), &settings, &Smoke::example(), 1).unwrap();
    let table = SmokeTable::example(activation.needs());
    let mut policies = ThreadPolicies::new();
    let request = PolicyRequest::default();
    let scored = policies.score(&activation, &request, table.rows, &table.columns).unwrap().unwrap();
    // 500 tokens and one request for each rank of its number, on two workers.
    assert_eq!(scored, [0.0, 1001.0, 2002.0, 3003.0, 0.0, 1001.0, 2002.0, 3003.0]);
    let picked = policies.pick(&activation, &request, table.rows, &table.columns, |_| true).unwrap();
    assert!(matches!(picked, Decision::Rank(0 | 4)), "{picked:?}");
}

#[test]
fn others_tell_none() {
    let host = host();
    for activation in [active(&host, RANDOM), active(&host, &always(0))] {
        assert!(!activation.compiled().has_scorer());
        let table = SmokeTable::example(activation.needs());
        let request = PolicyRequest::default();
        assert!(ThreadPolicies::new().score(&activation, &request, table.rows, &table.columns).is_none());
        assert!(Learner::of(&activation).is_none());
    }
}

#[test]
fn a_learner_remembers_from_lesson_to_lesson_and_picks_do_not() {
    let host = host();
    let activation = active(&host, QUICKEST);
    assert!(activation.compiled().has_learner() && activation.compiled().has_scorer());
    let mut learner = Learner::of(&activation).unwrap().unwrap();
    let outcome = |target, first_token_us| {
        let mut fields = [0; OUTCOME_FIELDS];
        (fields[0], fields[1], fields[4]) = (target, 1000, first_token_us);
        fields
    };
    assert_eq!(learner.learn(&[70, 80], &[]), Ok(vec![0, 0]));
    assert_eq!(learner.learn(&[70, 80], &[outcome(1, 500_000)]), Ok(vec![0, 2000]));
    assert_eq!(learner.learn(&[80, 70, 90], &[]), Ok(vec![2000, 0, 0]), "by key, wherever it stands");
    // Another instance knows nothing of it: what is learned comes to picks as a column alone.
    assert_eq!(Learner::of(&activation).unwrap().unwrap().learn(&[80], &[]), Ok(vec![0]));
}
