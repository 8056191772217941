//! TensorRT-LLM: `trtllm-serve` behind the shim of `proxy/engines/shim`, or bare.
//!
//! A bare server takes no rank over HTTP, hands out each event once to whoever asks first, and keeps its load to
//! itself. The shim is one Python file that runs the same server, pins by header, and publishes events per rank in
//! vLLM's layout with replay, so that any number of proxies may listen. Without the shim one proxy may be who asks first.

mod cache;
pub mod discovery;
pub mod drain;
pub mod events;
pub mod load;
mod probe;

pub use probe::RankProbe;

/// The header by which a server that chooses ranks itself tells conversations apart: with `attention_dp_config:
/// {kv_cache_routing_conversation_affinity: true}` (1.3) the turns of a conversation come to the rank of its first.
///
/// Of four headers that it reads this is the first; [`CONVERSATION_FIELD`] in the body wins over all of them. Versions before do
/// not read it, and would refuse the field.
pub const CONVERSATION_HEADER: &str = "x-session-id";

/// The field of a body that says the same, as an object.
pub const CONVERSATION_FIELD: &str = "conversation_params";

/// [`CONVERSATION_FIELD`] for a conversation of this id, as JSON.
pub fn conversation_params(id: &str) -> String {
    serde_json::json!({ "conversation_id": id }).to_string()
}
