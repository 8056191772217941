//! What is read at scrape time rather than written as it happens: the page is built from the ledger, the index and the
//! engines' reports as they are then.

use prometheus::proto::MetricFamily;
use prometheus::{Encoder, GaugeVec, IntCounterVec, Opts, Registry, TextEncoder};
use rankwise_core::policy::UNKNOWN;
use rankwise_core::target::{Availability, Condition};

use super::Metrics;
use crate::clock;
use crate::listen::RequestThreads;
use crate::pool::{Pool, Pools};
use crate::prompts::{PromptMode, PromptWork};

const TARGET: &[&str] = &["pool", "worker", "dp_rank"];

struct Page {
    registry: Registry,
    prefill_tokens: GaugeVec,
    active_blocks: GaugeVec,
    pending_blocks: GaugeVec,
    running: GaugeVec,
    engine_running: GaugeVec,
    engine_waiting: GaugeVec,
    engine_kv: GaugeVec,
    engine_age: GaugeVec,
    available: GaugeVec,
    cached_blocks: GaugeVec,
    capacity_blocks: GaugeVec,
    event_lag: GaugeVec,
    untrusted: GaugeVec,
    pending_confirmed: IntCounterVec,
    parity: IntCounterVec,
    approximate: GaugeVec,
    imbalance: GaugeVec,
    index_blocks: GaugeVec,
    index_bytes: GaugeVec,
    queued: GaugeVec,
    sessions: GaugeVec,
    responses: GaugeVec,
    policy_info: GaugeVec,
    tokenizer_info: GaugeVec,
    prompt_cache_bytes: GaugeVec,
    prompt_cache_entries: GaugeVec,
    connections: GaugeVec,
    refused: IntCounterVec,
}

