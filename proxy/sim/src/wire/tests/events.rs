use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use super::client::{complete, post};
use super::{PATIENCE, fleet, quick};
use crate::model::pool::{CacheChange, Tier};
use crate::msgpack::{Msgpack, read_value};
use crate::wire::event_wire::{BatchStyle, encode};
use crate::{EventLayout, FleetSpec, WorkerHandle};

#[derive(Debug, PartialEq)]
struct Batch {
    seq: u64,
    events: Vec<Event>,
    rank: u64,
}

#[derive(Debug, PartialEq)]
enum Event {
    Stored { hashes: Vec<u64>, parent: Option<u64>, tokens: Vec<u64> },
    Removed(u64),
    Cleared,
}

/// A reader of its own, so that writer and reader do not share a mistake.
fn decode(seq: &[u8], payload: &[u8]) -> Batch {
    let value = read_value(&mut &payload[..]);
    let batch = value.array();
    let events = batch[1].array().iter().map(|event| match event.field("type").text() {
        "BlockStored" => Event::Stored {
            hashes: event.field("block_hashes").numbers(),
            parent: event.field("parent_block_hash").number(),
            tokens: event.field("token_ids").numbers(),
        },
        "BlockRemoved" => Event::Removed(event.field("block_hashes").numbers()[0]),
        "AllBlocksCleared" => Event::Cleared,
        other => panic!("{other}"),
    });
    Batch {
        seq: u64::from_be_bytes(seq.try_into().unwrap()),
        events: events.collect(),
        rank: batch[2].number().unwrap(),
    }
}

async fn subscribe(worker: &WorkerHandle, rank: usize) -> SubSocket {
    let mut socket = SubSocket::new();
    socket.connect(&worker.event_endpoint(rank).unwrap()).await.unwrap();
    socket.subscribe("kv-").await.unwrap();
    socket
}

async fn next(socket: &mut SubSocket) -> Batch {
    let message = tokio::time::timeout(PATIENCE, socket.recv()).await.expect("an event in time").unwrap();
    assert_eq!(message.len(), 3);
    assert_eq!(message.get(0).unwrap().as_ref(), b"kv-events");
    decode(message.get(1).unwrap(), message.get(2).unwrap())
}

async fn replay(worker: &WorkerHandle, rank: usize, start: u64) -> Vec<Batch> {
    let mut socket = DealerSocket::new();
    socket.connect(&worker.replay_endpoint(rank).unwrap()).await.unwrap();
    let mut request = ZmqMessage::from(Bytes::new());
    request.push_back(Bytes::copy_from_slice(&start.to_be_bytes()));
    socket.send(request).await.unwrap();
    let mut batches = Vec::new();
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.recv()).await.expect("a replay in time").unwrap();
        let frames = message.into_vec();
        assert_eq!(frames.len(), 4);
        assert!(frames[0].is_empty());
        if frames[2].as_ref() == [0xff; 8] {
            assert!(frames[1].is_empty() && frames[3].is_empty());
            return batches;
        }
        assert_eq!(frames[1].as_ref(), b"kv-events");
        batches.push(decode(&frames[2], &frames[3]));
    }
}

/// What a reader of events believes a cache to hold: hash -> (parent, tokens, copies).
type Believed = BTreeMap<u64, (Option<u64>, Vec<u64>, u32)>;

fn apply(believed: &mut Believed, events: &[Event], block_size: usize) {
    for event in events {
        match event {
            Event::Stored { hashes, parent, tokens } => {
                let mut parent = *parent;
                for (hash, tokens) in hashes.iter().zip(tokens.chunks(block_size)) {
                    believed.entry(*hash).or_insert_with(|| (parent, tokens.to_vec(), 0)).2 += 1;
                    parent = Some(*hash);
                }
            }
            Event::Removed(hash) => {
                let copies = &mut believed.get_mut(hash).expect("removed only what was stored").2;
                *copies -= 1;
                if *copies == 0 {
                    believed.remove(hash);
                }
            }
            Event::Cleared => believed.clear(),
        }
    }
}

fn truth(worker: &WorkerHandle, rank: usize) -> Believed {
    let wire = |hash| worker.wire_hash(rank, hash).unwrap();
    let entry = |block: crate::CachedBlock| {
        let tokens = block.tokens.iter().map(|&token| u64::from(token)).collect();
        (wire(block.hash), (block.parent.map(wire), tokens, block.copies))
    };
    worker.cache(rank).into_iter().map(entry).collect()
}

async fn traffic(worker: &WorkerHandle, rank: usize) {
    let shared: Vec<u32> = (0..40).collect();
    for turn in 0..12 {
        let own = (0..60).map(|token| 1000 + turn * 100 + token);
        let prompt: Vec<u32> = shared.iter().copied().chain(own).collect();
        assert_eq!(complete(worker, rank, &prompt, 9).await.status, 200);
    }
}

