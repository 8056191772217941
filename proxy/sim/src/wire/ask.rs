//! What a generation request asks for.

use std::sync::Arc;

use rankwise_prompt::Api;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::refusal::Refused;
use super::text::Text;

/// Sequences of one request: prompts times `n`.
const SEQUENCES_MAX: usize = 1024;

/// A request, understood.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) api: Api,
    /// Token ids; each is answered `n` times.
    pub(crate) prompts: Vec<Vec<u32>>,
    pub(crate) n: usize,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) stream: bool,
    pub(crate) usage: UsageWish,
    pub(crate) token_ids: bool,
    pub(crate) salt: Option<Arc<str>>,
    pub(crate) report_hits: bool,
    /// The response that it goes on from.
    pub(crate) previous: Option<String>,
    /// Whether the answer is to be kept.
    pub(crate) store: bool,
    /// Whether it is answered before it has been made.
    pub(crate) background: bool,
}

/// When a stream tells usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsageWish {
    /// In a last chunk of its own.
    pub(crate) at_end: bool,
    /// In every chunk.
    pub(crate) always: bool,
}

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    messages: Option<IgnoredAny>,
    prompt: Option<PromptField>,
    input: Option<IgnoredAny>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    max_output_tokens: Option<u32>,
    #[serde(default)]
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<usize>,
    return_token_ids: Option<bool>,
    cache_salt: Option<String>,
    vllm_xargs: Option<ExtraArguments>,
    previous_response_id: Option<String>,
    store: Option<bool>,
    background: Option<bool>,
    input_ids: Option<PromptField>,
    text: Option<IgnoredAny>,
    #[serde(default)]
    sampling_params: SamplingParams,
}

/// SGLang's own.
#[derive(Default, Deserialize)]
struct SamplingParams {
    max_new_tokens: Option<u32>,
    n: Option<usize>,
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
    continuous_usage_stats: Option<bool>,
}

#[derive(Deserialize)]
struct ExtraArguments {
    kv_cache_report_mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PromptField {
    Text(
        #[expect(dead_code, reason = "read again by the encoder, with the fields that matter to it")] String,
    ),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

/// Reads a body.
pub(crate) fn read(api: Api, body: &[u8], model: &str, text: &Text) -> Result<Ask, Refused> {
    // Of a field that is there twice the last counts, as in Python.
    let fields: serde_json::Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| Refused::body(&error.to_string()))?;
    let parsed =
        Body::deserialize(Value::Object(fields)).map_err(|error| Refused::body(&error.to_string()))?;
    if let Some(asked) = parsed.model.filter(|asked| asked != model) {
        return Err(Refused::unknown_model(&asked, model));
    }
    let encoded = |result: Result<Vec<u32>, String>| result.map_err(|message| Refused::body(&message));
    let native = api == Api::SglangGenerate;
    let prompt = if native { parsed.input_ids } else { parsed.prompt };
    let prompts = match (api, prompt) {
        (Api::ChatCompletions, _) if parsed.messages.is_none() => return Err(Refused::missing("messages")),
        (Api::Responses, _) if parsed.input.is_none() => return Err(Refused::missing("input")),
        (Api::ChatCompletions | Api::Responses, _) => vec![encoded(text.prompt(api, body))?],
        (Api::SglangGenerate, None) if parsed.text.is_some() => vec![encoded(text.prompt(api, body))?],
        (Api::SglangGenerate, None) => return Err(Refused::missing("input_ids")),
        (_, None) => return Err(Refused::missing("prompt")),
        (_, Some(PromptField::Text(_))) => vec![encoded(text.prompt(api, body))?],
        (_, Some(PromptField::Texts(many))) => {
            many.iter().map(|one| encoded(text.tokens(one))).collect::<Result<_, _>>()?
        }
        (_, Some(PromptField::Tokens(one))) => vec![one],
        (_, Some(PromptField::TokenLists(many))) => many,
    };
    let n = if native { parsed.sampling_params.n } else { parsed.n }.unwrap_or(1);
    if n == 0 || prompts.is_empty() || prompts.len().saturating_mul(n) > SEQUENCES_MAX {
        return Err(Refused::body("between 1 and 1024 sequences"));
    }
    if prompts.iter().any(Vec::is_empty) {
        return Err(Refused::body("The decoder prompt cannot be empty"));
    }
    let options = parsed.stream_options.unwrap_or_default();
    let max_tokens = match api {
        Api::ChatCompletions => parsed.max_completion_tokens.or(parsed.max_tokens),
        Api::Responses => parsed.max_output_tokens,
        // The APIs' own defaults.
        Api::SglangGenerate => parsed.sampling_params.max_new_tokens.or(Some(128)),
        _ => parsed.max_tokens.or(Some(16)),
    };
    Ok(Ask {
        api,
        prompts,
        n,
        max_tokens,
        stream: parsed.stream.unwrap_or(false),
        usage: UsageWish {
            at_end: options.include_usage.unwrap_or(false),
            always: native || options.continuous_usage_stats.unwrap_or(false),
        },
        token_ids: parsed.return_token_ids.unwrap_or(false),
        salt: parsed.cache_salt.map(Arc::from),
        report_hits: parsed
            .vllm_xargs
            .and_then(|arguments| arguments.kv_cache_report_mode)
            .is_some_and(|mode| mode == "full"),
        previous: parsed.previous_response_id.filter(|_| api == Api::Responses),
        store: api == Api::Responses && parsed.store.unwrap_or(true),
        background: api == Api::Responses && parsed.background.unwrap_or(false),
    })
}
