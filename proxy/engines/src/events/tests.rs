use proptest::prelude::*;
use rankwise_core::event::{CacheEvent, CacheGroup, Parent, StoredBlock, Tier};
use rankwise_core::hash::{EngineHash, block_extra};
use rankwise_core::ids::BlockSize;

use super::*;
use crate::testing::{Made, Naive, fingerprints, frames, payload, translation};

/// Written by vLLM 0.33's own publisher.
const GOLDEN: [&str; 2] = [
    "93cb3ff800000000000091de0009a474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657392c420000102030405060708090a0b0c\
     0d0e0f101112131415161718191a1b1c1d1e1fc420202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3fb170617265\
     6e745f626c6f636b5f68617368c0a9746f6b656e5f696473980001020304050607aa626c6f636b5f73697a6504a76c6f72615f6964c0a66d6564\
     69756da3475055a96c6f72615f6e616d65c0a967726f75705f6964780002",
    "93cb400400000000000093de000ba474797065ab426c6f636b53746f726564ac626c6f636b5f6861736865739107b1706172656e745f626c6f636b5f\
     68617368cfffffffffffffffffa9746f6b656e5f6964739401020304aa626c6f636b5f73697a6504a76c6f72615f696401a66d656469756da347\
     5055a96c6f72615f6e616d65a26164aa65787472615f6b6579739194a2616492a7696d6768617368fda473616c74c4020102a967726f75705f69\
     647800aa73657373696f6e5f6964a2733184a474797065ac426c6f636b52656d6f766564ac626c6f636b5f68617368657391c420000102030405\
     060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fa66d656469756da3475055a967726f75705f6964780081a474797065b0416c6c\
     426c6f636b73436c656172656402",
];

/// Written by SGLang 0.5.23's publisher: the same layout, signed hashes.
const GOLDEN_SIGNED: &str = "93cb3ff80000000000009487a474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657392fb07b1706172656e745f\
     626c6f636b5f68617368c0a9746f6b656e5f696473920102aa626c6f636b5f73697a6501a76c6f72615f6964c0a66d656469756da34750558aa4\
     74797065ab426c6f636b53746f726564ac626c6f636b5f6861736865739109b1706172656e745f626c6f636b5f6861736807a9746f6b656e5f69\
     64739103aa626c6f636b5f73697a6501a76c6f72615f6964c0a66d656469756daa4350555f50494e4e4544aa63616368655f73616c74a27431aa\
     73657373696f6e5f6964a173a96c6f72615f6e616d65a2616483a474797065ac426c6f636b52656d6f766564ac626c6f636b5f68617368657391\
     fba66d656469756da347505581a474797065b0416c6c426c6f636b73436c656172656401";

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn read(payload: &[u8]) -> Batch<'_> {
    decode(payload, BatchLimits::default()).unwrap()
}

/// A hand-written batch of one event.
fn made(event: &[u8]) -> Vec<u8> {
    [&[0x92, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 0x91][..], event].concat()
}

#[test]
fn golden_bytes_with_digests() {
    let bytes = unhex(GOLDEN[0]);
    let batch = read(&bytes);
    assert_eq!((batch.timestamp, batch.rank), (1.5, Some(2)));
    let stored = Stored {
        blocks: vec![EngineHash(0x1819_1a1b_1c1d_1e1f), EngineHash(0x3839_3a3b_3c3d_3e3f)],
        content: Content::Tokens((0..8).collect()),
        block_size: 4,
        tier: Some(Tier::Device),
        group: Some(0),
        ..Stored::default()
    };
    assert_eq!(batch.events, [Event::Stored(stored)]);
}

