//! What a reply tells the proxy, read while it passes through.
//!
//! Scanners see the same bytes that the client gets and never hold them up: they keep a bounded part and pass over what
//! is larger.

mod body;
mod event;
mod response_id;
mod stream;

pub use body::{BodyScanner, body_summary};
pub use stream::StreamScanner;

/// Longest error message that is kept, bytes.
pub const MESSAGE_BYTES_MAX: usize = 256;
/// Longest id of a response that is kept, bytes.
pub const RESPONSE_ID_BYTES_MAX: usize = 256;

/// Token counts of a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens generated.
    pub completion_tokens: u32,
    /// Prompt tokens that came from the cache. `None`: the engine does not tell (vLLM without
    /// `--enable-prompt-tokens-details`), or not in this event.
    pub cached_tokens: Option<u32>,
}

/// Why a choice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// A stop token or string.
    Stop,
    /// The token limit.
    Length,
    /// A tool call.
    ToolCalls,
    /// The engine gave it up. If nobody asked for that, the worker may be going: vLLM says so when a rank died.
    Abort,
    /// The engine says that it failed.
    Error,
    /// Anything else.
    Other,
}

impl FinishReason {
    fn from_name(name: &str) -> Self {
        match name {
            "stop" | "end_turn" | "stop_sequence" | "completed" => Self::Stop,
            "length" | "max_tokens" | "incomplete" => Self::Length,
            "tool_calls" | "function_call" | "tool_use" => Self::ToolCalls,
            "abort" | "cancelled" => Self::Abort,
            "error" | "failed" => Self::Error,
            _ => Self::Other,
        }
    }
}

/// An error inside a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyError {
    /// HTTP status that the engine would have sent, had it not sent 200 already.
    pub code: Option<u16>,
    /// At most [`MESSAGE_BYTES_MAX`] bytes.
    pub message: String,
}

/// All that was learned of a reply so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplySummary {
    /// An event with a choice came, so the prompt is prefilled. vLLM's first, with the role and no content, counts: it is
    /// sent when the first token is there.
    pub started: bool,
    /// Events with a choice: about as many as tokens.
    pub chunks: u64,
    /// The first error event.
    pub error: Option<ReplyError>,
    /// The last choice's.
    pub finish_reason: Option<FinishReason>,
    /// The last that came.
    pub usage: Option<Usage>,
    /// The stream ended as it should: `[DONE]`, or what stands for it in the other APIs.
    pub done: bool,
    /// Lines longer than the bound, not looked into.
    pub lines_skipped: u64,
    /// The id of a plain body; of a stream, that of the `response` that its first events hold. None if it is longer than
    /// [`RESPONSE_ID_BYTES_MAX`], or further from the beginning than engines write it.
    pub response_id: Option<String>,
}

#[cfg(test)]
mod tests;
