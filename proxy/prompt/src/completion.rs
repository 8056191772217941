//! Prompts that are no messages: a text, texts, token ids, lists of token ids.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use crate::api::Api;
use crate::body::{Body, Field, Raw};
use crate::error::BodyError;
use crate::prompt::{Keep, PromptIds};

const EXPECTED: &str =
    "a string, an array of strings, an array of integers, or an array of arrays of integers";

/// The first prompt of a body (it decides overlap), and how many there are.
pub(crate) struct Prompts {
    pub(crate) first: Prompt,
    pub(crate) count: u32,
}

pub(crate) enum Prompt {
    Text(String),
    Ids(Vec<u32>),
}

impl Body {
    /// The token ids of a body that brings its own: no tokenizer is needed. `None` if it does not. With several prompts, the first's.
    ///
    /// # Errors
    /// A [`BodyError`] that is the client's fault.
    pub fn given_token_ids(&self) -> Result<Option<PromptIds>, BodyError> {
        // A text needs no parsing to be known as one.
        let Some(prompt) = self.prompt_field().filter(|prompt| prompt.is_array()) else { return Ok(None) };
        Ok(match prompts(prompt)?.first {
            Prompt::Ids(ids) => Some(Keep::parse(self)?.apply(PromptIds { ids, truncated: false })),
            Prompt::Text(_) => None,
        })
    }

    /// Whether the prompt is a list of messages.
    pub(crate) fn has_messages(&self) -> bool {
        matches!(self.api(), Api::ChatCompletions | Api::Responses | Api::Messages)
    }

    /// The field that holds the prompt of an API without messages.
    pub(crate) fn prompt_field(&self) -> Option<Raw<'_>> {
        match self.api() {
            _ if self.has_messages() => None,
            Api::Embeddings => self.get(Field::Input),
            // Ids win where both are given.
            Api::SglangGenerate => self.get(Field::InputIds).or_else(|| self.get(Field::Text)),
            Api::VllmGenerate => self.get(Field::TokenIds),
            _ => self.get(Field::Prompt),
        }
    }

    /// Whether the prompt is given as embeddings, which say nothing about blocks.
    pub(crate) fn is_embedded(&self) -> bool {
        let field = match self.api() {
            Api::Completions => Field::PromptEmbeds,
            Api::SglangGenerate => Field::InputEmbeds,
            _ => return false,
        };
        self.get(field).is_some()
    }
}

/// How many prompts `raw` holds.
pub(crate) fn count(raw: Raw<'_>) -> Result<u32, BodyError> {
    if raw.is_string() {
        return Ok(1);
    }
    prompts(raw).map(|prompts| prompts.count)
}

/// Reads the field that holds the prompt.
pub(crate) fn prompts(raw: Raw<'_>) -> Result<Prompts, BodyError> {
    if raw.is_empty_array() {
        return Err(raw.empty_array());
    }
    if raw.is_string() || raw.is_array() { raw.parse() } else { Err(raw.wrong_type(EXPECTED)) }
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
