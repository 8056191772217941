//! What the index knows of one rank, block by block: to be held against what the engine says.

use http::StatusCode;
use rankwise_core::event::Tier;
use rankwise_core::index::CachedBlock;
use serde_json::{Value, json};

use super::{Answered, Refused, query};
use crate::pool::Pool;

/// Blocks in one answer, unless it says otherwise.
const LIMIT: usize = 100;
/// Most blocks in one answer: the index waits for as long as they are copied.
const LIMIT_MAX: usize = 10_000;

/// `?limit=N`: some of the rank's blocks, those nearest to the beginning of a prompt first.
pub(super) fn list(pool: &Pool, worker: &str, dp_rank: &str, query: &str) -> Answered {
    let limit = query::limit(query)?.unwrap_or(LIMIT);
    if limit > LIMIT_MAX {
        return Err(Refused::bad(format!("?limit= must be at most {LIMIT_MAX}")));
    }
    let workers = pool.workers.current();
    let named = workers.named(worker).ok_or_else(|| Refused::not_found(format!("no worker {worker}")))?;
    let rank = named.ranks.iter().find(|rank| rank.target.spec.rank.0.to_string() == dp_rank);
    let rank = rank.ok_or_else(|| Refused::not_found(format!("worker {worker}: no rank {dp_rank}")))?;
    let mut blocks = pool.state.dump(rank.target.id, limit);
    blocks.sort_unstable_by_key(|block| (block.depth, block.prefix));
    Ok((
        StatusCode::OK,
        json!({
            "cached_blocks": pool.state.cached_blocks(rank.target.id),
            "blocks": blocks.iter().map(describe).collect::<Vec<_>>(),
        }),
    ))
}

fn describe(block: &CachedBlock) -> Value {
    json!({
        "depth": block.depth,
        "tier": match block.tier {
            Tier::Device => "device",
            Tier::Host => "host",
            Tier::Disk => "disk",
        },
        "group": block.group.0,
        "engine_hash": format!("{:016x}", block.engine.0),
        "prefix": format!("{:016x}", block.prefix.0),
        "copies": block.copies,
    })
}
