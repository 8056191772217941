//! Workers.

use std::num::NonZeroU32;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};
use rankwise_engines::dynamo::INSTANCE_HEADER;
use rankwise_engines::pin::is_client_rank_header;

use super::super::file;
use super::super::limits::Limits;
use super::super::located::Located;
use super::super::named::{EngineKind, Lockstep, Role};
use super::super::resolved::{EventSource, Events, Worker};
use super::super::value::BaseUrl;
use super::Problem;
use super::names::name;

const WORKER_NAME_BYTES_MAX: usize = 128;
const GROUP_NAME_BYTES_MAX: usize = 64;
const HEADERS_MAX: usize = 32;

/// One worker, its name and all it may be told checked.
pub(super) fn resolve_worker(path: &str, worker: file::Worker, limits: &Limits) -> Result<Worker, Problem> {
    let BaseUrlAndName { url, name } = named_url(path, &worker)?;
    let ranks_max = limits.upstream.ranks_per_worker_max;
    if let Some(ranks) = worker.ranks.filter(|ranks| ranks.value > ranks_max) {
        let message = format!(
            "{path}.ranks: {} is more than limits.upstream.ranks_per_worker_max, {ranks_max}",
            ranks.value
        );
        return Err(Problem::new(ranks.at, message));
    }
    let url_at = worker.url.at;
    let drain_events = resolve_drain_events(path, &worker)?;
    let (events, ranks) = resolve_events(path, worker.events, worker.ranks, ranks_max)?;
    let worker = Worker {
        name,
        url,
        engine: worker.engine,
        role: worker.role,
        bootstrap_port: worker.bootstrap_port,
        ranks,
        lockstep: worker.lockstep,
        group: resolve_group(path, worker.group.as_ref(), worker.lockstep)?,
        block_size: worker.block_size,
        blocks: worker.blocks,
        events,
        drain_events,
        weight_permille: worker.weight,
        headers: resolve_headers(path, worker.headers)?,
    };
    if worker.engine == EngineKind::Dynamo {
        if worker.ranks.is_none() {
            let message = format!("{path}: engine `dynamo` does not tell its workers' ranks: expected ranks");
            return Err(Problem::new(url_at, message));
        }
        if instance(&worker).is_some_and(|id| id.parse::<u64>().is_err()) {
            let message = format!(
                "{path}.headers: {INSTANCE_HEADER}: expected a number, as the frontend's /health has it"
            );
            return Err(Problem::new(url_at, message));
        }
    }
    let splits = matches!(worker.role, Role::Prefill | Role::Decode);
    if splits && matches!(worker.engine, EngineKind::Dynamo | EngineKind::Generic) {
        let message = format!(
            "{path}.role: `{}` is not told to engine `{}`: expected vllm, sglang or trtllm",
            worker.role, worker.engine
        );
        return Err(Problem::new(url_at, message));
    }
    Ok(worker)
}

/// Which of the workers behind a Dynamo frontend it is.
pub(super) fn instance(worker: &Worker) -> Option<&str> {
    let mut headers = worker.headers.iter().filter(|_| worker.engine == EngineKind::Dynamo);
    headers.find(|(name, _)| name == INSTANCE_HEADER)?.1.to_str().ok()
}

fn resolve_group(
    path: &str,
    group: Option<&Located<String>>,
    lockstep: Lockstep,
) -> Result<Option<Arc<str>>, Problem> {
    let Some(group) = group else { return Ok(None) };
    if lockstep == Lockstep::Rank {
        let message = format!("{path}.group: expected none where lockstep is `rank`: each rank steps alone");
        return Err(Problem::new(group.at, message));
    }
    name(&format!("{path}.group"), group, GROUP_NAME_BYTES_MAX, "._-").map(Some)
}

struct BaseUrlAndName {
    url: BaseUrl,
    name: Arc<str>,
}

fn named_url(path: &str, worker: &file::Worker) -> Result<BaseUrlAndName, Problem> {
    let url = worker.url.value.clone();
    let written =
        worker.name.clone().unwrap_or_else(|| Located { value: url.authority(), at: worker.url.at });
    let name = name(&format!("{path}.name"), &written, WORKER_NAME_BYTES_MAX, "._:-[]")?;
    Ok(BaseUrlAndName { url, name })
}

/// Only one engine's events can be drained, and not beside sockets.
fn resolve_drain_events(path: &str, worker: &file::Worker) -> Result<bool, Problem> {
    let Some(drain) = worker.drain_events.as_ref().filter(|drain| drain.value) else { return Ok(false) };
    let wrong = |expected: &str| Problem::new(drain.at, format!("{path}.drain_events: expected {expected}"));
    if worker.engine != EngineKind::Trtllm {
        return Err(wrong("engine `trtllm` beside it: the events of others are published"));
    }
    if worker.events.is_some() {
        return Err(wrong("no `events` beside it"));
    }
    if worker.block_size.is_none() {
        return Err(wrong("block_size beside it: the server does not tell its tokens_per_block"));
    }
    Ok(true)
}

/// The event sockets also say how many ranks there are.
fn resolve_events(
    path: &str,
    events: Option<Located<Vec<file::EventSource>>>,
    ranks: Option<Located<NonZeroU32>>,
    ranks_max: NonZeroU32,
) -> Result<(Events, Option<NonZeroU32>), Problem> {
    let ranks = ranks.map(|ranks| ranks.value);
    let Some(events) = events else { return Ok((Events::Discover, ranks)) };
    let Some(sockets) = u32::try_from(events.len()).ok().and_then(NonZeroU32::new) else {
        return Ok((Events::Off, ranks));
    };
    if sockets != ranks.unwrap_or(sockets) || sockets > ranks_max {
        let expected = ranks.unwrap_or(ranks_max);
        let message =
            format!("{path}.events: found {sockets} of them: expected one per rank, {expected} in all");
        return Err(Problem::new(events.at, message));
    }
    let sources = events.value.into_iter().map(|source| EventSource {
        endpoint: source.endpoint,
        replay: source.replay,
        topic: source.topic,
    });
    Ok((Events::At(sources.collect()), Some(sockets)))
}

/// Headers that belong to the connection or to rankwise.
fn is_reserved(name: &HeaderName) -> bool {
    let connection = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::TE,
        header::UPGRADE,
        header::TRAILER,
        header::EXPECT,
    ];
    connection.contains(name)
        || ["keep-alive", "proxy-connection", "x-request-id"].contains(&name.as_str())
        // A worker behind a frontend is named by config, a rank never.
        || (is_client_rank_header(name.as_str()) && !name.as_str().ends_with("-instance-id"))
        || name.as_str().starts_with("x-rankwise-")
}

fn resolve_headers(
    path: &str,
    headers: std::collections::BTreeMap<String, Located<String>>,
) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
    let mut resolved: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let wrong = |why: &str| Problem::new(value.at, format!("{path}.headers.{name}: {why}"));
        let parsed: HeaderName = name.parse().map_err(|_| wrong("expected a header name"))?;
        if is_reserved(&parsed) {
            return Err(wrong("this header belongs to the connection or to rankwise: expected another"));
        }
        if resolved.iter().any(|(other, _)| *other == parsed) {
            return Err(wrong("written twice"));
        }
        if resolved.len() == HEADERS_MAX {
            return Err(wrong(&format!("more than {HEADERS_MAX} headers")));
        }
        let mut content: HeaderValue =
            value.parse().map_err(|_| wrong("expected a header value: visible ASCII"))?;
        content.set_sensitive(true);
        resolved.push((parsed, content));
    }
    Ok(resolved)
}
