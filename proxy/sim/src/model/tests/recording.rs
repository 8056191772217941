//! The same requests as a recorded run of vLLM 0.32 give the same events.
//!
//! `recorded_rank*.jsonl` holds, in order, each rank's sequences of the recording under `tests/data/vllm-0.32`: prompts and answers as
//! far as the events tell them. Tokens from 1,000,000 on stand for those that never filled a block. `joins`: arrived while the one
//! before it ran its first step. `reset`: the cache was cleared; `reset_within`: it was tried during this sequence and failed.
//! The server's warm-up and the sequence whose client went away are as long as some length that gives the recorded blocks.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::run;
use crate::model::chain::{ChainHash, chain};
use crate::model::core::CoreSpec;
use crate::model::group::Group;
use crate::model::pool::{CacheChange, Tier};
use crate::model::sequence::{Prompt, SequenceId};
use crate::model::time::{Micros, Timing};
use crate::msgpack::{Msgpack, read_value};

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    reset: bool,
    #[serde(default)]
    prompt: Vec<u32>,
    #[serde(default)]
    answer: Vec<u32>,
    salt: Option<String>,
    #[serde(default)]
    joins: bool,
    #[serde(default)]
    reset_within: bool,
}

/// The recorded batches, in the model's words.
fn recorded(mut frames: &[u8]) -> Vec<Vec<CacheChange>> {
    let mut names = HashMap::new();
    let mut batches = Vec::new();
    while !frames.is_empty() {
        let count = number(&mut frames);
        let message: Vec<&[u8]> = (0..count)
            .map(|_| {
                let length = number(&mut frames);
                frames.split_off(..length).unwrap()
            })
            .collect();
        let batch = read_value(&mut &message[2][..]);
        batches.push(batch.array()[1].array().iter().map(|event| change(event, &mut names)).collect());
    }
    batches
}

fn number(frames: &mut &[u8]) -> usize {
    let bytes = frames.split_off(..4).unwrap();
    u32::from_be_bytes(bytes.try_into().unwrap()) as usize
}

fn change(event: &Msgpack, names: &mut HashMap<u64, ChainHash>) -> CacheChange {
    match event.field("type").text() {
        "BlockStored" => {
            let parent = event.field("parent_block_hash").number().map(|name| names[&name]);
            let tokens: Vec<u32> =
                event.field("token_ids").numbers().iter().map(|&token| token as u32).collect();
            let salt = match &event.field("extra_keys").array()[0] {
                Msgpack::Nil => None,
                keys => Some(Arc::from(keys.array()[0].text())),
            };
            let mut before = parent;
            let mut blocks = Vec::new();
            for (name, tokens) in event.field("block_hashes").numbers().into_iter().zip(tokens.chunks(32)) {
                let hash = chain(before, tokens, salt.as_deref());
                names.insert(name, hash);
                blocks.push(hash);
                before = Some(hash);
            }
            CacheChange::Stored { tier: Tier::Device, parent, blocks, tokens, salt }
        }
        "BlockRemoved" => CacheChange::Removed {
            tier: Tier::Device,
            block: names[&event.field("block_hashes").numbers()[0]],
        },
        _ => CacheChange::Cleared,
    }
}

fn replayed(lines: &str) -> Vec<Vec<CacheChange>> {
    let core = CoreSpec { block_size: 32, max_batched_tokens: 2048, ..super::CORE };
    let mut group = Group::new(1, core, Timing::default(), false);
    let mut batches = Vec::new();
    let mut collect = |outcomes: Vec<crate::model::group::StepOutcome>| {
        batches.extend(outcomes.into_iter().flat_map(|outcome| outcome.changes).map(|(_, changes)| changes));
    };
    for (id, line) in lines.lines().enumerate() {
        let line: Line = serde_json::from_str(line).unwrap();
        if !line.joins {
            collect(run(&mut group));
        }
        if line.reset {
            assert!(group.rank_mut(0).unwrap().clear_cache());
            continue;
        }
        let prompt = Prompt {
            tokens: line.prompt,
            answer: line.answer.into(),
            salt: line.salt.map(Arc::from),
            transferred: false,
            report_hits: false,
            stops: false,
        };
        group.submit(0, SequenceId(id as u64), prompt, Micros(0)).unwrap();
        assert!(!line.reset_within || !group.rank_mut(0).unwrap().clear_cache());
    }
    collect(run(&mut group));
    batches
}

fn compare(frames: &[u8], lines: &str) {
    let recorded = recorded(frames);
    let replayed = replayed(lines);
    let short = |change: &CacheChange| match change {
        CacheChange::Stored { blocks, .. } => {
            format!("+{:x?}", blocks.iter().map(|b| b.0 >> 48).collect::<Vec<_>>())
        }
        CacheChange::Removed { block, .. } => format!("-{:x}", block.0 >> 48),
        CacheChange::Cleared => "cleared".to_owned(),
    };
    for (at, (recorded, replayed)) in recorded.iter().zip(&replayed).enumerate() {
        let words = |batch: &[CacheChange]| batch.iter().map(short).collect::<Vec<_>>().join(" ");
        assert!(
            recorded == replayed,
            "batch {at}\nrecorded {}\nreplayed {}",
            words(recorded),
            words(replayed)
        );
    }
    assert_eq!(recorded.len(), replayed.len());
}

#[test]
fn rank_0() {
    compare(
        include_bytes!("../../../../../tests/data/vllm-0.32/kv/rank0.frames"),
        include_str!("../../../tests/data/recorded_rank0.jsonl"),
    );
}

#[test]
fn rank_1() {
    compare(
        include_bytes!("../../../../../tests/data/vllm-0.32/kv/rank1.frames"),
        include_str!("../../../tests/data/recorded_rank1.jsonl"),
    );
}
