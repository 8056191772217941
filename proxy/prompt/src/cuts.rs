//! Where a text may be cut so that its parts, encoded apart, give the ids of the whole.
//!
//! An added token (`<|im_start|>`) is taken out of a text before anything else happens to it, and what stands on either side is normalised, split
//! and merged apart. So a text may be cut where an added token begins, unless the tokenizer looks across such places:
//!
//! * added tokens that take white space beside them (`lstrip`, `rstrip`) or ask what stands beside them (`single_word`);
//! * `Metaspace` that treats the first part differently (`prepend_scheme: first`);
//! * BPE dropout, which gives other ids each time;
//! * added tokens that can overlap in a text, so that which one is taken depends on what comes before.
//!
//! A tokenizer that does any of this is not cut, and its prompts are encoded whole. One that does not is tried on texts first.

use memchr::{memchr_iter, memchr2_iter, memchr3_iter};
use serde_json::Value;

/// The added tokens of a tokenizer that may be cut at.
#[derive(Debug)]
pub(crate) struct Cuts {
    /// The bytes that they begin with.
    first: Vec<u8>,
    /// Longest first.
    tokens: Vec<Box<[u8]>>,
}

/// More bytes that an added token may begin with make looking for them slow.
const FIRST_BYTES_MAX: usize = 3;

impl Cuts {
    /// From a `tokenizer.json`.
    ///
    /// # Errors
    /// Why its texts must not be cut.
    pub(crate) fn new(json: &Value) -> Result<Self, String> {
        let added = json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
        let mut tokens = Vec::with_capacity(added.len());
        for token in added {
            let content = token["content"].as_str().unwrap_or_default();
            for flag in ["lstrip", "rstrip", "single_word"] {
                if token[flag] == true {
                    return Err(format!("added token {content:?}: {flag}"));
                }
            }
            if !content.is_empty() {
                tokens.push(content.as_bytes().into());
            }
        }
        if tokens.is_empty() {
            return Err("no added tokens".to_owned());
        }
        if json["model"]["dropout"].as_f64().is_some_and(|dropout| dropout > 0.0) {
            return Err("dropout".to_owned());
        }
        if has_metaspace_first(&json["pre_tokenizer"]) {
            return Err("metaspace treats the first part differently".to_owned());
        }
        Self::of(tokens)
    }

    fn of(mut tokens: Vec<Box<[u8]>>) -> Result<Self, String> {
        let mut first: Vec<u8> = tokens.iter().map(|token| token[0]).collect();
        first.sort_unstable();
        first.dedup();
        if first.len() > FIRST_BYTES_MAX {
            return Err(format!("added tokens begin with {} different bytes", first.len()));
        }
        tokens.sort_unstable_by(|left, right| right.len().cmp(&left.len()).then_with(|| left.cmp(right)));
        for token in &tokens {
            for inside in 1..token.len() {
                let rest = &token[inside..];
                let meets = |other: &[u8]| rest.starts_with(other) || other.starts_with(rest);
                if first.contains(&rest[0]) && tokens.iter().any(|other| meets(other)) {
                    return Err(format!(
                        "added token {:?} may overlap others",
                        String::from_utf8_lossy(token)
                    ));
                }
            }
        }
        Ok(Self { first, tokens })
    }

    /// The places in `text` where an added token begins, in order.
    pub(crate) fn places<'a>(&'a self, text: &'a str) -> impl Iterator<Item = usize> + 'a {
        let bytes = text.as_bytes();
        let candidates: Box<dyn Iterator<Item = usize> + 'a> = match *self.first {
            [a] => Box::new(memchr_iter(a, bytes)),
            [a, b] => Box::new(memchr2_iter(a, b, bytes)),
            [a, b, c] => Box::new(memchr3_iter(a, b, c, bytes)),
            // Excluded when it was made.
            _ => Box::new(std::iter::empty()),
        };
        candidates.filter(|at| self.is_at(&bytes[*at..]))
    }

    /// Whether `text` begins with an added token.
    pub(crate) fn is_at(&self, text: &[u8]) -> bool {
        self.tokens.iter().any(|token| text.starts_with(token))
    }
}

fn has_metaspace_first(pre_tokenizer: &Value) -> bool {
    match pre_tokenizer["type"].as_str() {
        Some("Metaspace") => pre_tokenizer["prepend_scheme"] == "first",
        Some("Sequence") => {
            pre_tokenizer["pretokenizers"].as_array().into_iter().flatten().any(has_metaspace_first)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
