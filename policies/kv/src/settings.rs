use rankwise_policy::finite;
use serde::Deserialize;

/// Which formula.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Dynamo's, with pending blocks, room, weights, lockstep groups and ties that spread.
    #[default]
    Rankwise,
    /// NVIDIA Dynamo's default cost and nothing more.
    Dynamo,
}

/// The settings. Those that NVIDIA Dynamo has are named as there, with the same defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Which formula.
    pub preset: Preset,
    /// Credit for a block cached in device memory, in blocks to compute; 1 by default.
    pub overlap_score_credit: Option<f64>,
    /// How fast that credit fades as a rank's prefill backlog exceeds the least; 1 halves it at one request's worth.
    /// 0 by default.
    pub overlap_score_credit_decay: Option<f64>,
    /// What a token to prefill costs against one held; 4 by default, 1 with preset dynamo.
    pub prefill_load_scale: Option<f64>,
    /// What a running request costs, in blocks; 0 by default.
    pub decode_active_request_weight: Option<f64>,
    /// Credit for a block cached in host memory; 0.75 by default.
    pub host_cache_hit_weight: Option<f64>,
    /// Credit for a block cached on disk; 0.25 by default.
    pub disk_cache_hit_weight: Option<f64>,
    /// 0 (the default) takes the least cost; above, softmax over costs normalised by their range.
    pub temperature: Option<f64>,
    /// Preset rankwise: credit for a block that a request booked there is computing; 1 by default.
    pub pending_hit_weight: Option<f64>,
    /// Preset rankwise: what a token to compute costs for each request that runs there and waits for it meanwhile; 1 by
    /// default.
    pub running_delay_weight: Option<f64>,
    /// Preset rankwise: what the largest prefill backlog of a rank's lockstep group costs, per token; 0 by default.
    pub group_prefill_weight: Option<f64>,
    /// Preset rankwise: what the largest KV of a rank's lockstep group costs, per token; 0 by default.
    pub group_kv_weight: Option<f64>,
    /// Preset rankwise: a match of a prompt's first tokens that is no longer than this, and than half the prompt, counts
    /// for nothing; 64 by default.
    pub opening_tokens: Option<u32>,
    /// Preset rankwise: room for at most so many tokens of output is asked of a rank; 1024 by default.
    pub output_tokens_max: Option<u32>,
    /// Preset rankwise: how long to wait when no rank has room, ms; 50 by default.
    pub wait_ms: Option<u32>,
}

/// The settings, checked and complete.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Weights {
    pub(crate) preset: Preset,
    pub(crate) overlap_score_credit: f64,
    pub(crate) overlap_score_credit_decay: f64,
    pub(crate) prefill_load_scale: f64,
    pub(crate) decode_active_request_weight: f64,
    pub(crate) host_cache_hit_weight: f64,
    pub(crate) disk_cache_hit_weight: f64,
    pub(crate) temperature: f64,
    pub(crate) pending_hit_weight: f64,
    pub(crate) running_delay_weight: f64,
    pub(crate) group_prefill_weight: f64,
    pub(crate) group_kv_weight: f64,
    pub(crate) opening_tokens: u32,
    pub(crate) output_tokens_max: u32,
    pub(crate) wait_ms: u32,
}

/// Keeps every cost far from overflowing.
const WEIGHT_MAX: u32 = 1_000_000_000;

impl Settings {
    pub(crate) fn weights(self) -> Result<Weights, String> {
        let ours = [
            ("pending_hit_weight", self.pending_hit_weight.is_some()),
            ("running_delay_weight", self.running_delay_weight.is_some()),
            ("group_prefill_weight", self.group_prefill_weight.is_some()),
            ("group_kv_weight", self.group_kv_weight.is_some()),
            ("opening_tokens", self.opening_tokens.is_some()),
            ("output_tokens_max", self.output_tokens_max.is_some()),
            ("wait_ms", self.wait_ms.is_some()),
        ];
        if self.preset == Preset::Dynamo
            && let Some((field, _)) = ours.into_iter().find(|(_, given)| *given)
        {
            return Err(format!("{field}: preset dynamo has no such setting"));
        }
        let weight = |field, value: Option<f64>, default| finite(field, value.unwrap_or(default), WEIGHT_MAX);
        let (pending, prefill, delay) = match self.preset {
            Preset::Rankwise => (1.0, 4.0, 1.0),
            Preset::Dynamo => (0.0, 1.0, 0.0),
        };
        Ok(Weights {
            preset: self.preset,
            overlap_score_credit: weight("overlap_score_credit", self.overlap_score_credit, 1.0)?,
            overlap_score_credit_decay: weight(
                "overlap_score_credit_decay",
                self.overlap_score_credit_decay,
                0.0,
            )?,
            prefill_load_scale: weight("prefill_load_scale", self.prefill_load_scale, prefill)?,
            decode_active_request_weight: weight(
                "decode_active_request_weight",
                self.decode_active_request_weight,
                0.0,
            )?,
            host_cache_hit_weight: weight("host_cache_hit_weight", self.host_cache_hit_weight, 0.75)?,
            disk_cache_hit_weight: weight("disk_cache_hit_weight", self.disk_cache_hit_weight, 0.25)?,
            temperature: weight("temperature", self.temperature, 0.0)?,
            pending_hit_weight: weight("pending_hit_weight", self.pending_hit_weight, pending)?,
            running_delay_weight: weight("running_delay_weight", self.running_delay_weight, delay)?,
            group_prefill_weight: weight("group_prefill_weight", self.group_prefill_weight, 0.0)?,
            group_kv_weight: weight("group_kv_weight", self.group_kv_weight, 0.0)?,
            opening_tokens: self.opening_tokens.unwrap_or(64),
            output_tokens_max: self.output_tokens_max.unwrap_or(1024),
            wait_ms: self.wait_ms.unwrap_or(50),
        })
    }
}
