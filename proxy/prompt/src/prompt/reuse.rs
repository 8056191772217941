//! Prompts that begin as earlier ones did: what is new is encoded and hashed, the rest taken from the cache.

use std::sync::Arc;

use super::{PromptEncoder, TextPrompt};
use crate::api::Api;
use crate::body::{Body, Field, Raw};
use crate::cache::{Node, Place, PromptCache};
use crate::chat::{self, PlainMessage};
use crate::dialect::Dialect;
use crate::error::BodyError;
use crate::hashing::{Hashing, PromptHashes};
use crate::ids::Keep;
use crate::template::{Conversation, Framing, Plain};

/// Texts are cut at the first added token after so many bytes: nodes that are closer cost more than they save.
const STRETCH: usize = 1024;

/// Nodes in one line: what comes after is encoded in one part.
const DEPTH_MAX: usize = 4096;

/// What a template is given besides the messages.
const GIVEN: [Field; 6] = [
    Field::Tools,
    Field::ToolChoice,
    Field::Documents,
    Field::ChatTemplateKwargs,
    Field::ReasoningEffort,
    // A template may look at it before its messages.
    Field::AddGenerationPrompt,
];

/// What else a prompt's ids, or who may share them, depends on.
const SETTINGS: [Field; 2] = [Field::AddSpecialTokens, Field::CacheSalt];

/// A place in a text where a node is to be, and the name it gets.
#[derive(Clone, Copy, Debug)]
struct Stop {
    at: usize,
    name: u128,
}

/// Encodes a text part by part, from a node on.
struct Walk<'a> {
    prompts: &'a PromptEncoder,
    cache: &'a PromptCache,
    hashing: Hashing<'a>,
    /// The ids before the text.
    prefix: &'a [u32],
    node: Option<Arc<Node>>,
}

impl Walk<'_> {
    /// Encodes `text`, which may be cut at `stops` (in order), and leaves a node at each.
    fn go(&mut self, text: &str, stops: &[Stop], truncated: bool) -> Result<PromptHashes, BodyError> {
        let reused = self.node.as_ref().map_or(0, |node| node.tokens());
        let mut from = 0;
        for stop in stops {
            if stop.at > from || self.node.is_none() {
                self.node = Some(self.part(&text[from..stop.at])?);
                from = stop.at;
            }
            if let Some(node) = &self.node {
                self.cache.put_node(stop.name, node);
                if node.depth() >= DEPTH_MAX {
                    break;
                }
            }
        }
        let last = self.part(&text[from..])?;
        let count = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
        let blocks =
            self.hashing.sizes.iter().enumerate().map(|(at, size)| (*size, last.chain(at))).collect();
        Ok(PromptHashes {
            tokens: count(last.tokens()),
            reused: count(reused),
            truncated,
            head: last.head(),
            blocks,
        })
    }

    fn part(&self, text: &str) -> Result<Arc<Node>, BodyError> {
        let mut ids = self.prompts.encoder.encode(text, false)?;
        if self.node.is_none() && !self.prefix.is_empty() {
            ids.splice(..0, self.prefix.iter().copied());
        }
        Ok(self.cache.extend(self.node.as_ref(), &ids, self.hashing))
    }
}

