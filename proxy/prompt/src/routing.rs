//! What of a body concerns routing, read without touching the prompt.

use std::borrow::Cow;

use crate::api::Api;
use crate::body::{Body, Field, Raw};
use crate::completion;
use crate::error::BodyError;

/// The fields of a body that routing and load accounting use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingFields {
    /// The model asked for; empty where an API does not say ([`Api::needs_model`]).
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
    /// The response that this one goes on from: the server that keeps it puts what was said before into the prompt.
    pub previous_response_id: Option<String>,
    /// Whether the server may keep the answer for later requests to refer to: `store`, which is true by default.
    pub store: bool,
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

impl Body {
    /// The routing fields, checking that the prompt is there but not what is in it.
    ///
    /// # Errors
    /// A [`BodyError`] that is the client's fault.
    pub fn routing_fields(&self) -> Result<RoutingFields, BodyError> {
        self.refuse_conversation()?;
        let model = match self.get(Field::Model) {
            Some(model) => model.string()?.into_owned(),
            None if self.api().needs_model() => return Err(missing(Field::Model)),
            None => String::new(),
        };
        let prompts = self.prompt_count()?;
        let include_usage = match self.get(Field::StreamOptions) {
            None => false,
            Some(options) => {
                let [include_usage] = options.members([("include_usage", "stream_options.include_usage")])?;
                include_usage.map_or(Ok(false), Raw::boolean)?
            }
        };
        let (n, max_output_tokens) = self.output()?;
        let text = |field| self.get(field).map(|raw| raw.string().map(Cow::into_owned)).transpose();
        let lenient = |field| text(field).unwrap_or_default();
        Ok(RoutingFields {
            model,
            stream: self.get(Field::Stream).map_or(Ok(false), Raw::boolean)?,
            include_usage,
            max_output_tokens: max_output_tokens.map(not_negative).transpose()?,
            sequences: n.map_or(Ok(1), at_least_one)?.saturating_mul(prompts),
            cache_salt: text(Field::CacheSalt)?,
            priority: self
                .get(Field::Priority)
                .map(Raw::integer)
                .transpose()?
                // `as` cannot wrap within the clamp.
                .map(|priority| priority.clamp(i32::MIN.into(), i32::MAX.into()) as i32),
            session: SessionKeys {
                session_id: lenient(Field::SessionId),
                prompt_cache_key: lenient(Field::PromptCacheKey),
                user: lenient(Field::User),
            },
            previous_response_id: match self.api() {
                Api::Responses => text(Field::PreviousResponseId)?,
                _ => None,
            },
            // What is no boolean the engine has to judge.
            store: self.get(Field::Store).is_none_or(|raw| raw.boolean().unwrap_or(true)),
        })
    }

    /// No engine keeps conversations, and some would pass over the field.
    fn refuse_conversation(&self) -> Result<(), BodyError> {
        match self.get(Field::Conversation).filter(|_| self.api() == Api::Responses) {
            Some(raw) => {
                Err(raw
                    .invalid("no engine here keeps conversations. Send the whole input instead".to_owned()))
            }
            None => Ok(()),
        }
    }

    /// How many prompts the body holds; checks that there is one.
    fn prompt_count(&self) -> Result<u32, BodyError> {
        let list = |field| {
            let list = self.get(field).ok_or_else(|| missing(field))?;
            match list {
                list if list.is_empty_array() => Err(list.empty_array()),
                list if list.is_array() => Ok(1),
                list => Err(list.wrong_type("an array of objects")),
            }
        };
        match self.api() {
            Api::ChatCompletions | Api::Messages => list(Field::Messages),
            Api::Responses => match self.get(Field::Input) {
                Some(input) if input.is_string() => Ok(1),
                _ => list(Field::Input),
            },
            Api::Completions | Api::Embeddings | Api::SglangGenerate | Api::VllmGenerate => {
                match self.prompt_field() {
                    Some(prompt) => completion::count(prompt),
                    None if self.is_embedded() => Ok(1),
                    None => Err(missing(match self.api() {
                        Api::Completions => Field::Prompt,
                        Api::Embeddings => Field::Input,
                        Api::SglangGenerate => Field::Text,
                        _ => Field::TokenIds,
                    })),
                }
            }
        }
    }

    /// Sequences per prompt and the most tokens of each, if said.
    fn output(&self) -> Result<(Option<Raw<'_>>, Option<Raw<'_>>), BodyError> {
        let sampling = self.get(Field::SamplingParams);
        Ok(match self.api() {
            Api::ChatCompletions | Api::Completions => (
                self.get(Field::N),
                self.get(Field::MaxCompletionTokens).or_else(|| self.get(Field::MaxTokens)),
            ),
            Api::Responses => (None, self.get(Field::MaxOutputTokens)),
            Api::Messages => (None, self.get(Field::MaxTokens)),
            Api::Embeddings => (None, None),
            // A list of them belongs to a list of prompts: unknown.
            Api::SglangGenerate | Api::VllmGenerate => match sampling.filter(|raw| !raw.is_array()) {
                None => (None, None),
                Some(sampling) => {
                    let [n, new, max] = sampling.members([
                        ("n", "sampling_params.n"),
                        ("max_new_tokens", "sampling_params.max_new_tokens"),
                        ("max_tokens", "sampling_params.max_tokens"),
                    ])?;
                    (n, if self.api() == Api::SglangGenerate { new } else { max })
                }
            },
        })
    }
}

fn missing(field: Field) -> BodyError {
    BodyError::Missing { field: field.name().to_owned() }
}

/// An integer of at least 0, at most `u32::MAX`.
fn not_negative(raw: Raw<'_>) -> Result<u32, BodyError> {
    let number = raw.integer()?;
    if number < 0 {
        return Err(below(raw, 0));
    }
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

fn at_least_one(raw: Raw<'_>) -> Result<u32, BodyError> {
    match not_negative(raw)? {
        0 => Err(below(raw, 1)),
        number => Ok(number),
    }
}

fn below(raw: Raw<'_>, minimum: u32) -> BodyError {
    raw.invalid(format!("integer below minimum value. Expected a value >= {minimum}"))
}

#[cfg(test)]
mod tests;
