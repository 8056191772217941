//! Images and the like among token ids, as vLLM's own API names them: its prefix cache tells blocks apart by them, not by
//! the placeholders' ids.

use std::collections::BTreeMap;

use rankwise_core::hash::block_extra;
use serde::Deserialize;

use crate::api::Api;
use crate::body::{Body, Field};
use crate::error::BodyError;

/// What stands for an image, a video or audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Medium {
    /// The engine's name for its content.
    pub identifier: String,
    /// Its first token's place in the prompt.
    pub offset: usize,
    /// Its tokens.
    pub length: usize,
}

/// `MultiModalFeatures`, as far as blocks depend on it.
#[derive(Deserialize)]
struct Features {
    mm_hashes: BTreeMap<String, Vec<String>>,
    mm_placeholders: BTreeMap<String, Vec<Placeholder>>,
}

#[derive(Deserialize)]
struct Placeholder {
    offset: usize,
    length: usize,
}

/// The media of a body that brings its token ids, in order.
pub(crate) fn of(body: &Body) -> Result<Vec<Medium>, BodyError> {
    let Some(raw) = body.get(Field::Features).filter(|_| body.api() == Api::VllmGenerate) else {
        return Ok(Vec::new());
    };
    let Features { mm_hashes, mut mm_placeholders } = raw.parse()?;
    let mut media = Vec::new();
    for (modality, hashes) in mm_hashes {
        let places = mm_placeholders.remove(&modality).unwrap_or_default();
        if places.len() != hashes.len() {
            return Err(raw.invalid(format!("{modality}: expected a placeholder for each hash")));
        }
        let medium = |(identifier, Placeholder { offset, length })| Medium { identifier, offset, length };
        media.extend(hashes.into_iter().zip(places).map(medium));
    }
    media.sort_by_key(|medium| medium.offset);
    let overlap = |pair: &[Medium]| pair[0].offset.saturating_add(pair[0].length) > pair[1].offset;
    if !mm_placeholders.is_empty() || media.windows(2).any(overlap) {
        return Err(raw.invalid("placeholders overlap or have no hash".to_owned()));
    }
    Ok(media)
}

/// What besides its tokens tells a block apart that begins at `start` (vLLM's `_gen_mm_extra_hash_keys`).
pub(crate) fn extra(media: &[Medium], start: usize, tokens: usize) -> Vec<u8> {
    let end = |medium: &Medium| medium.offset.saturating_add(medium.length);
    let first = media.partition_point(|medium| end(medium) <= start);
    let touching = media[first..].iter().take_while(|medium| medium.offset < start + tokens);
    // Negative for one that began before; no prompt is that long.
    let place = |medium: &Medium| medium.offset as i64 - start as i64;
    let items: Vec<(&str, i64)> =
        touching.map(|medium| (medium.identifier.as_str(), place(medium))).collect();
    block_extra(&items, None)
}

#[cfg(test)]
mod tests;
