//! What is known of a pool and its ranks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Admin, shown};
use crate::clock;
use crate::health::Failure;
use crate::pool::Pool;
use crate::workers::{Rank, Worker};

pub(super) fn list(admin: &Admin) -> Value {
    json!({ "pools": admin.pools.iter().map(|pool| one(pool)).collect::<Vec<_>>() })
}

pub(super) fn one(pool: &Pool) -> Value {
    let mode = pool.prompts.mode();
    let contradictions = pool.parity.contradictions(&pool.workers.current());
    let workers = pool.workers.current();
    json!({
        "name": pool.name,
        "models": if pool.models.is_empty() {
            let mut models: Vec<_> = workers.iter().flat_map(|worker| worker.models.clone()).collect();
            models.sort();
            models.dedup();
            models
        } else {
            pool.models.clone()
        },
        "block_size": pool.block_size().0,
        "targets": pool.state.targets().len(),
        "token_ids": mode.describe(),
        "overlap": { "approximate": !contradictions.is_empty(), "reasons": contradictions },
        "queued_requests": pool.queued(),
        "policy": shown::policy(pool),
    })
}

pub(super) fn ranks(pool: &Pool) -> Value {
    let workers = pool.workers.current();
    let ranks: Vec<_> = workers
        .iter()
        .flat_map(|worker| worker.ranks.iter().map(|rank| self::rank(pool, worker, rank)).collect::<Vec<_>>())
        .collect();
    json!({ "ranks": ranks })
}

fn rank(pool: &Pool, worker: &Worker, rank: &Rank) -> Value {
    let now = clock::now();
    let target = &rank.target;
    let health = rank.health.report();
    // Before the index, so that the blocks are never older than the number.
    let next_sequence = target.feed.next_sequence();
    let load = pool.state.load(target.id).unwrap_or_default();
    let pending = pool.state.pending_report(target.id).unwrap_or_default();
    let report = target.engine.report();
    let known = |figure: u32| (figure != rankwise_core::policy::UNKNOWN).then_some(figure);
    json!({
        "worker": worker.name(),
        "dp_rank": target.spec.rank.0,
        "group": target.spec.group.0,
        "availability": target.health.availability().name(),
        "condition": target.condition(now).0,
        "weight_permille": target.health.weight_permille(),
        "health": {
            "out": health.out.map(Failure::name),
            "error": health.error,
            "proof": health.proof.map(|proof| json!({
                "pin": proof.pin, "events": proof.events, "cached_tokens": proof.cached_tokens,
            })),
        },
        "block_size": target.spec.block_size.0,
        "capacity_blocks": target.spec.capacity_blocks,
        "index": {
            "blocks": pool.state.cached_blocks(target.id),
            "event_lag_ms": target.feed.lag_ms(now),
            "next_sequence": next_sequence,
            "skipped_events": rank.metrics.skips().map(|(reason, count)| (reason.name(), count)).collect::<BTreeMap<_, _>>(),
        },
        "ledger": {
            "prefill_tokens": load.prefill_tokens,
            "active_blocks": load.active_blocks,
            "running": load.running,
            "pending_blocks": load.pending_blocks,
            "pending_confirmed": pending.confirmed,
            "pending_unconfirmed": pending.unconfirmed,
            "pending_ignored": pending.weight_zeroed,
            "pending_ignored_reason": pending.weight_zeroed.then(|| pending_ignored_reason(pool)),
        },
        "engine": {
            "running": known(report.running),
            "waiting": known(report.waiting),
            "kv_permille": known(report.kv_permille),
            "age_ms": known(target.engine.age_ms(now)),
        },
    })
}

/// Why blocks that are being computed on a rank count for nothing there.
fn pending_ignored_reason(pool: &Pool) -> String {
    let config = pool.state.config();
    format!(
        "more than {} % of {} pending blocks were never stored by the engine: prefix caching is off, its events are off \
         or lost, or its chat template, tokenizer or salt is another than the proxy's",
        config.unconfirmed_permille_max / 10,
        config.unconfirmed_sample
    )
}
