//! Text to token ids: the fastest encoder that proved itself equal to the reference when it was loaded.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::error::{BodyError, LoadError};

mod one_thread;
mod self_test;

/// Which implementation encodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderKind {
    /// `fastokens`: 40 to 200 times as fast as the reference, for byte-level BPE only.
    Fastokens,
    /// Hugging Face `tokenizers`, which defines what is right.
    Reference,
}

impl fmt::Display for EncoderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fastokens => "fastokens",
            Self::Reference => "tokenizers",
        })
    }
}

/// Which encoder was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderChoice {
    /// The one in use.
    pub kind: EncoderKind,
    /// For the log: what the self-test found, or what it was that failed.
    pub reason: String,
}

/// Which encoder to try first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncoderPreference {
    /// The fastest that passes the self-test.
    #[default]
    Fastest,
    /// The reference, whatever its speed.
    Reference,
}

pub(crate) struct Encoder {
    reference: tokenizers::Tokenizer,
    fast: Option<Fast>,
    choice: EncoderChoice,
}

struct Fast {
    tokenizer: fastokens::Tokenizer,
    /// It panicked once: what it keeps between calls is not to be trusted any more.
    broken: AtomicBool,
}

impl Encoder {
    /// Loads `json` (a `tokenizer.json`). Costs seconds of CPU for a large vocabulary.
    pub(crate) fn load(json: Value, preference: EncoderPreference) -> Result<Self, LoadError> {
        let bytes = serde_json::to_vec(&json).map_err(|error| LoadError::Tokenizer(error.to_string()))?;
        let mut reference = tokenizers::Tokenizer::from_bytes(&bytes)
            .map_err(|error| LoadError::Tokenizer(error.to_string()))?;
        drop(bytes);
        // As transformers does when it encodes: what the file says of these is a leftover of training.
        reference.with_padding(None);
        reference.with_truncation(None).map_err(|error| LoadError::Tokenizer(error.to_string()))?;

        let (fast, reason) = match preference {
            EncoderPreference::Reference => (None, "asked for".to_owned()),
            EncoderPreference::Fastest => match load_fast(json, &reference) {
                Ok((fast, reason)) => (Some(fast), reason),
                Err(reason) => (None, reason),
            },
        };
        let kind = if fast.is_some() { EncoderKind::Fastokens } else { EncoderKind::Reference };
        Ok(Self { reference, fast, choice: EncoderChoice { kind, reason } })
    }

    /// The encoder in use; changes once if the fast one panics.
    pub(crate) fn choice(&self) -> EncoderChoice {
        match &self.fast {
            Some(fast) if fast.broken.load(Ordering::Relaxed) => EncoderChoice {
                kind: EncoderKind::Reference,
                reason: "fastokens: panicked on a prompt".to_owned(),
            },
            _ => self.choice.clone(),
        }
    }

    /// The ids of `text`; the text of special tokens becomes these tokens, as in the engines. `add_special_tokens`: with what the
    /// tokenizer's post-processor puts around a text (BOS).
    pub(crate) fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, BodyError> {
        if let Some(fast) = self.fast.as_ref().filter(|fast| !fast.broken.load(Ordering::Relaxed)) {
            match encode_fast(&fast.tokenizer, text, add_special_tokens) {
                Ok(ids) => return Ok(ids),
                Err(Failure::Error(error)) => tracing::debug!(error, "fastokens refused a prompt"),
                Err(Failure::Panic) => {
                    fast.broken.store(true, Ordering::Relaxed);
                    tracing::error!("fastokens panicked on a prompt: encoding with tokenizers from here on");
                }
            }
        }
        encode_reference(&self.reference, text, add_special_tokens)
            .map_err(|message| BodyError::Tokenizer { message })
    }
}

enum Failure {
    Error(String),
    Panic,
}

fn encode_fast(
    tokenizer: &fastokens::Tokenizer,
    text: &str,
    add_special_tokens: bool,
) -> Result<Vec<u32>, Failure> {
    catch_unwind(AssertUnwindSafe(|| tokenizer.encode_with_special_tokens(text, add_special_tokens)))
        .map_err(|_| Failure::Panic)?
        .map_err(|error| Failure::Error(error.to_string()))
}

fn encode_reference(
    tokenizer: &tokenizers::Tokenizer,
    text: &str,
    add_special_tokens: bool,
) -> Result<Vec<u32>, String> {
    catch_unwind(AssertUnwindSafe(|| tokenizer.encode_fast(text, add_special_tokens)))
        .map_err(|_| "panicked".to_owned())?
        .map(|encoding| encoding.get_ids().to_vec())
        .map_err(|error| error.to_string())
}

/// Loads and proves fastokens, or says why not.
fn load_fast(json: Value, reference: &tokenizers::Tokenizer) -> Result<(Fast, String), String> {
    let special: Vec<String> = json["added_tokens"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|token| Some(token["content"].as_str()?.to_owned()))
        .collect();
    let loaded = one_thread::run(move || {
        catch_unwind(AssertUnwindSafe(|| {
            let mut tokenizer = fastokens::Tokenizer::from_json(json)?;
            tokenizer.set_padding(None);
            tokenizer.set_truncation(None);
            // The first encode decides how many threads the process ever uses for this.
            tokenizer.encode_batch(&["a", "b"], false)?;
            Ok::<_, fastokens::Error>(tokenizer)
        }))
    });
    let tokenizer = match loaded {
        Some(Ok(Ok(tokenizer))) => tokenizer,
        Some(Ok(Err(error))) => return Err(format!("fastokens: {error}")),
        Some(Err(_)) | None => return Err("fastokens: panicked when loading".to_owned()),
    };
    let texts = self_test::texts(&special);
    for text in &texts {
        for add_special_tokens in [false, true] {
            let fast = match encode_fast(&tokenizer, text, add_special_tokens) {
                Ok(ids) => ids,
                Err(Failure::Error(error)) => return Err(format!("fastokens: {error}")),
                Err(Failure::Panic) => return Err("fastokens: panicked in the self-test".to_owned()),
            };
            let right = encode_reference(reference, text, add_special_tokens)
                .map_err(|error| format!("tokenizers: {error}"))?;
            if fast != right {
                let start: String = text.chars().take(40).collect();
                return Err(format!("fastokens: other ids than tokenizers for {start:?}"));
            }
        }
    }
    let reason = format!("{} texts encoded as by tokenizers", texts.len());
    Ok((Fast { tokenizer, broken: AtomicBool::new(false) }, reason))
}

#[cfg(test)]
mod tests;
