//! From a body to its prompt: ids, and the hashes of its blocks.

use std::path::Path;

use rankwise_core::hash::{BlockHash, HashKey};
use rankwise_core::ids::BlockSize;

use crate::api::Api;
use crate::body::{boolean, fields, integer, wrong_type};
use crate::chat;
use crate::completion::{self, Prompt};
use crate::encoder::{Encoder, EncoderChoice, EncoderPreference};
use crate::error::{BodyError, LoadError};
use crate::files::{Config, TokenizerFiles};
use crate::template::Template;

/// The token ids of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptIds {
    /// In order, exactly as the engine has them.
    pub ids: Vec<u32>,
    /// Whether these are only the beginning: what follows (an image, audio, embeddings) cannot be known here.
    pub truncated: bool,
}

/// The block hashes of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptHashes {
    /// Tokens in the prompt (in what is known of it, if `truncated`).
    pub tokens: u32,
    /// See [`PromptIds::truncated`].
    pub truncated: bool,
    /// The hashes of its whole blocks, a list for each block size asked for.
    pub blocks: Vec<Vec<BlockHash>>,
}

/// A model's tokenizer and chat template. Shared between threads; encoding takes `&self` and starts no threads.
pub struct PromptEncoder {
    encoder: Encoder,
    template: Template,
}

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
        let template = Template::new(config)?;
        Ok(Self { encoder, template })
    }

    /// The encoder in use, and why.
    pub fn encoder(&self) -> EncoderChoice {
        self.encoder.choice()
    }

    /// The prompt of `body` as token ids; with several prompts, the first's.
    ///
    /// # Errors
    /// A [`BodyError`]; see [`BodyError::is_client_fault`].
    pub fn token_ids(&self, api: Api, body: &[u8]) -> Result<PromptIds, BodyError> {
        match api {
            Api::ChatCompletions => self.chat_ids(body),
            Api::Completions => self.completion_ids(body),
        }
    }

    /// The prompt of `body` as block hashes, for each of `sizes`.
    ///
    /// # Errors
    /// A [`BodyError`]; see [`BodyError::is_client_fault`].
    pub fn block_hashes(
        &self,
        api: Api,
        body: &[u8],
        key: &HashKey,
        sizes: &[BlockSize],
    ) -> Result<PromptHashes, BodyError> {
        let prompt = self.token_ids(api, body)?;
        Ok(block_hashes(&prompt, key, sizes))
    }

    fn chat_ids(&self, body: &[u8]) -> Result<PromptIds, BodyError> {
        let request = chat::Request::parse(body, &self.template)?;
        let rendered = self.template.render(&request)?;
        let ids = self.encoder.encode(&rendered.text, request.add_special_tokens)?;
        Ok(request.keep.apply(PromptIds { ids, truncated: rendered.truncated }))
    }

    fn completion_ids(&self, body: &[u8]) -> Result<PromptIds, BodyError> {
        let [prompt, embeds, add_special_tokens, truncate, side] = fields(
            body,
            &["prompt", "prompt_embeds", "add_special_tokens", "truncate_prompt_tokens", "truncation_side"],
        )?;
        let keep = Keep::parse(truncate, side)?;
        let Some(prompt) = prompt else {
            return match embeds {
                Some(_) => Ok(PromptIds { ids: Vec::new(), truncated: true }),
                None => Err(BodyError::Missing { field: "prompt".to_owned() }),
            };
        };
        let ids = match completion::prompts(prompt)?.first {
            Prompt::Ids(ids) => ids,
            Prompt::Text(text) => {
                let add = add_special_tokens.map_or(Ok(true), |raw| boolean("add_special_tokens", raw))?;
                self.encoder.encode(&text, add)?
            }
        };
        Ok(keep.apply(PromptIds { ids, truncated: false }))
    }
}

/// The block hashes of `prompt`, for each of `sizes`.
pub fn block_hashes(prompt: &PromptIds, key: &HashKey, sizes: &[BlockSize]) -> PromptHashes {
    PromptHashes {
        tokens: u32::try_from(prompt.ids.len()).unwrap_or(u32::MAX),
        truncated: prompt.truncated,
        blocks: sizes.iter().map(|size| key.blocks(&prompt.ids, *size)).collect(),
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
    pub(crate) fn parse(
        truncate: Option<&serde_json::value::RawValue>,
        side: Option<&serde_json::value::RawValue>,
    ) -> Result<Self, BodyError> {
        let Some(truncate) = truncate else { return Ok(Self::All) };
        // -1 stands for the model's maximum, beyond which the engine refuses anyway.
        let Ok(tokens @ 1..) = usize::try_from(integer("truncate_prompt_tokens", truncate)?) else {
            return Ok(Self::All);
        };
        match side {
            None => Ok(Self::Last(tokens)),
            Some(side) if side.get() == "\"left\"" => Ok(Self::Last(tokens)),
            Some(side) if side.get() == "\"right\"" => Ok(Self::First(tokens)),
            Some(side) => Err(wrong_type("truncation_side", "'left' or 'right'", side)),
        }
    }

    pub(crate) fn apply(self, mut prompt: PromptIds) -> PromptIds {
        match self {
            Self::First(tokens) => prompt.ids.truncate(tokens),
            // Of a prompt whose end is unknown nothing can be said.
            Self::Last(_) if prompt.truncated => prompt.ids.clear(),
            Self::Last(tokens) => {
                prompt.ids.drain(..prompt.ids.len().saturating_sub(tokens));
            }
            Self::All => {}
        }
        prompt
    }
}

#[cfg(test)]
mod tests;
