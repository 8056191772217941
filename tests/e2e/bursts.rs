//! Requests that come together: what is being computed counts before the engines tell of it, and neither herds nor scatters.

use rankwise_sim::{Fault, Fleet, FleetSpec};
use serde_json::Value;

use crate::harness::{Proxy, all_in_step, chat, completion, fleet, requests, streamed, text};

/// 8 ranks on two workers.
fn eight_ranks(speed: f64) -> FleetSpec {
    FleetSpec { workers: 2, ranks: 4, speed, ..FleetSpec::default() }
}

fn prompt(seed: u64, tokens: usize) -> Value {
    let mut body = completion(seed, tokens);
    body["stream"] = true.into();
    body
}

fn computed(fleet: &Fleet) -> u64 {
    fleet.workers().iter().flat_map(|worker| worker.stats()).map(|stats| stats.prefill_computed_tokens).sum()
}

/// The busiest rank's requests as a multiple of the mean.
fn peak_to_mean(per_rank: &[u64]) -> f64 {
    let busiest = per_rank.iter().max().copied().unwrap_or(0);
    busiest as f64 * per_rank.len() as f64 / per_rank.iter().sum::<u64>() as f64
}

const COMPLETIONS: &str = "/v1/completions";

#[tokio::test]
async fn one_cold_prompt_from_sixteen_clients_spreads() {
    let fleet = fleet(eight_ranks(4.0)).await;
    let proxy = Proxy::configured(&fleet, "threads: 1", &["--policy", "kv"]).await;
    let replies = all_in_step(&fleet, &proxy, COMPLETIONS, vec![prompt(1, 1000); 16], 16).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    let per_rank = requests(&fleet);
    println!("one cold prompt, 16 clients: {per_rank:?}, busiest {:.2} of the mean", peak_to_mean(&per_rank));
    assert!(peak_to_mean(&per_rank) <= 1.5, "{per_rank:?}");
    fleet.stop().await;
}

#[tokio::test]
async fn unique_prompts_one_at_a_time_do_not_herd() {
    let fleet = fleet(eight_ranks(1000.0)).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    for seed in 0..64 {
        let reply = proxy.client.post(COMPLETIONS, &prompt(seed, 200)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let per_rank = requests(&fleet);
    println!(
        "64 unique prompts one at a time: {per_rank:?}, busiest {:.2} of the mean",
        peak_to_mean(&per_rank)
    );
    assert!(per_rank.iter().all(|requests| *requests > 0), "{per_rank:?}");
    assert!(peak_to_mean(&per_rank) <= 2.5, "{per_rank:?}");
    fleet.stop().await;
}

/// One-at-a-time chats share their template's opening and nothing else. That some rank has computed the opening must not
/// bring all of them to it.
#[tokio::test]
async fn unique_chats_one_at_a_time_do_not_herd() {
    let fleet = fleet(eight_ranks(1000.0)).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let per_rank = chats_one_at_a_time(&proxy, &fleet, 64).await;
    assert!(per_rank.iter().all(|requests| *requests > 0), "{per_rank:?}");
    assert!(peak_to_mean(&per_rank) <= 2.5, "{per_rank:?}");
    fleet.stop().await;
}

/// A rank that keeps its events to itself always looks empty. It must neither starve for want of the opening, nor draw
/// everything because it never fills.
#[tokio::test]
async fn a_silent_rank_neither_starves_nor_attracts_all() {
    // Of two ranks drawn at random the silent one is taken if it is among them: 15 of 64 chats, and 96 of 128. Five standard
    // deviations are allowed for.
    for (spec, chats, most) in
        [(eight_ranks(1000.0), 64, 36), (FleetSpec { workers: 1, ranks: 2, ..eight_ranks(1000.0) }, 128, 123)]
    {
        let fleet = fleet(spec).await;
        fleet.workers()[0].fault(Fault::SilentRank(0));
        let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
        let per_rank = chats_one_at_a_time(&proxy, &fleet, chats).await;
        assert!(per_rank.iter().all(|requests| *requests > 0), "{per_rank:?}");
        assert!(per_rank[0] <= most, "{per_rank:?}");
        fleet.stop().await;
    }
}

/// So many different chats, each once the last has been answered and told of; the requests of each rank.
async fn chats_one_at_a_time(proxy: &Proxy, fleet: &Fleet, chats: u64) -> Vec<u64> {
    for seed in 0..chats {
        let reply = proxy.client.chat(&streamed(chat(&text(seed, 200)))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let per_rank = requests(fleet);
    println!(
        "{chats} unique chats one at a time: {per_rank:?}, busiest {:.2} of the mean",
        peak_to_mean(&per_rank)
    );
    per_rank
}

/// Every request but a group's first has one token left to compute: the last is never taken from the cache. A group parts now
/// and then, for a rank that has nothing to do; how often, four rounds tell better than one.
#[tokio::test]
async fn groups_that_start_together_are_computed_once() {
    const ROUNDS: u64 = 4;
    const GROUPS: u64 = 64;
    const CLIENTS: u64 = 16;
    const TOKENS: u64 = 32 * 16 + 1;
    let fleet = fleet(eight_ranks(4.0)).await;
    let proxy = Proxy::configured(&fleet, "threads: 1", &["--policy", "kv"]).await;
    for round in 0..ROUNDS {
        let group = |number| round * GROUPS + number % GROUPS;
        let mut bodies: Vec<_> =
            (0..GROUPS * CLIENTS).map(|number| prompt(group(number), TOKENS as usize)).collect();
        fastrand::Rng::with_seed(round).shuffle(&mut bodies);
        let replies = all_in_step(&fleet, &proxy, COMPLETIONS, bodies, 64).await;
        assert!(replies.iter().all(|reply| reply.status == 200));
        println!("{} tokens computed after round {round}", computed(&fleet));
    }
    let (computed, unique) = (computed(&fleet), ROUNDS * GROUPS * TOKENS);
    let ratio = computed as f64 / unique as f64;
    let per_rank = requests(&fleet);
    println!(
        "{ROUNDS} rounds of {GROUPS} groups of {CLIENTS}: {computed} tokens computed of {unique} unique, {ratio:.3}; {per_rank:?}, busiest {:.2} of the mean",
        peak_to_mean(&per_rank)
    );
    assert!(ratio <= 1.25, "{ratio:.3}");
    fleet.stop().await;
}
