//! Templates whose text grows only at its end when messages are appended, and what one more plain message adds to it.
//!
//! Trying a template on conversations cannot show that: some take earlier reasoning out once a further message follows, move system messages
//! to the front, or do so only in the ninth turn. So it is proven from the template's syntax (`proof.rs`), and what was proven is then
//! tried (`trial.rs`). A template that is not understood to its end has no framing.

use serde_json::Value;

use self::proof::{After, Proven};
use self::symbols::Kind;
use crate::cuts::Cuts;

mod ahead;
mod frame;
mod paths;
mod proof;
mod queries;
mod symbols;
mod syntax;
pub(super) mod trial;
mod values;

/// What messages add to a template's text.
#[derive(Debug)]
pub(crate) struct Framing {
    proven: Proven,
}

/// A message that has nothing but what frames are made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain<'m> {
    kind: Kind,
    content: &'m str,
}

impl<'m> Plain<'m> {
    /// Of a role and a content, the only fields of a message.
    pub(crate) fn of(role: &str, content: &'m str) -> Option<Self> {
        let kind = match role {
            "system" => Kind::System,
            "user" => Kind::User,
            "assistant" => Kind::Assistant,
            _ => return None,
        };
        Some(Self { kind, content })
    }

    /// Whether the assistant said it.
    pub(crate) fn is_assistants(self) -> bool {
        self.kind.role() == "assistant"
    }

    /// Of a normalised message.
    pub(crate) fn read(message: &'m Value) -> Option<Self> {
        let message = message.as_object()?;
        let mut plain = Self::of(message.get("role")?.as_str()?, message.get("content")?.as_str()?)?;
        for (key, value) in message {
            match key.as_str() {
                "role" | "content" | "name" => {}
                "reasoning" | "reasoning_content" if plain.kind != Kind::User && value.is_string() => {}
                _ => return None,
            }
        }
        let reasons = ["reasoning", "reasoning_content"].map(|key| message.contains_key(key));
        match (plain.kind, reasons) {
            (_, [false, false]) => {}
            (Kind::Assistant, [true, true]) => plain.kind = Kind::Reasoned,
            // As SGLang has it.
            (Kind::Assistant, [false, true]) => plain.kind = Kind::ReasonedContent,
            _ => return None,
        }
        Some(plain)
    }
}

impl Framing {
    /// The framing of a template whose messages have texts, if it has one and the tokenizer's texts may be cut where messages begin.
    ///
    /// # Errors
    /// Why it has none.
    pub(crate) fn of(source: &str, cuts: &Cuts) -> Result<Self, String> {
        let mut proven = proof::prove(source).map_err(|refusal| refusal.0)?;
        let begins_with_a_token = |frame: &frame::Frame| {
            frame.ways.iter().all(|way| match way.pieces.first() {
                Some(frame::Piece::Literal(literal)) => cuts.is_at(literal.as_bytes()),
                _ => false,
            })
        };
        proven.frames.retain(|(_, frame)| begins_with_a_token(frame));
        let framing = Self { proven };
        for kind in [Kind::User, Kind::Assistant] {
            if framing.frame(kind).is_none() {
                return Err(format!("messages of role {} do not begin with an added token", kind.role()));
            }
        }
        Ok(framing)
    }

    fn frame(&self, kind: Kind) -> Option<&frame::Frame> {
        self.proven.frames.iter().find(|(known, _)| *known == kind).map(|(_, frame)| frame)
    }

    /// Appends a message. `false`, with nothing appended, if its kind has no frame.
    pub(crate) fn push(&self, text: &mut String, message: Plain<'_>) -> bool {
        let frame = self.frame(message.kind);
        frame.inspect(|frame| frame.push(text, message.content)).is_some()
    }

    /// `text` without the message at its end. `None` if it has no frame, or does not stand there.
    pub(crate) fn strip<'t>(&self, text: &'t str, message: Plain<'_>) -> Option<&'t str> {
        let mut added = String::with_capacity(message.content.len() + 64);
        self.push(&mut added, message).then(|| text.strip_suffix(added.as_str()))?
    }

    /// Whether messages may be appended behind this one, the `count`th.
    pub(crate) fn goes_on_after(&self, message: Option<Plain<'_>>, count: usize) -> bool {
        match (self.proven.after, message.map(|message| message.kind)) {
            (After::Any, _) | (After::User { .. }, Some(Kind::User)) => true,
            (After::User { first_system }, Some(Kind::System)) => first_system && count == 1,
            (After::User { .. }, _) => false,
        }
    }

    /// Whether conversations that end with this message are spoken of; without one, with any.
    pub(crate) fn may_end(&self, message: Option<Plain<'_>>) -> bool {
        let Some(queries) = &self.proven.query else { return true };
        message.is_some_and(|message| {
            message.kind == Kind::User && queries.iter().any(|tests| frame::holds(tests, message.content))
        })
    }
}

#[cfg(test)]
mod tests;
