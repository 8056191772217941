use rankwise_sim::model::host::HostSpec;

use super::*;

/// 210 requests of 7 conversations of 30 turns, a turn every 2 s: what was said before, and 512 tokens more. Seven, so that
/// taking turns among four ranks does not keep them together by chance.
fn conversations() -> Trace {
    let mut lines = String::new();
    for turn in 0..30_u64 {
        for conversation in 0..7_u64 {
            let ids: Vec<u64> = (0..=turn).map(|block| conversation * 1000 + block).collect();
            let line = serde_json::json!({
                "timestamp": turn * 2000 + conversation * 100,
                "input_length": ids.len() * 512,
                "output_length": 8,
                "hash_ids": ids,
            });
            lines += &format!("{line}\n");
        }
    }
    Trace::parse(lines.as_bytes()).unwrap()
}

fn fleet() -> FleetShape {
    FleetShape {
        workers: 2,
        ranks: 2,
        lockstep: true,
        core: CoreSpec {
            blocks: 2048,
            host: HostSpec::default(),
            block_size: 64,
            max_running: 64,
            max_waiting: 64,
            max_batched_tokens: 2048,
        },
        timing: Timing::default(),
        speed: 1.0,
        seed: 0,
    }
}

fn figures(trace: &Trace, policies: &[&str]) -> Vec<Figures> {
    let asked: Vec<Asked> = policies.iter().map(|policy| policy.parse().unwrap()).collect();
    simulate(trace, &asked, &fleet(), &mut |_, _| ()).unwrap()
}

#[test]
fn kv_stays_where_the_conversation_is() {
    let trace = conversations();
    let all = figures(&trace, &["kv", "round-robin={\"pin\":\"rank\"}", "round-robin"]);
    for figures in &all {
        assert_eq!((figures.requests, figures.finished, figures.fallback_decisions), (210, 210, 0));
        assert!(figures.mean_imbalance() >= 1.0, "{figures:?}");
    }
    let [kv, pinned, unpinned] = all.as_slice() else { panic!("{all:?}") };
    // All but each turn's last block could be reused: 29 of 30 turns' worth, growing.
    assert!(kv.cached_share() > 0.9, "{}", kv.cached_share());
    assert!(kv.cached_share() > pinned.cached_share() + 0.1, "{}", pinned.cached_share());
    assert!(kv.cached_share() > unpinned.cached_share(), "{}", unpinned.cached_share());
    assert!(kv.first_token_ms(0.5) < pinned.first_token_ms(0.5));
    let text = table(&all);
    assert!(text.contains("kv sha256:") && text.lines().count() == 5, "{text}");
}

#[test]
fn the_same_trace_gives_the_same_figures() {
    let once = || {
        let mut all = figures(&conversations(), &["power-of-two"]);
        all[0].took_s = 0.0;
        serde_json::json!(all)
    };
    let first = once();
    assert_eq!(first, once());
    assert_eq!(first[0]["finished"], 210);
    assert!(first[0]["time_to_first_token_ms"]["p50"].as_f64() > Some(0.0), "{first}");
}

#[test]
fn a_request_that_fits_nowhere_is_refused_and_the_rest_goes_on() {
    let too_long = 2048 * 64 + 1;
    let ids: Vec<u32> = (0..(too_long as u32).div_ceil(512)).collect();
    let lines = format!(
        "{}\n{}",
        serde_json::json!({ "timestamp": 0, "input_length": too_long, "output_length": 1, "hash_ids": ids }),
        serde_json::json!({ "timestamp": 1, "input_length": 10, "output_length": 1, "hash_ids": [0] }),
    );
    let trace = Trace::parse(lines.as_bytes()).unwrap();
    let all = figures(&trace, &["round-robin"]);
    assert_eq!((all[0].finished, all[0].refused_by_engine), (1, 1), "{all:?}");
}
