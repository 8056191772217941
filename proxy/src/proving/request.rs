//! What a rank proves by serving one request of the proxy's own: that it answers, that it is the one which is named, that its
//! events tell of it, and that its answers say what was cached.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use rankwise_core::ids::{BlockSize, DpRank};
use rankwise_core::request::{PlacementRequest, Prompt};
use rankwise_core::snapshot::{Row, Snapshot};
use rankwise_core::target::Target;
use rankwise_engines::reply::{self, ReplySummary};
use rankwise_prompt::splice;
use tokio::time::{Instant, sleep};

use crate::clock;
use crate::feeds::NAMESPACE_MODEL;
use crate::health::Proof;
use crate::pool::Pool;
use crate::upstream::{FetchError, Fetched, Origin};
use crate::workers::{Rank, Worker};

/// What came of it.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It serves.
    Serves(Proof),
    /// Another rank served what was pinned to it.
    Disobeys(DpRank),
    /// Nobody listens there.
    Refused(String),
    /// It does not serve.
    Fails(String),
}

const PATH: &str = "/v1/completions";
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Whole blocks of this size at most are asked for; with larger ones only the answer is a proof.
const BLOCK_TOKENS_MAX: u32 = 4096;
/// So many tokens make a prompt that nobody has asked before.
const TOKENS_MIN: u32 = 16;
/// Token ids that are ordinary text in every vocabulary.
const TOKEN_IDS: std::ops::Range<u32> = 300..1000;

/// Events come within milliseconds of the answer; a busy machine takes longer.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(2);
const EVENTS_PAUSE: Duration = Duration::from_millis(5);

/// Has a rank serve a request of one token.
pub(super) async fn prove(
    pool: &Pool,
    worker: &Worker,
    rank: &Rank,
    origin: &Origin,
    timeout: Duration,
) -> Verdict {
    let block_size = rank.target.spec.block_size;
    let seen = rank.has_events && block_size.0 <= BLOCK_TOKENS_MAX;
    let tokens = tokens(if seen { block_size.0.max(TOKENS_MIN) } else { TOKENS_MIN });
    let answer = match ask(worker, rank, origin, &tokens, timeout).await {
        Ok(answer) => answer,
        Err(error) if error.is_refused() => return Verdict::Refused(error.to_string()),
        Err(error) => return Verdict::Fails(error.to_string()),
    };
    let summary = reply::body_summary(&answer.body);
    if is_another_kind(answer.status) && !names_rank(&summary) {
        // A server of embeddings, or one that wants a key: it answers, and that is all that can be seen.
        return Verdict::Serves(Proof::default());
    }
    if !answer.status.is_success() || summary.error.is_some() || summary.usage.is_none() {
        let why = summary.error.map(|error| error.message).unwrap_or_default();
        return Verdict::Fails(format!("{PATH}: status {} {why}", answer.status.as_u16()));
    }
    let cached_tokens = summary.usage.is_some_and(|usage| usage.cached_tokens.is_some());
    if !seen {
        return Verdict::Serves(Proof { cached_tokens, ..Proof::default() });
    }
    let prompt = prompt(pool, &tokens, block_size);
    match holder(pool, worker, rank.target.spec.rank, &prompt).await {
        Some(served) if served == rank.target.spec.rank => {
            Verdict::Serves(Proof { pin: Some(true), events: Some(true), cached_tokens })
        }
        Some(served) => Verdict::Disobeys(served),
        None => Verdict::Serves(Proof { pin: None, events: Some(false), cached_tokens }),
    }
}

/// Whether the engine would not, rather than could not.
fn is_another_kind(status: StatusCode) -> bool {
    status == StatusCode::NOT_IMPLEMENTED
        || (status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS)
}

/// Whether it is the rank that the engine will not have.
fn names_rank(summary: &ReplySummary) -> bool {
    summary.error.as_ref().is_some_and(|error| error.message.contains("rank"))
}

/// A prompt of at least so many tokens and one more, which no request had before.
fn tokens(at_least: u32) -> Vec<u32> {
    (0..=at_least).map(|_| fastrand::u32(TOKEN_IDS)).collect()
}

fn prompt(pool: &Pool, tokens: &[u32], block_size: BlockSize) -> Prompt {
    let namespace = pool.key.namespace(NAMESPACE_MODEL, None, None);
    let length = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    Prompt::new(namespace, length, block_size, pool.key.blocks(tokens, block_size))
}

async fn ask(
    worker: &Worker,
    rank: &Rank,
    origin: &Origin,
    tokens: &[u32],
    timeout: Duration,
) -> Result<Fetched, FetchError> {
    let model = worker.models.iter().find(|model| !worker.adapters.contains(model));
    let body = serde_json::json!({ "model": model, "prompt": tokens, "max_tokens": 1, "temperature": 0 });
    let mut body = Bytes::from(body.to_string());
    let fields: Vec<_> = rank.pin.fields.iter().map(|(name, json)| (*name, json.as_str())).collect();
    // It is an object: there is an end to put fields at.
    if let Ok(spliced) = splice::append_all(&body, &fields) {
        body = spliced.to_bytes();
    }
    let mut origin = origin.clone();
    if let Some((name, value)) = &rank.pin.header {
        origin.headers.insert(name, value.clone());
    }
    origin.post(PATH, body, ANSWER_BYTES_MAX, timeout).await
}

/// Who holds the prompt by the index, as soon as somebody does.
async fn holder(pool: &Pool, worker: &Worker, pinned: DpRank, prompt: &Prompt) -> Option<DpRank> {
    let end = Instant::now() + EVENTS_TIMEOUT;
    let request = PlacementRequest { prompt: Some(prompt), ..PlacementRequest::default() };
    let mut snapshot = Snapshot::new();
    loop {
        let mut of_worker = |target: &Target| target.spec.worker == worker.id;
        pool.state.snapshot(&request, &[], &mut of_worker, clock::now(), &mut snapshot);
        // With blocks of one token the first few may be anybody's.
        let holds = |row: &&Row| {
            row.overlap.held() > 0
                && row.overlap.held() * row.block_size.0 * 2 >= prompt.tokens.min(TOKENS_MIN)
        };
        let mut ranks: Vec<DpRank> = snapshot.rows().iter().filter(holds).map(|row| row.rank).collect();
        ranks.sort_by_key(|rank| *rank != pinned);
        if let Some(rank) = ranks.first() {
            return Some(*rank);
        }
        if Instant::now() >= end {
            return None;
        }
        sleep(EVENTS_PAUSE).await;
    }
}
