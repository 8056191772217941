use std::time::Duration;

use rankwise_core::policy::{Column, PolicyRequest};

use super::*;
use crate::decisions::recording::{Encoder, RecordedPool};
use crate::decisions::{Chosen, Lane, Table, Times};
use crate::policies::BuiltIn;

/// A recording of 40 decisions that round robin over four ranks makes.
fn recording(settings: serde_json::Value) -> Vec<u8> {
    let wasm = BuiltIn::from(crate::config::BuiltInPolicy::RoundRobin).wasm;
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(&RecordedPool::new("main".into(), "m".into(), 16), &mut out);
    let policy = RecordedPolicy {
        name: "round-robin".into(),
        version: 1,
        digest: rankwise_policy_host::digest(wasm),
        settings,
        model: "m".into(),
        block_size: 16,
    };
    let number = encoder.policy(&policy, &mut out);
    for sequence in 0..40 {
        let row = (sequence % 4) as u32;
        let mut packed = vec![0; 4 * Column::ALL.len()];
        packed[Column::DpRank.id() as usize * 4..][..4].copy_from_slice(&[0, 1, 2, 3]);
        packed[Column::Weight.id() as usize * 4..][..4].copy_from_slice(&[1000; 4]);
        let record = Record {
            id: sequence,
            request_id: format!("r{sequence}"),
            at_unix_ms: sequence,
            lane: Lane::Active,
            request: PolicyRequest { sequence, ..PolicyRequest::default() },
            table: Table { rows: 4, columns: Column::ALL.to_vec(), packed },
            answer: Answer::Decided(Decision::Rank(row)),
            chosen: Chosen::Row(row),
            times: Times::default(),
            filtered: Vec::new(),
        };
        encoder.decision(&record, Some(number), &mut out);
        let truth = Truth { outcome: "ok".into(), total: Duration::from_millis(1), ..Truth::default() };
        encoder.truth(sequence, &truth, &mut out);
    }
    out
}

fn asked(text: &str) -> Asked {
    text.parse().unwrap()
}

#[test]
fn the_same_component_answers_the_same_and_another_may_not() {
    let file = recording(serde_json::json!({ "pin": "rank" }));
    let report = run(&file, &[asked("round-robin"), asked("least-loaded")], 3).unwrap();
    assert_eq!((report.decisions, report.not_compared), (40, 0));
    let [same, other] = report.policies.as_slice() else { panic!("{report:?}") };
    assert_eq!((same.same, same.different, same.failed, same.broken_promises), (40, 0, 0, 0));
    assert_eq!(other.same + other.different, 40);
    assert!(report.is_exact());
    assert!(report.text().contains("round-robin sha256:"), "{}", report.text());
}

#[test]
fn a_component_that_answers_otherwise_is_found_out() {
    // It was not recorded with these settings: it leaves the rank to the engine.
    let file = recording(serde_json::json!({}));
    let report = run(&file, &[asked("round-robin")], 3).unwrap();
    assert!(!report.is_exact(), "{report:?}");
    assert_eq!(report.differences.len(), 3);
    assert!(
        report.text().contains("#0 r0: recorded worker 0 rank 0; round-robin worker 0"),
        "{}",
        report.text()
    );
}

#[test]
fn what_is_asked_for_is_read_with_its_settings() {
    assert_eq!(asked("kv").settings, None);
    assert_eq!(asked(r#"kv={"temperature":0.5}"#).settings, Some(serde_json::json!({ "temperature": 0.5 })));
    for wrong in ["", "kv=", "kv=[]", "={}"] {
        assert!(wrong.parse::<Asked>().is_err(), "{wrong}");
    }
    let missing = Input::read(Path::new("/nowhere/at.all")).err().unwrap();
    assert!(format!("{missing:#}").starts_with("/nowhere/at.all: "), "{missing:#}");
}
