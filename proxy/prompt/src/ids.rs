//! A prompt as token ids, and which part of one the engine keeps.

use crate::body::{Body, Field};
use crate::error::BodyError;
use crate::media::Medium;

/// The token ids of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptIds {
    /// In order, exactly as the engine has them.
    pub ids: Vec<u32>,
    /// Whether these are only the beginning: what follows (an image, audio, embeddings) cannot be known here.
    pub truncated: bool,
    /// What stands for images and the like among them, in order. Where that is not known, `ids` end before.
    pub media: Vec<Medium>,
}

impl PromptIds {
    /// Of text alone, whole or the beginning of a prompt.
    pub fn of_text(ids: Vec<u32>, truncated: bool) -> Self {
        Self { ids, truncated, media: Vec::new() }
    }
}

/// vLLM's `truncate_prompt_tokens`: which part of a prompt the engine keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    All,
    First(usize),
    Last(usize),
}

impl Keep {
    pub(crate) fn parse(body: &Body) -> Result<Self, BodyError> {
        let Some(truncate) = body.get(Field::TruncatePromptTokens) else { return Ok(Self::All) };
        // -1 stands for the model's maximum, beyond which the engine refuses anyway.
        let Ok(tokens @ 1..) = usize::try_from(truncate.integer()?) else {
            return Ok(Self::All);
        };
        match body.get(Field::TruncationSide) {
            None => Ok(Self::Last(tokens)),
            Some(side) if side.bytes() == b"\"left\"" => Ok(Self::Last(tokens)),
            Some(side) if side.bytes() == b"\"right\"" => Ok(Self::First(tokens)),
            Some(side) => Err(side.wrong_type("'left' or 'right'")),
        }
    }

    pub(crate) fn apply(self, mut prompt: PromptIds) -> PromptIds {
        match self {
            Self::First(tokens) => prompt.ids.truncate(tokens),
            // Of a prompt whose end is unknown nothing can be said.
            Self::Last(_) if prompt.truncated => prompt.ids.clear(),
            // Nor of one whose media lie elsewhere then.
            Self::Last(tokens) if !prompt.media.is_empty() && prompt.ids.len() > tokens => {
                prompt = PromptIds::of_text(Vec::new(), true);
            }
            Self::Last(tokens) => {
                prompt.ids.drain(..prompt.ids.len().saturating_sub(tokens));
            }
            Self::All => {}
        }
        prompt
    }
}