#[tokio::test]
async fn events_tell_the_cache() {
    for hash_per_rank in [false, true] {
        let fleet = fleet(FleetSpec { hash_per_rank, ..quick() }).await;
        let worker = &fleet.workers()[0];
        let mut socket = subscribe(worker, 1).await;
        // A subscription takes a moment to arrive: repeat until it has, then read on from replay.
        traffic(worker, 1).await;
        let replayed = replay(worker, 1, 0).await;
        let mut believed = Believed::new();
        for (expected, batch) in replayed.iter().enumerate() {
            assert_eq!((batch.seq, batch.rank), (expected as u64, 1));
            apply(&mut believed, &batch.events, 4);
        }
        assert_eq!(believed, truth(worker, 1));
        assert!(
            replayed.iter().flat_map(|batch| &batch.events).any(|event| matches!(event, Event::Removed(_)))
        );
        complete(worker, 1, &[7; 30], 1).await;
        let last = replay(worker, 1, 0).await.pop().unwrap();
        let live = loop {
            let batch = next(&mut socket).await;
            if batch.seq == last.seq {
                break batch;
            }
        };
        assert_eq!(live, last);
        apply(&mut believed, &live.events, 4);
        assert_eq!(believed, truth(worker, 1));
        fleet.stop().await;
    }
}

#[tokio::test]
async fn replay_begins_anywhere() {
    let fleet = fleet(FleetSpec { buffer_steps: 5, ..quick() }).await;
    let worker = &fleet.workers()[0];
    traffic(worker, 0).await;
    let all = replay(worker, 0, 0).await;
    assert_eq!(all.len(), 5, "older ones have left the ring");
    let third = all[2].seq;
    assert_eq!(replay(worker, 0, third).await, &all[2..]);
    assert_eq!(replay(worker, 0, u64::MAX - 1).await, []);
    fleet.stop().await;
}

#[tokio::test]
async fn a_cleared_cache_is_told_with_the_next_step() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    complete(worker, 0, &[1; 9], 1).await;
    assert_eq!(post(worker, "/reset_prefix_cache", json!({})).await.json(), json!({"success": true}));
    assert_eq!(replay(worker, 0, 1).await, []);
    complete(worker, 0, &[1; 9], 1).await;
    let told = replay(worker, 0, 1).await;
    assert_eq!(told.len(), 1);
    assert!(matches!(told[0].events[..], [Event::Cleared, Event::Stored { .. }]), "{told:?}");
    fleet.stop().await;
}

#[tokio::test]
async fn a_request_can_have_its_hits_told_again() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    let body = |mode| json!({"model": "sim", "prompt": vec![3; 9], "max_tokens": 1, "vllm_xargs": {"kv_cache_report_mode": mode}});
    for mode in ["none", "none", "full"] {
        let header: (&str, &[u8]) = ("x-data-parallel-rank", b"0");
        super::client::ask(worker, "/v1/completions", &[header], Some(&body(mode))).await;
    }
    let told = replay(worker, 0, 0).await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].events, told[1].events);
    fleet.stop().await;
}

#[tokio::test]
async fn a_restart_counts_from_zero_on_the_same_ports() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    let url = worker.url();
    complete(worker, 0, &[1; 9], 1).await;
    worker.restart().await.unwrap();
    assert_eq!(worker.url(), url);
    assert_eq!(worker.cache(0), []);
    complete(worker, 0, &[2; 9], 1).await;
    let told = replay(worker, 0, 0).await;
    assert!(
        matches!(told[0], Batch { seq: 0, ref events, .. } if matches!(events[..], [Event::Stored { .. }]))
    );
    worker.restart_announced().await.unwrap();
    complete(worker, 0, &[2; 9], 1).await;
    let told = replay(worker, 0, 0).await;
    assert!(matches!(told[0], Batch { seq: 0, ref events, .. } if events[0] == Event::Cleared));
    fleet.stop().await;
}

/// Byte for byte, with the keys and headers of the recording, and the shape in arrays.
#[test]
fn batches_are_written_as_vllm_writes_them() {
    let tokens = vec![1, 300, 70_000, 4];
    let hash = crate::model::chain::ChainHash;
    let (tier, parent) = (Tier::Device, Some(hash(u64::MAX)));
    let stored = CacheChange::Stored { tier, parent, blocks: vec![hash(7)], tokens, salt: None };
    let style = |layout| BatchStyle { layout, block_size: 4, hash_seed: 0, describes_host: true };
    let maps = encode(
        &[stored.clone(), CacheChange::Removed { tier, block: hash(7) }, CacheChange::Cleared],
        2,
        2.5,
        &style(EventLayout::Maps),
    );
    let mut expected = Vec::new();
    expected.extend(b"\x93\xcb\x40\x04\0\0\0\0\0\0\x93\x8b\xa4type\xabBlockStored\xacblock_hashes\x91\x07");
    expected.extend(b"\xb1parent_block_hash\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa9token_ids\x94\x01\xcd\x01\x2c\xce\0\x01\x11\x70\x04");
    expected.extend(b"\xaablock_size\x04\xa7lora_id\xc0\xa6medium\xa3GPU\xa9lora_name\xc0\xaaextra_keys\x91\xc0\xa9group_idx\0");
    expected.extend(b"\xb2kv_cache_spec_kind\xaefull_attention");
    expected.extend(b"\x84\xa4type\xacBlockRemoved\xacblock_hashes\x91\x07\xa6medium\xa3GPU\xa9group_idx\0");
    expected.extend(b"\x81\xa4type\xb0AllBlocksCleared\x02");
    assert_eq!(maps, expected);
    let arrays = encode(&[stored], 0, 2.5, &style(EventLayout::Arrays));
    let Msgpack::Array(batch) = read_value(&mut &arrays[..]) else { panic!("no array") };
    let event = batch[1].array()[0].array();
    assert_eq!((event.len(), event[0].text(), event[1].numbers()), (10, "BlockStored", vec![7]));
}