#[test]
fn golden_bytes_with_extra_keys() {
    let bytes = unhex(GOLDEN[1]);
    let batch = read(&bytes);
    assert_eq!((batch.timestamp, batch.rank), (2.5, Some(2)));
    let stored = Stored {
        blocks: vec![EngineHash(7)],
        parent: Some(EngineHash(u64::MAX)),
        content: Content::Tokens(vec![1, 2, 3, 4]),
        block_size: 4,
        tier: Some(Tier::Device),
        lora_id: Some(1),
        lora_name: Some("ad"),
        extra: Some(vec![vec![
            Extra::Text("ad"),
            Extra::Item { identifier: "imghash", offset: -3 },
            Extra::Text("salt"),
            Extra::Digest(&[1, 2]),
        ]]),
        group: Some(0),
        ..Stored::default()
    };
    let removed = Event::Removed {
        blocks: vec![EngineHash(0x1819_1a1b_1c1d_1e1f)],
        tier: Tier::Device,
        group: Some(0),
    };
    assert_eq!(batch.events, [Event::Stored(stored), removed, Event::Cleared]);

    let mut out = Vec::new();
    let translation = translation(4);
    let extra = block_extra(&[("imghash", -3)], Some(&[1, 2]));
    let content = translation.key.block(&[1, 2, 3, 4], &extra);
    assert!(!Translator::new(translation).translate(&batch.events, &mut out));
    let stored = CacheEvent::Stored {
        parent: Parent::Block(EngineHash(u64::MAX)),
        blocks: vec![StoredBlock { engine: EngineHash(7), content }],
        block_size: BlockSize(4),
        tier: Tier::Device,
        group: CacheGroup(0),
    };
    assert_eq!(out[0], stored);
    assert_eq!(out[2], CacheEvent::Cleared);
}

#[test]
fn golden_bytes_with_signed_hashes() {
    let bytes = unhex(GOLDEN_SIGNED);
    let batch = read(&bytes);
    assert_eq!(batch.rank, Some(1));
    let Event::Stored(first) = &batch.events[0] else { panic!() };
    assert_eq!(first.blocks, [EngineHash(-5_i64 as u64), EngineHash(7)]);
    let Event::Stored(second) = &batch.events[1] else { panic!() };
    assert_eq!((second.tier, second.parent), (Some(Tier::Host), Some(EngineHash(7))));
    assert_eq!((second.cache_salt, second.lora_name), (Some("t1"), Some("ad")));
    let removed = Event::Removed { blocks: vec![EngineHash(-5_i64 as u64)], tier: Tier::Device, group: None };
    assert_eq!(batch.events[2..], [removed, Event::Cleared]);
}

/// One stored event of SGLang's: these token ids as msgpack, hash 7, a page of 2, perhaps a salt.
fn sglang_stored(parent: &[u8], tokens: &[u8], salt: Option<&str>) -> Vec<u8> {
    let mut event = vec![0x80 + 5 + u8::from(salt.is_some())];
    let mut entry = |key: &str, value: &[u8]| {
        event.push(0xa0 + key.len() as u8);
        event.extend_from_slice(key.as_bytes());
        event.extend_from_slice(value);
    };
    entry("type", b"\xabBlockStored");
    entry("block_hashes", b"\x92\x07\x08");
    entry("parent_block_hash", parent);
    entry("token_ids", tokens);
    entry("block_size", b"\x02");
    if let Some(salt) = salt {
        entry("cache_salt", &[&[0xa0 + salt.len() as u8], salt.as_bytes()].concat());
    }
    made(&event)
}

fn translated(payload: &[u8]) -> (Vec<CacheEvent>, Skipped) {
    let mut translator = Translator::new(translation(2));
    let mut out = Vec::new();
    translator.translate(&read(payload).events, &mut out);
    (out, *translator.skipped())
}

#[test]
fn a_salt_of_its_own_key_is_the_prompts_namespace() {
    let key = translation(2).key;
    let root = |payload: &[u8]| match translated(payload).0.as_slice() {
        [CacheEvent::Stored { parent, .. }] => *parent,
        other => panic!("{other:?}"),
    };
    let tokens = b"\x94\x01\x02\x03\x04";
    assert_eq!(
        root(&sglang_stored(b"\xc0", tokens, Some("s"))),
        Parent::Root(key.namespace("tiny", None, Some("s")))
    );
    assert_eq!(root(&sglang_stored(b"\xc0", tokens, None)), Parent::Root(key.namespace("tiny", None, None)));
    // Behind a block the namespace is that block's.
    assert_eq!(root(&sglang_stored(b"\x05", tokens, Some("s"))), Parent::Block(EngineHash(5)));
}

