//! Pools.

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderName, StatusCode};
use rankwise_policy_host::is_credential;

use super::super::file;
use super::super::limits::Limits;
use super::super::located::{Located, Position};
use super::super::named::EngineKind;
use super::super::resolved::{
    Discovery, Events, PolicyChoice, PolicySource, Pool, PoolLimits, Sessions, Worker,
};
use super::names::{Unique, name};
use super::worker::{instance, resolve_worker};
use super::{DOCUMENT, POOLS_MAX, Paths, Problem};

const POOL_NAME_BYTES_MAX: usize = 64;
const MODEL_BYTES_MAX: usize = 256;
const MODELS_MAX: usize = 256;
const DNS_NAMES_MAX: usize = 64;
const RETRIES_MAX: u32 = 16;
/// As many as a policy may ask for.
const POLICY_HEADERS_MAX: usize = 16;

pub(super) fn resolve(
    pools: Vec<Located<file::Pool>>,
    limits: &Limits,
    paths: &Paths<'_>,
) -> Result<Vec<Pool>, Problem> {
    if pools.is_empty() {
        return Err(Problem::new(
            DOCUMENT,
            "pools: expected at least one, such as `pools: [{ workers: [{ url: \"http://10.0.0.1:8000\" }] }]`",
        ));
    }
    if let Some(extra) = pools.get(POOLS_MAX) {
        return Err(Problem::new(extra.at, format!("pools: more than {POOLS_MAX}")));
    }
    let mut names = Unique::default();
    let mut models = Unique::default();
    let mut drained = Unique::default();
    let mut worker_count = 0;
    let mut resolved = Vec::with_capacity(pools.len());
    for (index, pool) in pools.into_iter().enumerate() {
        let path = format!("pools[{index}]");
        names.add(
            &format!("{path}.name"),
            &pool.name,
            if pool.name.at.line == 0 { pool.at } else { pool.name.at },
        )?;
        if let Some(extra) = pool.models.get(MODELS_MAX) {
            return Err(Problem::new(extra.at, format!("{path}.models: more than {MODELS_MAX}")));
        }
        for (index, model) in pool.models.iter().enumerate() {
            models.add(&format!("{path}.models[{index}]"), model, model.at)?;
        }
        worker_count += pool.workers.len();
        if worker_count > limits.upstream.workers_max.get() {
            let at = pool.workers.last().map_or(pool.at, |worker| worker.at);
            let message = format!(
                "{path}.workers: more than limits.upstream.workers_max, {}",
                limits.upstream.workers_max
            );
            return Err(Problem::new(at, message));
        }
        resolved.push(resolve_pool(&path, pool.value, limits, paths, &mut drained)?);
    }
    Ok(resolved)
}

fn resolve_pool(
    path: &str,
    pool: file::Pool,
    limits: &Limits,
    paths: &Paths<'_>,
    drained: &mut Unique,
) -> Result<Pool, Problem> {
    let name = name(&format!("{path}.name"), &pool.name, POOL_NAME_BYTES_MAX, "._-")?;
    let mut models = Vec::with_capacity(pool.models.len());
    for model in &pool.models {
        if model.is_empty() || model.len() > MODEL_BYTES_MAX || model.chars().any(char::is_control) {
            let message = format!("{path}.models: expected a name of 1 to {MODEL_BYTES_MAX} bytes");
            return Err(Problem::new(model.at, message));
        }
        models.push(Arc::from(model.as_str()));
    }
    if *pool.retries > RETRIES_MAX {
        return Err(Problem::new(
            pool.retries.at,
            format!("{path}.retries: {} is too many: expected at most {RETRIES_MAX}", pool.retries.value),
        ));
    }
    let retry_statuses = pool
        .retry_statuses
        .iter()
        .map(|status| match StatusCode::from_u16(status.value) {
            Ok(code) if code.is_client_error() || code.is_server_error() => Ok(code),
            _ => Err(Problem::new(
                status.at,
                format!("{path}.retry_statuses: {} is no error status: expected 400 to 599", status.value),
            )),
        })
        .collect::<Result<_, _>>()?;
    let mut names = Unique::default();
    let mut urls = Unique::default();
    let mut workers = Vec::with_capacity(pool.workers.len());
    for (index, worker) in pool.workers.into_iter().enumerate() {
        let path = format!("{path}.workers[{index}]");
        let (at, url_at) = (worker.name.as_ref().map_or(worker.url.at, |name| name.at), worker.url.at);
        let drain_at = worker.drain_events.as_ref().map_or(url_at, |drain| drain.at);
        let worker = resolve_worker(&path, worker.value, limits)?;
        drains_alone(&path, &worker, drain_at, drained)?;
        urls.add(&format!("{path}.url"), &whose(&worker), url_at)?;
        names.add(&format!("{path}.name"), &worker.name, at)?;
        workers.push(worker);
    }
    Ok(Pool {
        name,
        models,
        policy: resolve_policy(path, pool.policy, paths)?,
        tokenizer: pool.tokenizer.map(|folder| resolve_tokenizer(path, &folder, paths)).transpose()?,
        sessions: resolve_sessions(path, pool.sessions)?,
        responses: pool.responses,
        discovery: resolve_discovery(path, pool.discovery, limits, paths, drained)?,
        workers,
        room: pool.room,
        limits: resolve_limits(&pool.limits, limits),
        retries: pool.retries.value,
        retry_statuses,
        heal_cold_roots: pool.heal_cold_roots,
        policy_headers: resolve_policy_headers(path, &pool.policy_headers)?,
    })
}

