//! The recorded ranks, heard from every point on and with every hole.

use super::*;

struct Recording {
    live: Vec<Vec<Bytes>>,
    payloads: Vec<Bytes>,
    sets: Vec<(usize, u64)>,
    rank: u32,
}

fn recordings() -> Vec<Recording> {
    [("rank0", "rank0", 0), ("rank1", "rank1", 1), ("SYNTHETIC_array_layout_rank0", "rank0", 0)]
        .into_iter()
        .map(|(file, sets, rank)| {
            let live = frames(&format!("kv/{file}.frames"));
            let payloads = live.iter().map(|message| message[2].clone()).collect();
            Recording { live, payloads, sets: fingerprints(&format!("kv/{sets}.sets")), rank }
        })
        .collect()
}

impl Recording {
    fn rig(&self) -> Rig {
        let mut rig = Rig::new(FeedConfig::new(self.rank, "kv-events", true), 32);
        rig.connect();
        rig
    }
}

fn sound(rig: &Rig) {
    let counters = rig.feed.counters();
    assert_eq!(
        (counters.wrong_rank, counters.decode_errors, counters.malformed, counters.restarts),
        (0, 0, 0, 0)
    );
    assert_eq!(rig.feed.skipped().total(), 0);
    assert_eq!(rig.feed.phase(), FeedPhase::Live);
}

#[test]
fn heard_live_from_every_point_on() {
    for recording in recordings() {
        for from in 0..recording.live.len() {
            let mut rig = recording.rig();
            // What the socket already heard overlaps with the replay.
            for message in &recording.live[from.saturating_sub(2)..from] {
                rig.live(message);
            }
            rig.serve(0, &recording.payloads[..from]);
            for (message, expected) in recording.live.iter().zip(&recording.sets).skip(from) {
                rig.live(message);
                assert_eq!(rig.index.fingerprint(), *expected);
            }
            sound(&rig);
            assert_eq!((rig.index.unknown_parents, rig.feed.completeness()), (0, Completeness::Complete));
            assert_eq!(rig.feed.counters().replays, 1);
        }
    }
}

#[test]
fn every_hole_is_filled() {
    for recording in recordings() {
        for hole in 1..recording.live.len() - 1 {
            let mut rig = recording.rig();
            rig.serve(0, &[]);
            for (at, (message, expected)) in recording.live.iter().zip(&recording.sets).enumerate() {
                if at == hole {
                    continue;
                }
                rig.live(message);
                rig.serve(0, &recording.payloads[..=at]);
                assert_eq!(rig.index.fingerprint(), *expected);
            }
            sound(&rig);
            assert_eq!((rig.feed.counters().gaps, rig.index.unknown_parents), (1, 0));
        }
    }
}

#[test]
fn the_recorded_replays_lead_to_the_same_cache() {
    for (rank, file) in [(0, "kv/replay_rank0.frames"), (1, "kv/replay_rank1.frames")] {
        let recording = &recordings()[rank as usize];
        let mut rig = recording.rig();
        for frames in frames(file) {
            rig.tell(|feed, now, out| feed.replay(0, &frames, now, out));
        }
        sound(&rig);
        assert_eq!(rig.index.fingerprint(), *recording.sets.last().unwrap());
        assert_eq!(rig.feed.expected(), Some(recording.live.len() as u64));
    }
}

#[test]
fn with_the_beginning_gone_nothing_is_held_that_the_rank_has_not() {
    for recording in recordings() {
        let full: Vec<_> = {
            let mut rig = recording.rig();
            rig.serve(0, &[]);
            let mut after = |message: &Vec<Bytes>| {
                rig.live(message);
                rig.index.blocks.clone()
            };
            recording.live.iter().map(&mut after).collect()
        };
        for first in 1..recording.live.len() {
            let mut rig = recording.rig();
            let until = (first + 5).min(recording.live.len());
            rig.serve(first as u64, &recording.payloads[first..until]);
            for (at, message) in recording.live.iter().enumerate().skip(until) {
                rig.live(message);
                assert!(rig.index.blocks.is_subset(&full[at]));
                if rig.feed.completeness() == Completeness::Complete {
                    assert_eq!(rig.index.blocks, full[at]);
                }
            }
            sound(&rig);
        }
    }
}

#[test]
fn a_restart_into_the_same_recording_is_noticed_at_every_point() {
    let recordings = recordings();
    let (old, new) = (&recordings[0], &recordings[2]);
    for until in 1..old.live.len() {
        let mut rig = old.rig();
        rig.serve(0, &old.payloads[..until]);
        // The same events in other bytes: another life of the engine, which came further than the old one.
        let come = (until + 3).min(new.live.len());
        rig.disconnect();
        rig.connect();
        rig.serve(0, &new.payloads[..come]);
        assert_eq!(rig.feed.counters().restarts, 1);
        assert_eq!(rig.index.fingerprint(), new.sets[come - 1]);
    }
}
