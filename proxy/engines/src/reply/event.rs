//! One JSON event or body, of any of the APIs, and what it adds to the summary.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{FinishReason, MESSAGE_BYTES_MAX, ReplyError, ReplySummary, Usage, response_id};

/// Takes in the JSON of one event; what is no JSON object adds nothing.
pub(super) fn take(json: &[u8], summary: &mut ReplySummary) {
    let Ok(event) = serde_json::from_slice::<Event<'_>>(json) else { return };
    if let Some(choices) = &event.choices
        && !choices.is_empty()
    {
        summary.started = true;
        summary.chunks += 1;
        for reason in choices.iter().filter_map(|choice| choice.finish_reason.as_deref()) {
            summary.finish_reason = Some(FinishReason::from_name(reason));
        }
    }
    if let Some(kind) = event.r#type.as_deref() {
        take_typed(kind, &event, summary);
    }
    if let Some(meta) = &event.meta_info {
        meta.take_into(summary);
    }
    if event.response.is_some() && summary.response_id.is_none() {
        summary.response_id = response_id::of_event(json);
    }
    let nested = event.response.as_ref().and_then(|response| response.usage.as_ref());
    let nested = nested.or_else(|| event.message.as_ref().and_then(|message| message.usage.as_ref()));
    if let Some(usage) = event.usage.as_ref().or(nested) {
        usage.merge_into(&mut summary.usage);
    }
    let failed = event.response.as_ref().and_then(|response| response.error.as_ref());
    if let Some(error) = event.error.as_ref().or(failed) {
        summary.error.get_or_insert_with(|| error.to_reply());
    }
}

/// Anthropic's and the Responses API's events say what they are.
fn take_typed(kind: &str, event: &Event<'_>, summary: &mut ReplySummary) {
    match kind {
        "message_start" | "content_block_start" | "response.output_item.added" => summary.started = true,
        "content_block_delta" => {
            summary.started = true;
            summary.chunks += 1;
        }
        "message_delta" => {
            if let Some(reason) = event.delta.as_ref().and_then(Delta::stop_reason) {
                summary.finish_reason = Some(FinishReason::from_name(reason));
            }
        }
        "message_stop" => summary.done = true,
        "message" => {
            summary.started = true;
            summary.finish_reason = event.stop_reason.as_deref().map(FinishReason::from_name);
        }
        "response.completed" | "response.incomplete" | "response.failed" => {
            summary.done = true;
            let status = kind.trim_start_matches("response.");
            summary.finish_reason = Some(FinishReason::from_name(status));
        }
        _ if kind.starts_with("response.") && kind.ends_with(".delta") => {
            summary.started = true;
            summary.chunks += 1;
        }
        _ => {}
    }
}

/// The usage object at the start of `json`, whatever follows it.
pub(super) fn usage_at(json: &[u8]) -> Option<Usage> {
    let mut usage = None;
    let parsed = serde_json::Deserializer::from_slice(json).into_iter::<UsageFields>().next()?.ok()?;
    parsed.merge_into(&mut usage);
    usage
}

/// The same of the object in which SGLang's own API tells it.
pub(super) fn meta_usage_at(json: &[u8]) -> Option<Usage> {
    let parsed = serde_json::Deserializer::from_slice(json).into_iter::<MetaInfo<'_>>().next()?.ok()?;
    parsed.usage()
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    error: Option<ErrorField<'a>>,
    #[serde(default)]
    usage: Option<UsageFields>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    stop_reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message: Option<Inner<'a>>,
    #[serde(borrow, default)]
    response: Option<Inner<'a>>,
    #[serde(borrow, default)]
    meta_info: Option<MetaInfo<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

/// A string in the Responses API, an object in Anthropic's.
#[derive(Deserialize)]
#[serde(untagged)]
enum Delta<'a> {
    Object {
        #[serde(borrow, default)]
        stop_reason: Option<Cow<'a, str>>,
    },
    Other(IgnoredAny),
}

impl Delta<'_> {
    fn stop_reason(&self) -> Option<&str> {
        match self {
            Self::Object { stop_reason } => stop_reason.as_deref(),
            Self::Other(_) => None,
        }
    }
}

/// The message or response inside an event.
#[derive(Default)]
struct Inner<'a> {
    usage: Option<UsageFields>,
    error: Option<ErrorField<'a>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Inner<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Shape<'a> {
            Object {
                #[serde(default)]
                usage: Option<UsageFields>,
                #[serde(borrow, default)]
                error: Option<ErrorField<'a>>,
            },
            Other(IgnoredAny),
        }
        Ok(match Shape::deserialize(deserializer)? {
            Shape::Object { usage, error } => Self { usage, error },
            Shape::Other(_) => Self::default(),
        })
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorField<'a> {
    Object {
        #[serde(borrow, default)]
        message: Option<Cow<'a, str>>,
        #[serde(default)]
        code: Option<serde_json::Value>,
    },
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(IgnoredAny),
}

impl ErrorField<'_> {
    fn to_reply(&self) -> ReplyError {
        let (message, code) = match self {
            Self::Object { message, code } => (message.as_deref().unwrap_or_default(), code.as_ref()),
            Self::Text(message) => (message.as_ref(), None),
            Self::Other(_) => ("", None),
        };
        let code = code.and_then(serde_json::Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let mut end = message.len().min(MESSAGE_BYTES_MAX);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        ReplyError { code, message: message[..end].to_owned() }
    }
}

/// What SGLang's `/generate` tells beside the text, in each event of a stream: of one sequence, and of all there are to say so far.
#[derive(Deserialize)]
struct MetaInfo<'a> {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    cached_tokens: Option<u64>,
    #[serde(borrow, default)]
    finish_reason: Option<MetaFinish<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MetaFinish<'a> {
    Object {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
    },
    Other(IgnoredAny),
}

impl MetaInfo<'_> {
    fn take_into(&self, summary: &mut ReplySummary) {
        let Some(usage) = self.usage() else { return };
        summary.started = true;
        summary.chunks += 1;
        summary.usage = Some(usage);
        if let Some(MetaFinish::Object { r#type }) = &self.finish_reason {
            summary.finish_reason = Some(FinishReason::from_name(r#type));
        }
    }

    fn usage(&self) -> Option<Usage> {
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Some(Usage {
            prompt_tokens: small(self.prompt_tokens?),
            completion_tokens: small(self.completion_tokens.unwrap_or(0)),
            cached_tokens: self.cached_tokens.map(small),
        })
    }
}

#[derive(Deserialize)]
struct UsageFields {
    #[serde(default, alias = "input_tokens")]
    prompt_tokens: Option<u64>,
    #[serde(default, alias = "output_tokens")]
    completion_tokens: Option<u64>,
    #[serde(default, alias = "input_tokens_details")]
    prompt_tokens_details: Option<Details>,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl UsageFields {
    /// A later event may tell less than an earlier one; what it does not tell stays.
    fn merge_into(&self, usage: &mut Option<Usage>) {
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let usage = usage.get_or_insert_default();
        if let Some(tokens) = self.prompt_tokens {
            usage.prompt_tokens = small(tokens);
        }
        if let Some(tokens) = self.completion_tokens {
            usage.completion_tokens = small(tokens);
        }
        let details = self.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens);
        if let Some(tokens) = details.or(self.cache_read_input_tokens) {
            usage.cached_tokens = Some(small(tokens));
        }
    }
}
