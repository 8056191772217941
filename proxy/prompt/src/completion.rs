//! The four forms of a completion's prompt: a text, texts, token ids, lists of token ids.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::api::Api;
use crate::body::{fields, kind_of};
use crate::error::BodyError;
use crate::prompt::{Keep, PromptIds};

const EXPECTED: &str =
    "a string, an array of strings, an array of integers, or an array of arrays of integers";

/// The first prompt of a completion body (it decides overlap), and how many there are.
pub(crate) struct Prompts {
    pub(crate) first: Prompt,
    pub(crate) count: u32,
}

pub(crate) enum Prompt {
    Text(String),
    Ids(Vec<u32>),
}

/// The token ids of a body that brings its own: no tokenizer is needed. `None` if it does not. With several prompts, the first's.
///
/// # Errors
/// A [`BodyError`] that is the client's fault.
pub fn given_token_ids(api: Api, body: &[u8]) -> Result<Option<PromptIds>, BodyError> {
    if api != Api::Completions {
        return Ok(None);
    }
    let [prompt, truncate, side] = fields(body, &["prompt", "truncate_prompt_tokens", "truncation_side"])?;
    // A text needs no parsing to be known as one.
    let Some(prompt) = prompt.filter(|prompt| prompt.get().starts_with('[')) else { return Ok(None) };
    Ok(match prompts(prompt)?.first {
        Prompt::Ids(ids) => Some(Keep::parse(truncate, side)?.apply(PromptIds { ids, truncated: false })),
        Prompt::Text(_) => None,
    })
}

/// How many prompts `raw` holds.
pub(crate) fn count(raw: &RawValue) -> Result<u32, BodyError> {
    if raw.get().starts_with('"') {
        return Ok(1);
    }
    prompts(raw).map(|prompts| prompts.count)
}

/// Reads the field `prompt`.
pub(crate) fn prompts(raw: &RawValue) -> Result<Prompts, BodyError> {
    let field = || "prompt".to_owned();
    match raw.get().bytes().next() {
        Some(b'"' | b'[') => {}
        _ => {
            return Err(BodyError::WrongType { field: field(), expected: EXPECTED, got: kind_of(raw.get()) });
        }
    }
    if raw.get()[1..].trim_ascii_start().starts_with(']') && raw.get().starts_with('[') {
        return Err(BodyError::EmptyArray { field: field() });
    }
    serde_json::from_str(raw.get()).map_err(|error| {
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        BodyError::Value { field: field(), message: message.to_owned() }
    })
}

impl<'de> Deserialize<'de> for Prompts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PromptsVisitor)
    }
}

struct PromptsVisitor;

impl<'de> Visitor<'de> for PromptsVisitor {
    type Value = Prompts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E>(self, text: &str) -> Result<Prompts, E> {
        Ok(Prompts { first: Prompt::Text(text.to_owned()), count: 1 })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Prompts, A::Error> {
        let mixed = || de::Error::custom("elements of different types");
        let (first, count) = match list.next_element()? {
            None => return Err(de::Error::custom("empty array")),
            Some(Element::Id(id)) => {
                let mut ids = vec![id];
                while let Some(id) = list.next_element()? {
                    ids.push(id);
                }
                (Prompt::Ids(ids), 1)
            }
            Some(Element::Text(text)) => {
                let mut count = 1u32;
                while let Some(next) = list.next_element()? {
                    let Element::Text(_) = next else { return Err(mixed()) };
                    count = count.saturating_add(1);
                }
                (Prompt::Text(text), count)
            }
            Some(Element::Ids(ids)) => {
                let mut count = 1u32;
                while let Some(next) = list.next_element()? {
                    let Element::Ids(_) = next else { return Err(mixed()) };
                    count = count.saturating_add(1);
                }
                (Prompt::Ids(ids), count)
            }
        };
        Ok(Prompts { first, count })
    }
}

/// One element of a prompt array.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected strings, integers of 32 bits or arrays of them")]
enum Element {
    Id(u32),
    Text(String),
    Ids(Vec<u32>),
}

#[cfg(test)]
mod tests;