#[test]
fn pairs_of_a_token_and_its_successor_are_read_as_tokens() {
    let plain = translated(&sglang_stored(b"\xc0", b"\x94\x01\x02\x03\x04", None));
    let pairs =
        translated(&sglang_stored(b"\xc0", b"\x94\x92\x01\x02\x92\x02\x03\x92\x03\x04\x92\x04\x09", None));
    assert_eq!(pairs.0, plain.0);
    for odd in [
        // Not each other's successors; not ids; pairs and ids mixed; three of them.
        &b"\x94\x92\x01\x02\x92\x05\x03\x92\x03\x04\x92\x04\x09"[..],
        b"\x94\x92\x01\xc0\x92\x02\x03\x92\x03\x04\x92\x04\x09",
        b"\x94\x92\x01\x92\x01\x01\x92\x02\x03\x92\x03\x04\x92\x04\x09",
        b"\x94\x01\x92\x01\x02\x02\x03",
        b"\x94\x92\x01\x02\x02\x03\x04",
        b"\x94\x93\x01\x02\x03\x02\x03\x04",
    ] {
        let (events, skipped) = translated(&sglang_stored(b"\xc0", odd, None));
        assert!(events.is_empty());
        assert_eq!(skipped.count(SkipReason::Tokens), 1, "{odd:02x?}");
    }
}

/// Written by TensorRT-LLM's shim, whose own tests hold it against the same file.
#[test]
fn what_the_shim_publishes_is_read() {
    let bytes = unhex(include_str!("../../shim/golden.hex"));
    let batch = read(&bytes);
    assert_eq!((batch.timestamp, batch.rank), (1.5, Some(3)));
    let mut translator = Translator::new(translation(2));
    let mut out = Vec::new();
    translator.translate(&batch.events, &mut out);
    assert_eq!(translator.skipped().total(), 0);
    let key = translation(2).key;
    let stored = |parent, engine, tokens: &[u32]| CacheEvent::Stored {
        parent,
        blocks: vec![StoredBlock { engine: EngineHash(engine), content: key.block(tokens, &[]) }],
        block_size: BlockSize(2),
        tier: Tier::Device,
        group: CacheGroup(0),
    };
    let digest = 0x0a0a_0a0a_0a0a_0a0a;
    assert_eq!(
        out,
        [
            stored(Parent::Root(key.namespace("tiny", None, None)), 1 << 63, &[1, 70000]),
            stored(Parent::Block(EngineHash(1 << 63)), digest, &[3, 4]),
            CacheEvent::Removed { blocks: vec![EngineHash(7)], tier: Tier::Host, group: CacheGroup(0) },
            CacheEvent::Cleared,
        ]
    );
}

#[test]
fn recordings_hold_what_another_program_says() {
    for (file, sets) in [
        ("kv/rank0.frames", "kv/rank0.sets"),
        ("kv/rank1.frames", "kv/rank1.sets"),
        ("kv/SYNTHETIC_array_layout_rank0.frames", "kv/rank0.sets"),
    ] {
        let (messages, sets) = (frames(file), fingerprints(sets));
        assert_eq!(messages.len(), sets.len());
        let (mut translator, mut naive) = (Translator::new(translation(32)), Naive::default());
        for (message, expected) in messages.iter().zip(&sets) {
            let mut out = Vec::new();
            assert!(!translator.translate(&read(&message[2]).events, &mut out));
            out.iter().for_each(|event| naive.apply(event));
            assert_eq!(naive.fingerprint(), *expected, "{file}");
        }
        assert_eq!((translator.skipped().total(), naive.unknown_parents), (0, 0), "{file}");
    }
}

#[test]
fn both_layouts_mean_the_same() {
    let maps = frames("kv/rank0.frames");
    let arrays = frames("kv/SYNTHETIC_array_layout_rank0.frames");
    for (map, array) in maps.iter().zip(&arrays) {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        Translator::new(translation(32)).translate(&read(&map[2]).events, &mut left);
        Translator::new(translation(32)).translate(&read(&array[2]).events, &mut right);
        assert_eq!(left, right);
    }
}