impl PromptEncoder {
    /// The part of [`PromptEncoder::block_hashes`] that costs little: the hashes of a chat whose first messages are known by the body's
    /// beginning. `None`: they are not, or what follows them is not plain.
    ///
    /// # Errors
    /// [`BodyError::Tokenizer`].
    pub fn continue_body(
        &self,
        body: &Body,
        hashing: Hashing<'_>,
        cache: &PromptCache,
    ) -> Result<Option<PromptHashes>, BodyError> {
        let Some(known) = body.known() else { return Ok(None) };
        let Some(framing) = self.framing(body) else { return Ok(None) };
        let names = self.names(body, hashing, cache, Kind::Body);
        let Some(node) = cache.node(cache.pair(names, known.chain)) else { return Ok(None) };
        let Some(prefix) = self.encoder.prefix(false) else { return Ok(None) };

        let Some(ending) = self.endings.get(ending_name(body, cache)) else { return Ok(None) };

        let mut text = String::with_capacity(body.new_bytes());
        let mut ends = vec![(known.count, 0)];
        let dialect = body.dialect();
        let mut may_end = framing.may_end(None) && dialect == Dialect::Vllm;
        let format = self.template.content_format(dialect, body.get(Field::Tools).is_some());
        for (position, raw) in body.new_messages() {
            let (short, long);
            let plain = if let Some(message) = PlainMessage::read(raw, format) {
                short = message;
                Plain::of(&short.role, &short.content)
            } else {
                long = chat::later_message(dialect, position, raw, format);
                long.as_ref().and_then(Plain::read)
            };
            let Some(plain) = plain.filter(|plain| framing.push(&mut text, *plain)) else { return Ok(None) };
            if framing.goes_on_after(Some(plain), position + 1) {
                ends.push((position + 1, text.len()));
            }
            // SGLang makes a last message of the assistant another.
            may_end = framing.may_end(Some(plain)) && (dialect == Dialect::Vllm || !plain.is_assistants());
        }
        if !may_end {
            return Ok(None);
        }
        text.push_str(&ending);
        let places = cache.places(body);
        cache.put_marks(body, &places);
        let stops = stops_of(&places, &ends, names, cache);
        let mut walk = Walk { prompts: self, cache, hashing, prefix, node: Some(node) };
        walk.go(&text, &stops, false).map(Some)
    }

    /// The hashes of a text, from the furthest place in it that is known. `None`: this text must not be cut.
    pub(super) fn continue_text(
        &self,
        body: &Body,
        prompt: &TextPrompt,
        hashing: Hashing<'_>,
        cache: &PromptCache,
    ) -> Result<Option<PromptHashes>, BodyError> {
        let (Ok(cuts), Some(prefix)) = (self.encoder.cuts(), self.encoder.prefix(prompt.add_special_tokens))
        else {
            return Ok(None);
        };
        if prompt.keep != Keep::All {
            return Ok(None);
        }
        cache.put_marks(body, &cache.places(body));
        let text = &prompt.text;
        let mut name = self.names(body, hashing, cache, Kind::Text);
        let mut stops = Vec::new();
        let mut from = 0;
        for at in cuts.places(text) {
            if at >= from + STRETCH {
                name = cache.follow(name, &text.as_bytes()[from..at]);
                stops.push(Stop { at, name });
                from = at;
            }
        }
        let found = stops.iter().enumerate().rev().find_map(|(i, stop)| Some((i, cache.node(stop.name)?)));
        let (start, node) = match found {
            Some((i, node)) => {
                let at = stops[i].at;
                stops.drain(..=i);
                (at, Some(node))
            }
            None => (0, None),
        };
        stops.extend(self.body_stops(body, prompt, hashing, cache));
        stops.retain(|stop| stop.at >= start);
        stops.sort_by_key(|stop| stop.at);
        stops.iter_mut().for_each(|stop| stop.at -= start);
        let mut walk = Walk { prompts: self, cache, hashing, prefix, node };
        walk.go(&text[start..], &stops, prompt.truncated).map(Some)
    }

    /// Where in a chat's text later bodies may go on.
    fn body_stops(
        &self,
        body: &Body,
        prompt: &TextPrompt,
        hashing: Hashing<'_>,
        cache: &PromptCache,
    ) -> Vec<Stop> {
        let (Some(framing), Some(conversation)) = (self.framing(body), &prompt.conversation) else {
            return Vec::new();
        };
        if prompt.truncated || conversation.rewritten {
            return Vec::new();
        }
        // Of a body that was read from a mark on, only what follows it has places.
        let mut whole = body.clone();
        if body.known().is_some() && whole.read_whole().is_err() {
            return Vec::new();
        }
        let name = ending_name(body, cache);
        let ending = self.endings.get(name).or_else(|| {
            let ending = self.template.ending(framing, conversation)?;
            // It is encoded apart from what stands before it.
            let is_apart =
                ending.is_empty() || self.encoder.cuts().is_ok_and(|cuts| cuts.is_at(ending.as_bytes()));
            is_apart.then(|| self.endings.put(name, ending))
        });
        let Some(ending) = ending else { return Vec::new() };
        let ends = message_ends(framing, conversation, &ending, &prompt.text);
        stops_of(&cache.places(&whole), &ends, self.names(body, hashing, cache, Kind::Body), cache)
    }