/// What no two workers have in common: a URL, but for workers behind a frontend, which are told apart by their ids or by what
/// their events come from.
fn whose(worker: &Worker) -> String {
    match (instance(worker), &worker.events) {
        (Some(instance), _) => format!("{} instance {instance}", worker.url),
        (None, Events::At(sources)) if worker.engine == EngineKind::Dynamo && !sources.is_empty() => {
            format!("{} events {}", worker.url, sources[0].endpoint)
        }
        (None, _) => worker.url.to_string(),
    }
}

fn resolve_discovery(
    path: &str,
    discovery: file::Discovery,
    limits: &Limits,
    paths: &Paths<'_>,
    drained: &mut Unique,
) -> Result<Discovery, Problem> {
    let path = format!("{path}.discovery");
    if let Some(extra) = discovery.dns.get(DNS_NAMES_MAX) {
        return Err(Problem::new(extra.at, format!("{path}.dns: more than {DNS_NAMES_MAX}")));
    }
    let entries = discovery.dns.into_iter().enumerate();
    let dns = entries.map(|(index, entry)| {
        let (path, at) = (format!("{path}.dns[{index}]"), entry.at);
        if entry.engine == EngineKind::Dynamo {
            let message =
                format!("{path}: engine `dynamo` is one worker of a frontend: expected it under workers");
            return Err(Problem::new(at, message));
        }
        let drain_at = entry.drain_events.as_ref().map_or(at, |drain| drain.at);
        let worker = resolve_worker(&path, entry.value, limits)?;
        drains_alone(&path, &worker, drain_at, drained)?;
        Ok(worker)
    });
    Ok(Discovery {
        file: discovery.file.map(|file| paths.file(&format!("{path}.file"), &file)).transpose()?,
        dns: dns.collect::<Result<_, _>>()?,
        interval: discovery.interval,
        handover_timeout: discovery.handover_timeout,
    })
}

/// Two that drain a server take its events from each other, whatever pools they are of.
fn drains_alone(path: &str, worker: &Worker, at: Position, drained: &mut Unique) -> Result<(), Problem> {
    let owner = worker.drain_events.then(|| drained.claim(path, &worker.url.to_string())).flatten();
    let Some(owner) = owner else { return Ok(()) };
    let message =
        format!("{path}.drain_events: {owner} drains `{}` already: each event is told once", worker.url);
    Err(Problem::new(at, message))
}

/// Names in lower case, none of a credential.
fn resolve_policy_headers(path: &str, names: &[Located<String>]) -> Result<Vec<String>, Problem> {
    let mut resolved: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        let wrong =
            |why: &str| Problem::new(name.at, format!("{path}.policy_headers: `{}`: {why}", name.value));
        let header: HeaderName = name.parse().map_err(|_| wrong("expected a header name"))?;
        if is_credential(header.as_str()) {
            return Err(wrong("holds credentials, which no policy is given"));
        }
        if resolved.iter().any(|other| other == header.as_str()) {
            return Err(wrong("written twice"));
        }
        if resolved.len() == POLICY_HEADERS_MAX {
            return Err(wrong(&format!("more than {POLICY_HEADERS_MAX} headers")));
        }
        resolved.push(header.as_str().to_owned());
    }
    Ok(resolved)
}

fn resolve_policy(path: &str, policy: file::Policy, paths: &Paths<'_>) -> Result<PolicyChoice, Problem> {
    let source = match (policy.name, policy.file) {
        (Some(_), Some(file)) => {
            return Err(Problem::new(
                file.at,
                format!("{path}.policy.file: expected either name or file, found both"),
            ));
        }
        (_, Some(file)) => PolicySource::File(paths.file(&format!("{path}.policy.file"), &file)?),
        (None, None) if policy.digest.is_some() => PolicySource::Kept,
        (name, None) => PolicySource::BuiltIn(name.map(|name| name.value).unwrap_or_default()),
    };
    let settings_json = serde_json::Value::Object(policy.settings).to_string();
    let digest = policy.digest.map(|digest| digest.value);
    Ok(PolicyChoice { source, digest, settings_json, fallback: policy.fallback })
}

fn resolve_tokenizer(path: &str, folder: &Located<PathBuf>, paths: &Paths<'_>) -> Result<PathBuf, Problem> {
    let file = Located { value: folder.join("tokenizer.json"), at: folder.at };
    paths.file(&format!("{path}.tokenizer"), &file)?;
    Ok(paths.in_folder(folder))
}

fn resolve_sessions(path: &str, sessions: file::Sessions) -> Result<Sessions, Problem> {
    let parsed = |field: &str, name: Option<Located<String>>| {
        name.map(|name| {
            let message =
                || format!("{path}.sessions.{field}: expected a header name, found `{}`", name.value);
            name.parse::<HeaderName>().map_err(|_| Problem::new(name.at, message()))
        })
        .transpose()
    };
    Ok(Sessions {
        header: parsed("header", sessions.header)?,
        tenant_header: parsed("tenant_header", sessions.tenant_header)?,
        sessions_max: sessions.sessions_max,
        ttl: sessions.ttl,
        prefix_tokens: sessions.prefix_tokens,
    })
}

fn resolve_limits(pool: &file::PoolLimits, limits: &Limits) -> PoolLimits {
    PoolLimits {
        first_byte_timeout: pool.first_byte_timeout.unwrap_or(limits.request.first_byte_timeout),
        stream_idle_timeout: pool.stream_idle_timeout.unwrap_or(limits.request.stream_idle_timeout),
        wait_requests_max: pool.wait_requests_max.unwrap_or(limits.wait.requests_max),
        wait_timeout: pool.wait_timeout.unwrap_or(limits.wait.timeout),
        connections_per_target_max: pool
            .connections_per_target_max
            .unwrap_or(limits.upstream.connections_per_target_max),
        index_blocks_max: pool.index_blocks_max.unwrap_or(limits.index.blocks_max),
    }
}
