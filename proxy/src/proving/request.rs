//! What a rank proves by serving one request of the proxy's own: that it answers, that it is the one which is named, that its
//! events tell of it, and that its answers say what was cached.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use rankwise_core::ids::{BlockSize, DpRank};
use rankwise_core::request::{PlacementRequest, Prompt};
use rankwise_core::snapshot::{Row, Snapshot};
use rankwise_core::target::Target;
use rankwise_engines::{Engine, reply};
use rankwise_prompt::splice;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::clock;
use crate::feeds::NAMESPACE_MODEL;
use crate::health::Proof;
use crate::pool::Pool;
use crate::upstream::{FetchError, Fetched, Origin};
use crate::workers::{Pin, Rank, Worker};

/// What came of it.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It serves.
    Serves(Proof),
    /// It refuses such a request whatever rank is named, as a server of embeddings does, or one that wants a key: it is there, and nothing
    /// is proven.
    Refuses(String),
    /// Another rank served what was pinned to it.
    Disobeys(DpRank),
    /// Nobody listens there.
    Refused(String),
    /// It does not serve.
    Fails(String),
}

/// Where a proof is asked for.
pub(crate) const PATH: &str = "/v1/completions";
/// The longest answer.
pub(crate) const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Whole blocks of this size at most are asked for; with larger ones only the answer is a proof.
pub(crate) const BLOCK_TOKENS_MAX: u32 = 4096;
/// So many tokens make a prompt that nobody has asked before.
pub(crate) const TOKENS_MIN: u32 = 16;
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
    // Where no rank can be named, whose events tell of it says nothing.
    let seen = rank.has_events && rank.target.spec.pinnable && block_size.0 <= BLOCK_TOKENS_MAX;
    let tokens = tokens(if seen { block_size.0.max(TOKENS_MIN) } else { TOKENS_MIN });
    let answer = match ask(worker, Some(&rank.pin), origin, &tokens, timeout).await {
        Ok(answer) => answer,
        Err(error) => return unanswered(&error),
    };
    let summary = reply::body_summary(&answer.body);
    if is_refusal(answer.status) {
        let message = summary.error.map(|error| error.message).unwrap_or_default();
        // Is it the pin that it will not have?
        let unpinned = match ask(worker, None, origin, &tokens, timeout).await {
            Ok(answer) => answer.status,
            Err(error) => return unanswered(&error),
        };
        return refusal(answer.status, &message, model(worker), unpinned);
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

fn unanswered(error: &FetchError) -> Verdict {
    if error.is_refused() { Verdict::Refused(error.to_string()) } else { Verdict::Fails(error.to_string()) }
}

/// Whether the engine would not, rather than could not.
fn is_refusal(status: StatusCode) -> bool {
    status == StatusCode::NOT_IMPLEMENTED
        || (status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS)
}

/// What a refusal means, beside what the same request without a pin was answered.
fn refusal(status: StatusCode, message: &str, model: Option<&str>, unpinned: StatusCode) -> Verdict {
    let told = format!("{PATH}: status {} {message}", status.as_u16());
    if unpinned.is_success() {
        return Verdict::Fails(format!("{told}, and {} where no rank is named", unpinned.as_u16()));
    }
    // It said that it serves this model.
    let lacks_model = status == StatusCode::NOT_FOUND && model.is_some_and(|model| message.contains(model));
    if message.contains("rank") || lacks_model || !is_refusal(unpinned) {
        return Verdict::Fails(told);
    }
    Verdict::Refuses(told)
}

/// The base model's name.
fn model(worker: &Worker) -> Option<&str> {
    worker.models.iter().find(|model| !worker.adapters.contains(model)).map(String::as_str)
}

/// A prompt of at least so many tokens and one more, which no request had before.
pub(crate) fn tokens(at_least: u32) -> Vec<u32> {
    (0..=at_least).map(|_| fastrand::u32(TOKEN_IDS)).collect()
}

fn prompt(pool: &Pool, tokens: &[u32], block_size: BlockSize) -> Prompt {
    let namespace = pool.key.namespace(NAMESPACE_MODEL, None, None);
    let length = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    Prompt::new(namespace, length, block_size, pool.key.blocks(tokens, block_size))
}

/// A prompt that is as much its own.
fn text_of(tokens: &[u32]) -> String {
    tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// A request of one token.
pub(crate) fn question(model: Option<&str>, prompt: &(impl Serialize + ?Sized)) -> Bytes {
    let body = serde_json::json!({ "model": model, "prompt": prompt, "max_tokens": 1, "temperature": 0 });
    Bytes::from(body.to_string())
}

/// Asks for one token, of the rank that `pin` names or of whichever the engine chooses.
async fn ask(
    worker: &Worker,
    pin: Option<&Pin>,
    origin: &Origin,
    tokens: &[u32],
    timeout: Duration,
) -> Result<Fetched, FetchError> {
    // A server of which nothing else is known may take no ids.
    let mut body = match worker.engine {
        Engine::Generic => question(model(worker), &text_of(tokens)),
        _ => question(model(worker), tokens),
    };
    let fields = pin.iter().flat_map(|pin| &pin.fields);
    let fields: Vec<_> = fields.map(|(name, json)| (*name, json.as_str())).collect();
    // It is an object: there is an end to put fields at.
    if let Ok(spliced) = splice::append_all(&body, &fields) {
        body = spliced.to_bytes();
    }
    let mut origin = origin.clone();
    if let Some((name, value)) = pin.and_then(|pin| pin.header.as_ref()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_proves_nothing_and_one_of_the_pin_disproves() {
        let verdict = |status, message, unpinned| {
            let [status, unpinned] = [status, unpinned].map(|code| StatusCode::from_u16(code).unwrap());
            assert!(is_refusal(status));
            refusal(status, message, Some("qwen"), unpinned)
        };
        for (status, message) in [
            (401, "Unauthorized"),
            (403, ""),
            (404, "Not Found"),
            (400, "The model does not support Completions API"),
            (501, "The model does not support Completions API"),
        ] {
            assert!(matches!(verdict(status, message, status), Verdict::Refuses(_)), "{status} {message}");
        }
        for (status, message, unpinned) in [
            // It is the pin.
            (400, "Invalid request", 200),
            (401, "Unauthorized", 200),
            (400, "data_parallel_rank 9 is out of range", 400),
            (404, "The model `qwen` does not exist.", 404),
            // It cannot, either way.
            (400, "Invalid request", 500),
            (400, "Invalid request", 429),
        ] {
            assert!(matches!(verdict(status, message, unpinned), Verdict::Fails(_)), "{status} {message}");
        }
        assert!(!is_refusal(StatusCode::TOO_MANY_REQUESTS) && !is_refusal(StatusCode::SERVICE_UNAVAILABLE));
    }
}
