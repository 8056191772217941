//! From a body to its prompt: ids, and the hashes of its blocks.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::body::{Body, Field, Raw};
use crate::cache::PromptCache;
use crate::chat;
use crate::completion::{self, Prompt};
use crate::encoder::{Encoder, EncoderChoice, EncoderKind, EncoderPreference};
use crate::error::{BodyError, LoadError};
use crate::files::{Config, TokenizerFiles};
use crate::hashing::{Hashing, PromptHashes, block_hashes};
use crate::ids::{Keep, PromptIds};
use crate::template::{Conversation, Template};

mod endings;
mod reuse;

/// A model's tokenizer and chat template. Shared between threads; encoding takes `&self` and starts no threads.
pub struct PromptEncoder {
    encoder: Encoder,
    template: Template,
    endings: endings::Endings,
    /// Tells its entries in a cache from those of other encoders of the process.
    id: u64,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl std::fmt::Debug for PromptEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PromptEncoder").field("encoder", &self.encoder.choice()).finish_non_exhaustive()
    }
}

impl PromptEncoder {
    /// Loads a folder with `tokenizer.json` and, for chats, `tokenizer_config.json` and possibly `chat_template.jinja`. Takes seconds
    /// of CPU for a large vocabulary, part of it on a thread of its own.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        Self::from_files(&TokenizerFiles::read(folder)?, EncoderPreference::Fastest)
    }

    /// [`PromptEncoder::load`] from contents, with a choice of encoder.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn from_files(files: &TokenizerFiles, preference: EncoderPreference) -> Result<Self, LoadError> {
        let config = Config::parse(files)?;
        let encoder = Encoder::load(config.complete(&files.tokenizer)?, preference)?;
        let template = Template::new(config, encoder.cuts().ok())?;
        Ok(Self {
            encoder,
            template,
            endings: endings::Endings::default(),
            id: NEXT_ID.fetch_add(1, Relaxed),
        })
    }

    /// The encoder in use, and why.
    pub fn encoder(&self) -> EncoderChoice {
        self.encoder.choice()
    }

    /// How far beginnings of prompts can be remembered.
    pub fn reuse(&self) -> Reuse<'_> {
        match self.encoder.cuts() {
            Err(reason) => Reuse::None { reason },
            Ok(_) => match self.template.framing(false) {
                Ok(_) => Reuse::Bodies,
                Err(reason) => Reuse::Texts { reason },
            },
        }
    }

    /// About how many bytes of text it encodes in half a millisecond: more is better not done between two requests.
    pub fn bytes_in_passing(&self) -> usize {
        match self.encoder.choice().kind {
            EncoderKind::Fastokens => 64 << 10,
            EncoderKind::Reference => 512,
        }
    }

    /// The prompt of `body` as token ids; with several prompts, the first's.
    ///
    /// # Errors
    /// A [`BodyError`]; see [`BodyError::is_client_fault`].
    pub fn token_ids(&self, body: &Body) -> Result<PromptIds, BodyError> {
        match self.read(body)? {
            Source::Ids(prompt) => Ok(prompt),
            Source::Text(text) => self.encode(&text),
        }
    }

    /// The prompt of `body` as block hashes. What `cache` knows of it is not computed again; the result is the same.
    ///
    /// # Errors
    /// A [`BodyError`]; see [`BodyError::is_client_fault`].
    pub fn block_hashes(
        &self,
        body: &Body,
        hashing: Hashing<'_>,
        cache: &PromptCache,
    ) -> Result<PromptHashes, BodyError> {
        if let Some(hashes) = self.continue_body(body, hashing, cache)? {
            return Ok(hashes);
        }
        match self.read(body)? {
            Source::Ids(prompt) => Ok(block_hashes(&prompt, cache.key(), hashing)),
            Source::Text(text) => match self.continue_text(body, &text, hashing, cache)? {
                Some(hashes) => Ok(hashes),
                None => Ok(block_hashes(&self.encode(&text)?, cache.key(), hashing)),
            },
        }
    }

    fn encode(&self, text: &TextPrompt) -> Result<PromptIds, BodyError> {
        let ids = self.encoder.encode(&text.text, text.add_special_tokens)?;
        Ok(text.keep.apply(PromptIds::of_text(ids, text.truncated)))
    }

    fn read(&self, body: &Body) -> Result<Source, BodyError> {
        if let Some(given) = body.given_token_ids()? {
            return Ok(Source::Ids(given));
        }
        if body.has_messages() {
            let request = chat::Request::parse(body, &self.template)?;
            let rendered = self.template.render(&request.conversation)?;
            return Ok(Source::Text(TextPrompt {
                text: rendered.text,
                truncated: rendered.truncated,
                add_special_tokens: request.add_special_tokens,
                keep: request.keep,
                conversation: Some(Box::new(request.conversation)),
            }));
        }
        let keep = Keep::parse(body)?;
        let Some(prompt) = body.prompt_field() else {
            return match body.is_embedded() {
                true => Ok(Source::Ids(PromptIds::of_text(Vec::new(), true))),
                false => Err(BodyError::Missing { field: "prompt".to_owned() }),
            };
        };
        Ok(match completion::prompts(prompt)?.first {
            Prompt::Ids(ids) => Source::Ids(keep.apply(PromptIds::of_text(ids, false))),
            Prompt::Text(text) => Source::Text(TextPrompt {
                text,
                truncated: false,
                add_special_tokens: body.get(Field::AddSpecialTokens).map_or(Ok(true), Raw::boolean)?,
                keep,
                conversation: None,
            }),
        })
    }
}

/// How far beginnings of prompts can be remembered for a tokenizer and template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse<'a> {
    /// Beginnings of bodies, which are then neither parsed nor rendered.
    Bodies,
    /// Beginnings of rendered texts: the template's text may change when messages are appended.
    Texts {
        /// What stands against more.
        reason: &'a str,
    },
    /// None: parts of a text would not give the ids of the whole.
    None {
        /// What stands against it.
        reason: &'a str,
    },
}

impl Reuse<'_> {
    /// For metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bodies => "bodies",
            Self::Texts { .. } => "texts",
            Self::None { .. } => "none",
        }
    }
}

/// A prompt before it is encoded.
enum Source {
    Ids(PromptIds),
    Text(TextPrompt),
}

struct TextPrompt {
    text: String,
    truncated: bool,
    add_special_tokens: bool,
    keep: Keep,
    /// What a chat was rendered from.
    conversation: Option<Box<Conversation>>,
}

#[cfg(test)]
mod tests;
