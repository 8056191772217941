//! Prompts that are no messages: a text, texts, token ids, lists of token ids.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use crate::api::Api;
use crate::body::{Body, Field, Raw};
use crate::error::BodyError;
use crate::ids::{Keep, PromptIds};
use crate::media;

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
            Prompt::Ids(ids) => {
                Some(Keep::parse(self)?.apply(PromptIds { ids, truncated: false, media: media::of(self)? }))
            }
            Prompt::Text(_) => None,
        })
    }

    /// Whether the prompt is a list of messages.
    pub(crate) fn has_messages(&self) -> bool {
        matches!(self.api(), Api::ChatCompletions | Api::Responses | Api::Messages)
    }

    /// Whether it has token ids instead of text (or what is neither: reading them tells).
    pub fn brings_token_ids(&self) -> bool {
        let first = self.prompt_field().and_then(Raw::first_inside);
        first.is_some_and(|byte| !matches!(byte, b'"' | b']'))
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

/// How many prompts `raw` holds. A list of ids is one, and is not read for that.
pub(crate) fn count(raw: Raw<'_>) -> Result<u32, BodyError> {
    if raw.is_string() || raw.first_inside().is_some_and(|byte| byte.is_ascii_digit()) {
        return Ok(1);
    }
    prompts(raw).map(|prompts| prompts.count)
}

/// Reads the field that holds the prompt.
pub(crate) fn prompts(raw: Raw<'_>) -> Result<Prompts, BodyError> {
    if raw.is_empty_array() {
        return Err(raw.empty_array());
    }
    if raw.is_string() {
        return Ok(Prompts { first: Prompt::Text(raw.string()?.into_owned()), count: 1 });
    }
    match raw.first_inside() {
        None => Err(raw.wrong_type(EXPECTED)),
        Some(b'"') => raw.parse().map(|List { first, count }| Prompts { first: Prompt::Text(first), count }),
        Some(b'[') => raw.parse().map(|List { first, count }| Prompts { first: Prompt::Ids(first), count }),
        Some(_) => raw.parse().map(|ids| Prompts { first: Prompt::Ids(ids), count: 1 }),
    }
}

/// The first of a list, all of one type, and how many there are.
struct List<T> {
    first: T,
    count: u32,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List<T>, A::Error> {
        let first = list.next_element()?.ok_or_else(|| de::Error::custom("empty array"))?;
        let mut count = 1u32;
        while list.next_element::<T>()?.is_some() {
            count = count.saturating_add(1);
        }
        Ok(List { first, count })
    }
}

#[cfg(test)]
mod tests;
