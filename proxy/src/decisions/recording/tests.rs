use std::time::Duration;

use proptest::prelude::*;
use rankwise_core::policy::{Column, Decision, Fact, Facts, Phase, PolicyRequest, Rejection};

use super::super::record::{Answer, Chosen, Filtered, Lane, Record, Table, Times, Truth};
use super::*;

fn pool() -> RecordedPool {
    RecordedPool::new("main".into(), "m".into(), 16)
}

fn policy() -> RecordedPolicy {
    RecordedPolicy {
        name: "kv".into(),
        version: 2,
        digest: "d".repeat(64),
        settings: serde_json::json!({ "temperature": 0.5 }),
        model: "m".into(),
        block_size: 16,
    }
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::NotAsked),
        any::<u32>().prop_map(|row| Answer::Decided(Decision::Rank(row))),
        any::<u32>().prop_map(|worker| Answer::Decided(Decision::Worker(worker))),
        Just(Answer::Decided(Decision::Skip)),
        any::<u32>().prop_map(|ms| Answer::Decided(Decision::Wait(ms))),
        (0u16..1000, proptest::option::of(0..u32::MAX)).prop_map(|(status, retry_after_s)| {
            let rejection = Rejection { status, retry_after_s, reason: "full".into() };
            Answer::Decided(Decision::Reject(rejection))
        }),
        Just(Answer::Failed("trap".into(), "unreachable".into())),
    ]
}

prop_compose! {
    /// With figures that mostly stay as they are, and every column.
    fn records()(
        id in any::<u64>(),
        at_unix_ms in any::<u64>(),
        (lane, phase) in (0usize..3, 0usize..3),
        (sequence, seed, fact) in any::<(u64, u64, u64)>(),
        rows in 0u32..4,
        figures in proptest::collection::vec(prop_oneof![3 => Just(7u32), 1 => any::<u32>()], 4 * Column::ALL.len()),
        answer in answers(),
        chosen in prop_oneof![
            Just(Chosen::Nowhere), any::<u32>().prop_map(Chosen::Row), any::<u32>().prop_map(Chosen::Worker)
        ],
        header in proptest::option::of("[a-z]{0,8}"),
    ) -> Record {
        let mut facts = Facts::default();
        facts.set(Fact::PromptTokens, fact);
        let packed = figures[..rows as usize * Column::ALL.len()].to_vec();
        Record {
            id,
            request_id: format!("r{id}"),
            at_unix_ms,
            lane: Lane::ALL[lane],
            request: PolicyRequest {
                sequence,
                seed,
                phase: [Phase::Aggregated, Phase::Prefill, Phase::Decode][phase],
                facts,
                text: header.into_iter().map(|value| ("x-tenant".into(), value)).collect(),
            },
            table: Table { rows, columns: Column::ALL.to_vec(), packed },
            answer,
            chosen,
            times: Times { snapshot: Duration::from_nanos(900), policy: Duration::from_micros(3) },
            filtered: vec![Filtered { worker: 4, rank: 1, reason: "draining".into() }],
        }
    }
}

fn truth() -> Truth {
    Truth {
        outcome: "ok".into(),
        prompt_tokens: Some(100),
        cached_tokens: Some(0),
        completion_tokens: None,
        first_token: Some(Duration::from_micros(1500)),
        total: Duration::from_millis(20),
    }
}

/// A file of these decisions, each by the one policy and with its truth.
fn file(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(&pool(), &mut out);
    let number = encoder.policy(&policy(), &mut out);
    for record in records {
        encoder.decision(record, Some(number), &mut out);
        encoder.truth(record.id, &truth(), &mut out);
    }
    out
}

fn read(bytes: &[u8]) -> Result<Vec<Event>, Malformed> {
    Decoder::new(bytes)?.collect()
}

proptest! {
    #[test]
    fn what_was_written_is_read(records in proptest::collection::vec(records(), 0..6)) {
        let bytes = file(&records);
        let events = read(&bytes).unwrap();
        prop_assert_eq!(events.len(), 1 + 2 * records.len());
        prop_assert!(matches!(&events[0], Event::Policy(read) if *read == policy()));
        for (pair, written) in events[1..].chunks(2).zip(&records) {
            let [Event::Decision(read, Some(0)), Event::Truth(id, told)] = pair else { panic!("{pair:?}") };
            prop_assert_eq!(format!("{read:?}"), format!("{written:?}"));
            prop_assert_eq!((*id, told), (written.id, &truth()));
        }
    }

    #[test]
    fn a_cut_file_ends_before_the_cut(records in proptest::collection::vec(records(), 1..4), cut in any::<prop::sample::Index>()) {
        let bytes = file(&records);
        let whole = read(&bytes).unwrap();
        let start = bytes.iter().position(|byte| *byte == b'{').unwrap();
        let end = start + bytes[start..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let cut = end + cut.index(bytes.len() - end);
        let events = read(&bytes[..cut]).unwrap();
        prop_assert!(events.len() < whole.len());
        let (whole, read) = (format!("{whole:?}"), format!("{events:?}"));
        prop_assert!(whole.starts_with(read.trim_end_matches(']')));
    }

    #[test]
    fn any_bytes_are_read_to_an_end(
        records in proptest::collection::vec(records(), 1..3),
        spoilt in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = file(&records);
        for (at, byte) in spoilt {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // Whatever it says, it says so and ends.
        let _ = read(&bytes);
    }
}

#[test]
fn a_table_that_stays_the_same_takes_few_bytes() {
    let rows = 512;
    let figures: Vec<u32> =
        (0..rows * Column::ALL.len() as u32).map(|at| at.wrapping_mul(0x9e37_79b9)).collect();
    let record = Record {
        id: 1,
        request_id: "r".into(),
        at_unix_ms: 1,
        lane: Lane::Active,
        request: PolicyRequest::default(),
        table: Table { rows, columns: Column::ALL.to_vec(), packed: figures },
        answer: Answer::Decided(Decision::Rank(0)),
        chosen: Chosen::Row(0),
        times: Times::default(),
        filtered: Vec::new(),
    };
    let mut changed = record.clone();
    changed.table.packed[700] += 3;
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(&pool(), &mut out);
    encoder.decision(&record, None, &mut out);
    let before = out.len();
    encoder.decision(&changed, None, &mut out);
    assert!(out.len() - before < 64, "{}", out.len() - before);
    assert_eq!(read(&out).unwrap().len(), 2);
}

#[test]
fn other_files_are_refused_in_words() {
    let refused = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    assert_eq!(refused(b""), "byte 0: no recording of decisions, or one of another version");
    assert!(refused(b"RWDEC1\n{").contains("does not end"));
    assert!(refused(b"RWDEC1\n{}\n").contains("the line about the pool: missing field"));
    let mut bytes = file(&[]);
    bytes.extend_from_slice(&[3, kind::DECISION, 0, 0xff]);
    assert!(refused(&bytes).contains("ends too early"), "{}", refused(&bytes));
}

#[test]
fn a_zero_run_is_bounded_by_its_table() {
    let mut bytes = file(&[]);
    // A decision of one row whose zeros never end.
    let mut body = vec![kind::DECISION, 1, 0, 0, 0, 0, 0];
    body.extend_from_slice(&[0; 8]);
    body.extend_from_slice(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    bytes.push(body.len() as u8);
    bytes.extend_from_slice(&body);
    assert!(read(&bytes).unwrap_err().to_string().contains("zeros"), "{:?}", read(&bytes));
}
