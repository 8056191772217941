//! What of a body concerns routing, read without touching the prompt.

use crate::api::Api;
use crate::body::{boolean, fields, integer, string, wrong_type};
use crate::completion;
use crate::error::BodyError;

/// The fields of a body that routing and load accounting use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingFields {
    /// The model asked for.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether a streamed answer ends with a usage chunk.
    pub include_usage: bool,
    /// `max_completion_tokens`, else `max_tokens`: most tokens to generate per sequence.
    pub max_output_tokens: Option<u32>,
    /// Sequences that will be generated: `n` times the number of prompts; at least 1.
    pub sequences: u32,
    /// Keeps this request's cached blocks apart from others'.
    pub cache_salt: Option<String>,
    /// The engine's scheduling priority: lower is earlier.
    pub priority: Option<i32>,
    /// What might tell which conversation this belongs to.
    pub session: SessionKeys,
}

/// Fields by which clients name their conversation or themselves. One that is not a string counts as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionKeys {
    /// vLLM's `session_id`.
    pub session_id: Option<String>,
    /// OpenAI's `prompt_cache_key`.
    pub prompt_cache_key: Option<String>,
    /// OpenAI's `user`.
    pub user: Option<String>,
}

/// Reads the routing fields of `body`, checking that the prompt is there but not what is in it.
///
/// # Errors
/// A [`BodyError`] that is the client's fault.
pub fn routing_fields(api: Api, body: &[u8]) -> Result<RoutingFields, BodyError> {
    let prompt_field = match api {
        Api::ChatCompletions => "messages",
        Api::Completions => "prompt",
    };
    let [
        model,
        stream,
        stream_options,
        max_tokens,
        max_completion_tokens,
        n,
        cache_salt,
        priority,
        session_id,
        prompt_cache_key,
        user,
        prompt,
        embeds,
    ] = fields(
        body,
        &[
            "model",
            "stream",
            "stream_options",
            "max_tokens",
            "max_completion_tokens",
            "n",
            "cache_salt",
            "priority",
            "session_id",
            "prompt_cache_key",
            "user",
            prompt_field,
            "prompt_embeds",
        ],
    )?;

    let model = model.ok_or_else(|| BodyError::Missing { field: "model".to_owned() })?;
    let prompts = match (api, prompt, embeds) {
        (Api::ChatCompletions, Some(messages), _) => {
            if !messages.get().starts_with('[') {
                return Err(wrong_type("messages", "an array of objects", messages));
            }
            if messages.get()[1..].trim_ascii_start().starts_with(']') {
                return Err(BodyError::EmptyArray { field: "messages".to_owned() });
            }
            1
        }
        (Api::Completions, Some(prompt), _) => completion::count(prompt)?,
        (Api::Completions, None, Some(_)) => 1,
        (_, None, _) => return Err(BodyError::Missing { field: prompt_field.to_owned() }),
    };
    let max_output_tokens = match (max_completion_tokens, max_tokens) {
        (Some(raw), _) => Some(("max_completion_tokens", raw)),
        (None, Some(raw)) => Some(("max_tokens", raw)),
        (None, None) => None,
    };
    let include_usage = match stream_options {
        None => false,
        Some(raw) if !raw.get().starts_with('{') => {
            return Err(wrong_type("stream_options", "an object", raw));
        }
        Some(raw) => {
            let [include_usage] = fields(raw.get().as_bytes(), &["include_usage"])?;
            include_usage.map_or(Ok(false), |raw| boolean("stream_options.include_usage", raw))?
        }
    };
    let n = n.map_or(Ok(1), |raw| at_least_one("n", raw))?;

    let text = |field, raw: Option<&_>| {
        raw.map(|raw| string(field, raw).map(std::borrow::Cow::into_owned)).transpose()
    };
    let lenient = |field, raw: Option<&_>| text(field, raw).unwrap_or_default();
    Ok(RoutingFields {
        model: string("model", model)?.into_owned(),
        stream: stream.map_or(Ok(false), |raw| boolean("stream", raw))?,
        include_usage,
        max_output_tokens: max_output_tokens.map(|(field, raw)| not_negative(field, raw)).transpose()?,
        sequences: n.saturating_mul(prompts),
        cache_salt: text("cache_salt", cache_salt)?,
        priority: priority
            .map(|raw| integer("priority", raw))
            .transpose()?
            // `as` cannot wrap within the clamp.
            .map(|priority| priority.clamp(i32::MIN.into(), i32::MAX.into()) as i32),
        session: SessionKeys {
            session_id: lenient("session_id", session_id),
            prompt_cache_key: lenient("prompt_cache_key", prompt_cache_key),
            user: lenient("user", user),
        },
    })
}

/// An integer of at least 0, at most `u32::MAX`.
fn not_negative(field: &str, raw: &serde_json::value::RawValue) -> Result<u32, BodyError> {
    let number = integer(field, raw)?;
    if number < 0 {
        return Err(below(field, 0));
    }
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

fn at_least_one(field: &str, raw: &serde_json::value::RawValue) -> Result<u32, BodyError> {
    match not_negative(field, raw)? {
        0 => Err(below(field, 1)),
        number => Ok(number),
    }
}

fn below(field: &str, minimum: u32) -> BodyError {
    BodyError::Value {
        field: field.to_owned(),
        message: format!("integer below minimum value. Expected a value >= {minimum}"),
    }
}

#[cfg(test)]
mod tests;