impl Page {
    fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let family = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let pending_confirmed = IntCounterVec::new(
            Opts::new(
                "rankwise_pending_blocks_resolved_total",
                "Blocks that were pending, by whether the rank's own event confirmed them.",
            ),
            &["pool", "worker", "dp_rank", "result"],
        )?;
        registry.register(Box::new(pending_confirmed.clone()))?;
        let parity = IntCounterVec::new(
            Opts::new(
                "rankwise_prompt_blocks_total",
                "Blocks that prompts were predicted to have computed, by whether the engine's own token ids confirmed them.",
            ),
            &["pool", "engine", "model", "result"],
        )?;
        registry.register(Box::new(parity.clone()))?;
        let refused = IntCounterVec::new(
            Opts::new(
                "rankwise_connections_refused_total",
                "Client connections closed unserved because too many were open.",
            ),
            &[],
        )?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self {
            prefill_tokens: gauge(
                "rankwise_booked_prefill_tokens",
                "Tokens booked on a rank and not yet prefilled.",
                TARGET,
            )?,
            active_blocks: gauge(
                "rankwise_booked_blocks",
                "KV blocks held by requests in flight, shared prefixes counted once.",
                TARGET,
            )?,
            pending_blocks: gauge(
                "rankwise_pending_blocks",
                "KV blocks that a booked request is computing.",
                TARGET,
            )?,
            running: gauge("rankwise_booked_requests", "Requests in flight.", TARGET)?,
            engine_running: gauge("rankwise_engine_running_requests", "By the engine's own report.", TARGET)?,
            engine_waiting: gauge("rankwise_engine_waiting_requests", "By the engine's own report.", TARGET)?,
            engine_kv: gauge("rankwise_engine_kv_usage_ratio", "By the engine's own report.", TARGET)?,
            engine_age: gauge(
                "rankwise_engine_report_age_seconds",
                "Age of the engine's own report.",
                TARGET,
            )?,
            available: gauge("rankwise_target_available", "1 while a target may be picked.", TARGET)?,
            cached_blocks: gauge("rankwise_cached_blocks", "KV blocks of a rank in the index.", TARGET)?,
            capacity_blocks: gauge("rankwise_capacity_blocks", "KV blocks of a rank; 0 unknown.", TARGET)?,
            event_lag: gauge(
                "rankwise_kv_event_lag_seconds",
                "Age of the oldest KV event that is due and missing.",
                TARGET,
            )?,
            untrusted: gauge(
                "rankwise_kv_index_untrusted",
                "1 while what the index holds of a rank is not relied on.",
                TARGET,
            )?,
            imbalance: gauge(
                "rankwise_group_imbalance_ratio",
                "Most booked blocks on a rank of a lockstep group over the group's mean; 1 is even.",
                &["pool", "group"],
            )?,
            index_blocks: gauge("rankwise_index_blocks", "Distinct KV blocks in the index.", &["pool"])?,
            index_bytes: gauge("rankwise_index_bytes", "Memory of the index, about.", &["pool"])?,
            queued: gauge("rankwise_queued_requests", "Waiting because their policy said so.", &["pool"])?,
            sessions: gauge("rankwise_sessions", "Sessions whose target is remembered.", &["pool"])?,
            responses: gauge("rankwise_responses", "Responses whose worker is remembered.", &["pool"])?,
            policy_info: gauge(
                "rankwise_policy_info",
                "1 for the policy that was activated; serving tells what decides.",
                &["pool", "policy", "digest", "serving"],
            )?,
            tokenizer_info: gauge(
                "rankwise_tokenizer_info",
                "1 for the encoder in use and how far it remembers prompts.",
                &["pool", "encoder", "reuse"],
            )?,
            prompt_cache_bytes: gauge("rankwise_prompt_cache_bytes", "Memory of the prompt cache.", &[])?,
            prompt_cache_entries: gauge(
                "rankwise_prompt_cache_entries",
                "Beginnings of prompts in the prompt cache.",
                &[],
            )?,
            connections: gauge("rankwise_connections", "Open client connections.", &[])?,
            refused,
            pending_confirmed,
            parity,
            approximate: gauge(
                "rankwise_overlap_approximate",
                "Ranks whose KV events contradict the blocks that prompts are predicted to have.",
                &["pool"],
            )?,
            registry,
        })
    }

    fn pool(&self, pool: &Pool) {
        let now = clock::now();
        for worker in pool.workers.current().iter() {
            for rank in &worker.ranks {
                let target = &rank.target;
                let number = target.spec.rank.to_string();
                let labels = [pool.name.as_str(), worker.name(), number.as_str()];
                let set = |family: &GaugeVec, value: f64| family.with_label_values(&labels).set(value);
                let load = pool.state.load(target.id).unwrap_or_default();
                set(&self.prefill_tokens, load.prefill_tokens as f64);
                set(&self.active_blocks, load.active_blocks as f64);
                set(&self.pending_blocks, load.pending_blocks.into());
                set(&self.running, load.running.into());
                let report = target.engine.report();
                if report.running != UNKNOWN {
                    set(&self.engine_running, report.running.into());
                    set(&self.engine_waiting, report.waiting.into());
                    set(&self.engine_kv, f64::from(report.kv_permille) / 1000.0);
                    set(&self.engine_age, f64::from(target.engine.age_ms(now)) / 1000.0);
                }
                let ready = target.health.availability() == Availability::Ready;
                set(&self.available, f64::from(u8::from(ready)));
                set(&self.cached_blocks, pool.state.cached_blocks(target.id).into());
                set(&self.capacity_blocks, target.spec.capacity_blocks.into());
                set(&self.event_lag, f64::from(target.feed.lag_ms(now)) / 1000.0);
                let untrusted = target.condition(now).has(Condition::UNTRUSTED);
                set(&self.untrusted, f64::from(u8::from(untrusted)));
                let pending = pool.state.pending_report(target.id).unwrap_or_default();
                for (result, count) in
                    [("confirmed", pending.confirmed), ("unconfirmed", pending.unconfirmed)]
                {
                    let labels = [labels[0], labels[1], labels[2], result];
                    self.pending_confirmed.with_label_values(&labels).inc_by(count);
                }
            }
        }
        self.parity(pool);
        self.groups(pool);
        let stats = pool.state.index_stats();
        self.index_blocks.with_label_values(&[&pool.name]).set(stats.blocks as f64);
        self.index_bytes.with_label_values(&[&pool.name]).set(stats.bytes as f64);
        self.queued.with_label_values(&[&pool.name]).set(pool.queued() as f64);
        self.sessions.with_label_values(&[&pool.name]).set(pool.sessions.count() as f64);
        self.responses.with_label_values(&[&pool.name]).set(pool.responses.count() as f64);
        if let PromptMode::Local { encoder, .. } = &*pool.prompts.mode() {
            let kind = encoder.encoder().kind.to_string();
            let labels = [pool.name.as_str(), kind.as_str(), encoder.reuse().name()];
            self.tokenizer_info.with_label_values(&labels).set(1.0);
        }
        if let Some(chosen) = pool.policies.chosen() {
            let (version, serving) = (chosen.version(), serving_name(pool.policies.serving()));
            let labels = [pool.name.as_str(), &version.to_string(), &version.digest, serving];
            self.policy_info.with_label_values(&labels).set(1.0);
        }
    }

    fn parity(&self, pool: &Pool) {
        for ((engine, model), checked) in pool.parity.checked() {
            for (result, count) in [("confirmed", checked.confirmed), ("unconfirmed", checked.unconfirmed)] {
                let labels = [pool.name.as_str(), engine, &model, result];
                self.parity.with_label_values(&labels).inc_by(count);
            }
        }
        let contradictions = pool.parity.contradictions(&pool.workers.current()).len();
        self.approximate.with_label_values(&[&pool.name]).set(contradictions as f64);
    }

    fn groups(&self, pool: &Pool) {
        let mut groups = std::collections::BTreeMap::<u32, Vec<u64>>::new();
        for target in pool.state.targets().iter() {
            let active = pool.state.load(target.id).unwrap_or_default().active_blocks;
            groups.entry(target.spec.group.0).or_default().push(active);
        }
        for (group, active) in groups {
            let most = active.iter().copied().max().unwrap_or(0) as f64;
            let mean = active.iter().sum::<u64>() as f64 / active.len() as f64;
            let ratio = if mean > 0.0 { most / mean } else { 1.0 };
            self.imbalance.with_label_values(&[&pool.name, &group.to_string()]).set(ratio);
        }
    }
}