#[test]
fn the_recorded_salt_is_in_the_namespace() {
    let translation = translation(32);
    let salted = translation.key.namespace("tiny", None, Some("s1"));
    let mut translator = Translator::new(translation);
    let mut roots = Vec::new();
    for message in frames("kv/rank0.frames") {
        let mut out = Vec::new();
        translator.translate(&read(&message[2]).events, &mut out);
        roots.extend(out.iter().filter_map(|event| match event {
            CacheEvent::Stored { parent: Parent::Root(namespace), .. } => Some(*namespace),
            _ => None,
        }));
    }
    assert_eq!(roots.iter().filter(|root| **root == salted).count(), 1);
    assert_eq!(roots.len(), 18);
}

fn stored() -> Stored<'static> {
    Stored {
        blocks: vec![EngineHash(1), EngineHash(2)],
        content: Content::Tokens(vec![1, 2, 3, 4]),
        block_size: 2,
        ..Stored::default()
    }
}

fn skipped(event: Stored<'_>) -> Option<SkipReason> {
    let (mut translator, mut out) = (Translator::new(translation(2)), Vec::new());
    translator.translate(&[Event::Stored(event)], &mut out);
    let reason = SkipReason::ALL.into_iter().find(|reason| translator.skipped().count(*reason) == 1);
    assert_eq!(out.len() as u64 + translator.skipped().total(), 1);
    reason
}

#[test]
fn only_whole_blocks_of_full_attention_are_indexed() {
    assert_eq!(skipped(stored()), None);
    assert_eq!(skipped(Stored { kind: Some("full_attention"), ..stored() }), None);
    assert_eq!(skipped(Stored { kind: Some("sliding_window"), ..stored() }), Some(SkipReason::Group));
    assert_eq!(skipped(Stored { block_size: 1, ..stored() }), Some(SkipReason::BlockSize));
    let masked = Content::Tokens(vec![1; 6]);
    assert_eq!(skipped(Stored { content: masked, ..stored() }), Some(SkipReason::Length));
    assert_eq!(skipped(Stored { content: Content::Other, ..stored() }), Some(SkipReason::Tokens));
    assert_eq!(skipped(Stored { lora_id: Some(3), ..stored() }), Some(SkipReason::LoraName));
    assert_eq!(skipped(Stored { lora_id: Some(3), lora_name: Some("x"), ..stored() }), None);
}

#[test]
fn extra_keys_that_cannot_be_understood_are_not_guessed() {
    let extra = |keys| skipped(Stored { extra: Some(keys), ..stored() });
    assert_eq!(extra(vec![vec![Extra::Text("salt")], vec![]]), None);
    assert_eq!(extra(vec![]), None);
    assert_eq!(extra(vec![vec![]]), Some(SkipReason::ExtraKeys));
    assert_eq!(extra(vec![vec![Extra::Other], vec![]]), Some(SkipReason::ExtraKeys));
    assert_eq!(extra(vec![vec![], vec![Extra::Text("salt")]]), Some(SkipReason::ExtraKeys));
    assert_eq!(extra(vec![vec![Extra::Text("a"), Extra::Text("b")], vec![]]), Some(SkipReason::ExtraKeys));
}

#[test]
fn the_lora_name_is_not_taken_for_a_salt() {
    let translation = translation(2);
    let expected = translation.key.namespace("tiny", Some("ad"), Some("ad"));
    let keys = vec![vec![Extra::Text("ad"), Extra::Text("ad")], vec![Extra::Text("ad")]];
    let event = Stored { lora_name: Some("ad"), extra: Some(keys), ..stored() };
    let mut out = Vec::new();
    Translator::new(translation).translate(&[Event::Stored(event)], &mut out);
    assert!(matches!(out[0], CacheEvent::Stored { parent: Parent::Root(root), .. } if root == expected));
}

