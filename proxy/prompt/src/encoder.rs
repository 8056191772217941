//! Text to token ids: the fastest encoder that proved itself equal to the reference when it was loaded.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use rankwise_core::hash::HashKey;
use serde_json::Value;

use crate::cuts::Cuts;
use crate::error::{BodyError, LoadError};

mod one_thread;
mod proven;
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
    cuts: Result<Cuts, String>,
    /// What the post-processor puts before a text (BOS), if that is all it does.
    prefix: Option<Vec<u32>>,
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
        let digest = HashKey::new([0; 32]).bytes_wide(&bytes);
        drop(bytes);
        // As transformers does when it encodes: what the file says of these is a leftover of training.
        reference.with_padding(None);
        reference.with_truncation(None).map_err(|error| LoadError::Tokenizer(error.to_string()))?;

        let cuts = Cuts::new(&json);
        let texts = self_test::texts(&added_tokens(&json));
        let (fast, reason) = match preference {
            EncoderPreference::Reference => (None, "asked for".to_owned()),
            EncoderPreference::Fastest => match load_fast(json, &reference, &texts, digest) {
                Ok((fast, reason)) => (Some(fast), reason),
                Err(reason) => (None, reason),
            },
        };
        let kind = if fast.is_some() { EncoderKind::Fastokens } else { EncoderKind::Reference };
        let choice = EncoderChoice { kind, reason };
        let mut encoder = Self { reference, fast, choice, cuts, prefix: None };
        encoder.prove_cuts(&texts, digest);
        Ok(encoder)
    }

    /// Finds the prefix, and gives up cutting or the prefix where a text shows that they do not hold.
    fn prove_cuts(&mut self, texts: &[String], digest: u128) {
        self.prefix = self.encode("", true).ok();
        let Ok(cuts) = &self.cuts else { return };
        if proven::has(digest, proven::Proof::Cuts) {
            return;
        }
        for text in texts {
            let whole = encode_reference(&self.reference, text, false)
                .map_err(|message| BodyError::Tokenizer { message });
            let mut places: Vec<usize> = cuts.places(text).collect();
            places.push(text.len());
            let mut from = 0;
            let mut parts = Ok(Vec::new());
            for to in places {
                if let Ok(ids) = &mut parts {
                    match self.encode(&text[from..to], false) {
                        Ok(more) => ids.extend(more),
                        Err(error) => parts = Err(error),
                    }
                }
                from = to;
            }
            if parts != whole {
                let start: String = text.chars().take(40).collect();
                self.cuts = Err(format!("parts give other ids than the whole for {start:?}"));
                return;
            }
            if let (Some(prefix), Ok(whole)) = (&self.prefix, whole) {
                let added = encode_reference(&self.reference, text, true);
                if added.is_ok_and(|added| added.strip_prefix(prefix.as_slice()) != Some(&whole)) {
                    self.prefix = None;
                }
            }
        }
        if self.prefix.is_some() {
            proven::remember(digest, proven::Proof::Cuts);
        }
    }

    /// Where texts may be cut, or why they must not be.
    pub(crate) fn cuts(&self) -> Result<&Cuts, &str> {
        self.cuts.as_ref().map_err(String::as_str)
    }

    /// The ids before the first part of a text that is encoded in parts. `None`: it has to be encoded whole.
    pub(crate) fn prefix(&self, add_special_tokens: bool) -> Option<&[u32]> {
        if add_special_tokens { self.prefix.as_deref() } else { Some(&[]) }
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

fn added_tokens(json: &Value) -> Vec<String> {
    let tokens = json["added_tokens"].as_array().into_iter().flatten();
    tokens.filter_map(|token| Some(token["content"].as_str()?.to_owned())).collect()
}

/// Loads and proves fastokens, or says why not.
fn load_fast(
    json: Value,
    reference: &tokenizers::Tokenizer,
    texts: &[String],
    digest: u128,
) -> Result<(Fast, String), String> {
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
    let fast = |tokenizer| Fast { tokenizer, broken: AtomicBool::new(false) };
    if proven::has(digest, proven::Proof::Fastokens) {
        return Ok((fast(tokenizer), "proven before on the same file".to_owned()));
    }
    for text in texts {
        for add_special_tokens in [false, true] {
            let ids = match encode_fast(&tokenizer, text, add_special_tokens) {
                Ok(ids) => ids,
                Err(Failure::Error(error)) => return Err(format!("fastokens: {error}")),
                Err(Failure::Panic) => return Err("fastokens: panicked in the self-test".to_owned()),
            };
            let right = encode_reference(reference, text, add_special_tokens)
                .map_err(|error| format!("tokenizers: {error}"))?;
            if ids != right {
                let start: String = text.chars().take(40).collect();
                return Err(format!("fastokens: other ids than tokenizers for {start:?}"));
            }
        }
    }
    proven::remember(digest, proven::Proof::Fastokens);
    Ok((fast(tokenizer), format!("{} texts encoded as by tokenizers", texts.len())))
}

#[cfg(test)]
mod tests;