/// What decides, as a label.
pub(crate) fn serving_name(serving: rankwise_policy_host::Serving) -> &'static str {
    match serving {
        rankwise_policy_host::Serving::Chosen => "chosen",
        rankwise_policy_host::Serving::LastGood => "last_good",
        rankwise_policy_host::Serving::BuiltIn => "fallback",
    }
}

/// The page in the Prometheus text format.
///
/// # Errors
/// When a family cannot be registered or written: a fault of this module.
pub fn render(
    metrics: &Metrics,
    pools: &Pools,
    threads: &RequestThreads,
    prompts: &PromptWork,
) -> Result<Vec<u8>, prometheus::Error> {
    let page = Page::new()?;
    for pool in pools.iter() {
        page.pool(pool);
    }
    let cache = prompts.cache.report();
    page.prompt_cache_bytes.with_label_values::<&str>(&[]).set(cache.bytes as f64);
    page.prompt_cache_entries.with_label_values::<&str>(&[]).set(cache.entries as f64);
    page.connections.with_label_values::<&str>(&[]).set(threads.open() as f64);
    page.refused.with_label_values::<&str>(&[]).inc_by(threads.refused() as u64);
    let mut families: Vec<MetricFamily> = metrics.registry.gather();
    families.extend(page.registry.gather());
    families.sort_by(|a, b| a.name().cmp(b.name()));
    let mut text = Vec::with_capacity(32 * 1024);
    TextEncoder::new().encode(&families, &mut text)?;
    Ok(text)
}