#[test]
fn the_lowest_full_attention_group_is_the_one() {
    let (mut translator, mut out) = (Translator::new(translation(2)), Vec::new());
    let of = |group| Event::Stored(Stored { group: Some(group), kind: Some("full_attention"), ..stored() });
    assert!(!translator.translate(&[of(2), of(3)], &mut out));
    assert_eq!(out.len(), 1);
    assert!(translator.translate(&[of(1)], &mut out));
    let removed = |group| Event::Removed { blocks: vec![EngineHash(1)], tier: Tier::Device, group };
    out.clear();
    translator.translate(&[of(2), removed(Some(2)), removed(Some(1)), removed(None)], &mut out);
    assert_eq!(out.len(), 2);
    // A tier below says no group, and cannot move the choice.
    let host = Event::Stored(Stored { tier: Some(Tier::Host), ..stored() });
    assert!(!translator.translate(&[host], &mut out));
    assert!(matches!(out[2], CacheEvent::Stored { group: CacheGroup(1), tier: Tier::Host, .. }));
}

#[test]
fn arrays_may_be_short_or_long_and_maps_in_any_order() {
    // ["BlockRemoved", [7]]
    let short = made(b"\x92\xacBlockRemoved\x91\x07");
    assert_eq!(
        read(&short).events,
        [Event::Removed { blocks: vec![EngineHash(7)], tier: Tier::Device, group: None }]
    );
    // ["BlockRemoved", [7], "STORAGE", 0, {"new": [1]}]
    let long = made(b"\x95\xacBlockRemoved\x91\x07\xa7STORAGE\x00\x81\xa3new\x91\x01");
    assert_eq!(
        read(&long).events,
        [Event::Removed { blocks: vec![EngineHash(7)], tier: Tier::Disk, group: Some(0) }]
    );
    // {"medium": "cpu", "block_hashes": [7], "type": "BlockRemoved"}
    let late = made(b"\x83\xa6medium\xa3cpu\xacblock_hashes\x91\x07\xa4type\xacBlockRemoved");
    assert_eq!(
        read(&late).events,
        [Event::Removed { blocks: vec![EngineHash(7)], tier: Tier::Host, group: None }]
    );
    // {"type": "BlockMoved", "block_hashes": "other"}
    let unknown = made(b"\x82\xa4type\xaaBlockMoved\xacblock_hashes\xa5other");
    assert_eq!(read(&unknown).events, [Event::Unknown]);
}

#[test]
fn heads_that_claim_too_much_are_refused() {
    let limits = BatchLimits { payload_bytes_max: 64, events_max: 2 };
    let refused = |bytes: &[u8]| decode(bytes, limits).is_err();
    assert!(refused(&[0; 65]));
    assert!(refused(&made(b"")));
    // Three events, two allowed.
    assert!(refused(b"\x92\xcb\0\0\0\0\0\0\0\0\x93\x80\x80\x80"));
    assert!(!refused(b"\x92\xcb\0\0\0\0\0\0\0\0\x92\x80\x80"));
    // 2^32 - 1 events, and a map of as many pairs.
    assert!(refused(b"\x92\xcb\0\0\0\0\0\0\0\0\xdd\xff\xff\xff\xff"));
    assert!(refused(&made(b"\xdf\xff\xff\xff\xff")));
    // Nested beyond reason.
    assert!(refused(&made(&[&b"\x81\xa1x"[..], &[0x91; 30], &[0x01]].concat())));
    // Something after the end.
    assert!(refused(&[&made(b"\x80")[..], &[0]].concat()));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes, BatchLimits::default());
        let _ = decode(&made(&bytes), BatchLimits::default());
    }

    #[test]
    fn damaged_recordings_do_not_make_it_panic(
        which in 0..95_usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in any::<prop::sample::Index>(),
    ) {
        for file in ["kv/rank0.frames", "kv/SYNTHETIC_array_layout_rank0.frames"] {
            let mut bytes = frames(file)[which][2].to_vec();
            for (at, value) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            let mut out = Vec::new();
            let mut translator = Translator::new(translation(32));
            for bytes in [&bytes[..], &bytes[..keep.index(bytes.len())]] {
                if let Ok(batch) = decode(bytes, BatchLimits::default()) {
                    translator.translate(&batch.events, &mut out);
                }
            }
        }
    }

    #[test]
    fn hashes_of_any_width_are_read(hash in any::<u64>()) {
        let bytes = payload(0.0, &[Made::Removed(hash)], 0);
        let expected = Event::Removed { blocks: vec![EngineHash(hash)], tier: Tier::Device, group: None };
        prop_assert_eq!(&read(&bytes).events, &[expected]);
    }
}
