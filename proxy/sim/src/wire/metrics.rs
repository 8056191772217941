//! The metrics page: vLLM's families and labels, those of them that a router reads.

use std::fmt::Write as _;

use super::site::Site;
use crate::model::core::RankStats;
use crate::spec::FleetSpec;

/// How deep an engine sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sleep {
    /// Level 1: its weights are in the host's memory.
    Offloaded,
    /// Level 2: they are nowhere.
    Discarded,
}

/// The page of a worker whose ranks stand like this.
pub(super) fn page(site: &Site, ranks: &[RankStats], asleep: Option<Sleep>) -> String {
    let spec = &site.spec;
    let start_rank = site.start_rank();
    let mut page = Page { out: String::with_capacity(8192), model: &spec.model_name, start_rank };
    let usable = f64::from(spec.blocks_per_rank - 1);
    page.gauge("num_requests_running", "Number of requests in model execution batches.", ranks, |rank| {
        rank.running as f64
    });
    page.gauge("num_requests_waiting", "Number of requests waiting to be processed.", ranks, |rank| {
        rank.waiting as f64
    });
    page.head("num_requests_waiting_by_reason", "Number of waiting requests by reason.", "gauge");
    for (engine, rank) in ranks.iter().enumerate() {
        page.labelled(
            "num_requests_waiting_by_reason",
            engine,
            None,
            Some(("reason", "capacity")),
            rank.waiting as f64,
        );
        page.labelled("num_requests_waiting_by_reason", engine, None, Some(("reason", "deferred")), 0.0);
    }
    page.gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", ranks, |rank| {
        f64::from(rank.used_blocks) / usable
    });
    page.counter(
        "prefix_cache_queries",
        "Prefix cache queries, in terms of number of queried tokens.",
        ranks,
        |rank| rank.prompt_tokens as f64,
    );
    page.counter(
        "prefix_cache_hits",
        "Prefix cache hits, in terms of number of cached tokens.",
        ranks,
        |rank| rank.cached_tokens as f64,
    );
    page.counter("num_preemptions", "Cumulative number of preemption from the engine.", ranks, |rank| {
        rank.preemptions as f64
    });
    page.counter("prompt_tokens", "Number of prefill tokens processed.", ranks, |rank| {
        rank.prompt_tokens as f64
    });
    page.counter("prompt_tokens_cached", "Number of cached prompt tokens.", ranks, |rank| {
        rank.cached_tokens as f64
    });
    page.counter("generation_tokens", "Number of generation tokens processed.", ranks, |rank| {
        rank.output_tokens as f64
    });
    page.head("request_success_total", "Count of successfully processed requests.", "counter");
    for (engine, rank) in ranks.iter().enumerate() {
        for reason in ["stop", "length", "abort", "error", "repetition"] {
            let value = match reason {
                "stop" => rank.stopped,
                "length" => rank.finished - rank.stopped,
                // Stays 0 when a client goes away, as was measured.
                _ => 0,
            };
            page.labelled(
                "request_success_total",
                engine,
                Some(("finished_reason", reason)),
                None,
                value as f64,
            );
        }
    }
    page.head("time_to_first_token_seconds", "Histogram of time to first token in seconds.", "histogram");
    for (engine, rank) in ranks.iter().enumerate() {
        let count = rank.first_tokens as f64;
        page.labelled("time_to_first_token_seconds_bucket", engine, Some(("le", "+Inf")), None, count);
        page.labelled("time_to_first_token_seconds_count", engine, None, None, count);
        let seconds = rank.first_token_us_sum as f64 / 1e6;
        page.labelled("time_to_first_token_seconds_sum", engine, None, None, seconds);
    }
    page.head("engine_sleep_state", "Engine sleep state.", "gauge");
    for engine in 0..ranks.len() {
        let states = [
            ("awake", None),
            ("weights_offloaded", Some(Sleep::Offloaded)),
            ("discard_all", Some(Sleep::Discarded)),
        ];
        for (name, state) in states {
            let value = f64::from(u8::from(asleep == state));
            page.labelled("engine_sleep_state", engine, None, Some(("sleep_state", name)), value);
        }
    }
    page.cache_config(spec, ranks.len());
    page.out
}

struct Page<'a> {
    out: String,
    model: &'a str,
    start_rank: usize,
}

type Label<'a> = Option<(&'a str, &'a str)>;

impl Page<'_> {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "# HELP vllm:{name} {help}\n# TYPE vllm:{name} {kind}");
    }

    /// One sample; labels stand in alphabetical order, so some come before the model's and some after.
    fn labelled(&mut self, name: &str, engine: usize, before: Label<'_>, after: Label<'_>, value: f64) {
        let engine = self.start_rank + engine;
        let _ = write!(self.out, "vllm:{name}{{engine=\"{engine}\"");
        if let Some((key, text)) = before {
            let _ = write!(self.out, ",{key}=\"{text}\"");
        }
        let _ = write!(self.out, ",model_name=\"{}\"", escaped(self.model));
        if let Some((key, text)) = after {
            let _ = write!(self.out, ",{key}=\"{text}\"");
        }
        let _ = writeln!(self.out, "}} {value:?}");
    }

    fn gauge(&mut self, name: &str, help: &str, ranks: &[RankStats], value: impl Fn(&RankStats) -> f64) {
        self.head(name, help, "gauge");
        for (engine, rank) in ranks.iter().enumerate() {
            self.labelled(name, engine, None, None, value(rank));
        }
    }

    fn counter(&mut self, name: &str, help: &str, ranks: &[RankStats], value: impl Fn(&RankStats) -> f64) {
        let name = format!("{name}_total");
        self.head(&name, help, "counter");
        for (engine, rank) in ranks.iter().enumerate() {
            self.labelled(&name, engine, None, None, value(rank));
        }
    }

    /// `num_gpu_blocks` is the sum over all ranks under each rank's label, `kv_cache_size_tokens` the rank's own: measured.
    fn cache_config(&mut self, spec: &FleetSpec, ranks: usize) {
        self.head("cache_config_info", "Information of the LLMEngine CacheConfig", "gauge");
        let block_size = spec.block_size;
        let all_blocks = u64::from(spec.blocks_per_rank) * ranks as u64;
        let tokens = u64::from(spec.blocks_per_rank) * u64::from(block_size);
        for engine in self.start_rank..self.start_rank + ranks {
            let _ = writeln!(
                self.out,
                "vllm:cache_config_info{{block_size=\"{block_size}\",cache_dtype=\"auto\",\
                 effective_attention_block_size=\"{block_size}\",enable_prefix_caching=\"True\",engine=\"{engine}\",\
                 hash_block_size=\"None\",kv_cache_size_tokens=\"{tokens}\",num_gpu_blocks=\"{all_blocks}\",\
                 prefix_caching_hash_algo=\"sha256\"}} 1.0"
            );
        }
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
