//! What a worker answered, and what all engines answer alike.

use serde::Deserialize;

use crate::error::Error;

/// The bodies of a worker's 200 answers, by path. Any may be missing.
#[derive(Clone, Debug, Default)]
pub struct Answers<'a>(Vec<(&'static str, &'a [u8])>);

impl<'a> Answers<'a> {
    /// Notes one.
    #[must_use]
    pub fn with(mut self, path: &'static str, body: &'a [u8]) -> Self {
        self.0.push((path, body));
        self
    }

    /// The body that this path was answered with.
    pub fn get(&self, path: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(known, _)| *known == path).map(|(_, body)| *body)
    }
}

impl<'a> FromIterator<(&'static str, &'a [u8])> for Answers<'a> {
    fn from_iter<T: IntoIterator<Item = (&'static str, &'a [u8])>>(answers: T) -> Self {
        Self(answers.into_iter().collect())
    }
}

/// A model that the worker serves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ModelCard {
    /// What a request's `model` says.
    pub id: String,
    /// Where it was loaded from: for a LoRA adapter its path.
    #[serde(default)]
    pub root: Option<String>,
    /// Of a LoRA adapter, the model it adapts.
    #[serde(default)]
    pub parent: Option<String>,
    /// Longest prompt and output, tokens.
    #[serde(default)]
    pub max_model_len: Option<u32>,
}

/// Most models of one worker.
const MODELS_MAX: usize = 4096;

#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
}

/// The cards of `GET /v1/models`.
///
/// # Errors
/// If it is no such list.
pub(crate) fn models(body: &[u8]) -> Result<Vec<ModelCard>, Error> {
    let mut cards = serde_json::from_slice::<List<ModelCard>>(body)
        .map_err(|source| Error::Json { path: "/v1/models", source })?
        .data;
    cards.truncate(MODELS_MAX);
    Ok(cards)
}

/// Who owns the first model: most engines put their own name there.
pub(crate) fn owner(models: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Card {
        #[serde(default)]
        owned_by: String,
    }
    let list = serde_json::from_slice::<List<Card>>(models).ok()?;
    list.data.into_iter().next().map(|card| card.owned_by)
}

/// The `version` that an object tells, if it is a short text.
pub(crate) fn version(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Version {
        version: String,
    }
    let version = serde_json::from_slice::<Version>(body).ok()?.version;
    (version.len() <= 64).then_some(version)
}