    /// The framing by which messages may be appended to this body's prompt, if by any.
    fn framing(&self, body: &Body) -> Option<&Framing> {
        // What decides over the text of other APIs' chats stands in more fields than are looked at here.
        if body.api() != Api::ChatCompletions {
            return None;
        }
        let whole = [Field::ChatTemplate, Field::TruncatePromptTokens, Field::TruncationSide];
        let plain = whole.iter().all(|field| body.get(*field).is_none())
            && body.get(Field::ContinueFinalMessage).is_none_or(|raw| raw.bytes() == b"false")
            && body
                .get(Field::AddGenerationPrompt)
                .is_none_or(|raw| matches!(raw.bytes(), b"true" | b"false"));
        let followed = match body.dialect() {
            Dialect::Vllm => plain,
            // Which template is used depends on more than whether there are tools.
            Dialect::Sglang if self.template.is_double() => false,
            Dialect::Sglang => {
                plain && chat::sglang::OTHER_FIELDS.iter().all(|field| body.get(*field).is_none())
            }
        };
        self.template.framing(body.get(Field::Tools).is_some()).ok().filter(|_| followed)
    }

    /// What the names of nodes begin with: all that besides the text or body decides over ids, hashes and who may share them.
    fn names(&self, body: &Body, hashing: Hashing<'_>, cache: &PromptCache, kind: Kind) -> u128 {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(kind as u8);
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(&hashing.namespace.0.to_le_bytes());
        bytes.extend(hashing.sizes.iter().flat_map(|size| size.0.to_le_bytes()));
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        let given: &[Field] = match kind {
            Kind::Body => &GIVEN,
            Kind::Text => &[],
        };
        bytes.push(body.api() as u8);
        bytes.push(body.dialect() as u8);
        for field in given.iter().chain(&SETTINGS) {
            let value = body.get(*field).map_or(&[][..], Raw::bytes);
            bytes.extend_from_slice(&value.len().to_le_bytes());
            bytes.extend_from_slice(value);
        }
        cache.follow(0, &bytes)
    }
}

/// What nodes are found by.
#[derive(Clone, Copy)]
enum Kind {
    Body,
    Text,
}

/// What decides over the text behind the messages, as a name.
fn ending_name(body: &Body, cache: &PromptCache) -> u128 {
    GIVEN.iter().fold(body.dialect() as u128, |name, field| {
        cache.follow(name, body.get(*field).map_or(&[][..], Raw::bytes))
    })
}

/// After how many messages the text is how long, in order, where others may follow; from the end as far forward as the messages are plain.
/// Empty if the text is not as the framing says.
fn message_ends(
    framing: &Framing,
    conversation: &Conversation,
    ending: &str,
    text: &str,
) -> Vec<(usize, usize)> {
    let messages = &conversation.messages;
    if !framing.may_end(messages.last().and_then(Plain::read)) {
        return Vec::new();
    }
    let Some(mut rest) = text.strip_suffix(ending) else { return Vec::new() };
    let mut ends = Vec::new();
    for (count, message) in messages.iter().enumerate().map(|(at, message)| (at + 1, message)).rev() {
        let plain = Plain::read(message);
        if framing.goes_on_after(plain, count) {
            ends.push((count, rest.len()));
        }
        let Some(shorter) = plain.filter(|_| count > 1).and_then(|plain| framing.strip(rest, plain)) else {
            break;
        };
        rest = shorter;
    }
    ends.reverse();
    ends
}

/// The nodes to be made for the places where a body can be resumed and `ends` tells the text's length.
fn stops_of(places: &[Place], ends: &[(usize, usize)], names: u128, cache: &PromptCache) -> Vec<Stop> {
    let stop = |place: &Place| {
        let end = ends.binary_search_by_key(&place.messages, |(count, _)| *count).ok()?;
        Some(Stop { at: ends[end].1, name: cache.pair(names, place.name) })
    };
    places.iter().filter_map(stop).collect()
}

#[cfg(test)]
mod tests;
