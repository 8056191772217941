//! A pool's policy as the config names it: what it is, and bringing it into force at the start.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rankwise_policy_host::{Compiled, PoolInfo, digest};
use serde_json::{Value, json};

use super::built_in::BuiltIn;
use super::journal::{Author, Cause};
use super::lane::{Change, PoolPolicies};
use super::store::{PolicyStore, StoreError};
use crate::config::{PolicyChoice, PolicySource};

/// A policy of the config, its component read if it stands in a file.
pub(super) struct Entry<'a> {
    choice: &'a PolicyChoice,
    /// Of the component; SHA-256, hex.
    digest: String,
    wasm: Vec<u8>,
}

impl<'a> Entry<'a> {
    /// Reads what the config names.
    fn read(choice: &'a PolicyChoice, bytes_max: usize) -> anyhow::Result<Self> {
        match &choice.source {
            PolicySource::BuiltIn(policy) => {
                Ok(Self { choice, digest: digest(BuiltIn::from(*policy).wasm), wasm: Vec::new() })
            }
            PolicySource::File(path) => {
                let wasm =
                    crate::file_watch::read(path, bytes_max).with_context(|| path.display().to_string())?;
                Ok(Self::of_file(choice, wasm))
            }
            PolicySource::Kept => {
                let digest = choice.digest.as_ref().map(|digest| digest.hex().to_owned());
                Ok(Self { choice, digest: digest.unwrap_or_default(), wasm: Vec::new() })
            }
        }
    }

    /// With this content of the file.
    pub(super) fn of_file(choice: &'a PolicyChoice, wasm: Vec<u8>) -> Self {
        Self { choice, digest: digest(&wasm), wasm }
    }

    /// What tells this entry from another: what is kept holds as long as it is the same.
    pub(super) fn fingerprint(&self) -> String {
        let source = match &self.choice.source {
            PolicySource::BuiltIn(policy) => policy.name().to_owned(),
            PolicySource::File(path) => format!("{} {}", path.display(), self.digest),
            PolicySource::Kept => self.digest.clone(),
        };
        let pinned = self.choice.digest.as_ref().map(ToString::to_string);
        let entry = json!([source, pinned, self.choice.settings_json, self.choice.fallback.name()]);
        digest(entry.to_string().as_bytes())
    }

    /// Its name.
    pub(super) fn name(&self) -> String {
        match &self.choice.source {
            PolicySource::BuiltIn(policy) => policy.name().to_owned(),
            PolicySource::File(path) => file_name(path),
            PolicySource::Kept => format!("sha256:{}", self.digest),
        }
    }

    /// Checks it against the digest that the config pins, and compiles it. Blocks.
    pub(super) fn compile(&self, store: &PolicyStore) -> Result<Arc<Compiled>, StoreError> {
        if let Some(wanted) = self.choice.digest.as_ref().filter(|wanted| wanted.hex() != self.digest) {
            return Err(StoreError::Digest {
                policy: self.name(),
                found: self.digest.clone(),
                wanted: wanted.hex().to_owned(),
            });
        }
        match &self.choice.source {
            PolicySource::BuiltIn(policy) => store.find(policy.name()),
            PolicySource::Kept => store.find(&self.digest),
            PolicySource::File(path) => {
                let author = Author { who: Some("file".into()), reason: Some(path.display().to_string()) };
                let upload = store.add(&self.name(), &self.wasm, author)?;
                store.find(&upload.about.digest)
            }
        }
    }

    /// Its settings.
    pub(super) fn settings(&self) -> Value {
        serde_json::from_str(&self.choice.settings_json).unwrap_or_default()
    }

    /// What comes with its activation.
    pub(super) fn change(&self, cause: Cause) -> Change {
        Change { fallback: Some(self.choice.fallback), cause, author: Author::default() }
    }
}

/// What a component in a file is called.
fn file_name(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Brings a pool's policy into force: what is kept, if the config's entry is still the one it was activated under, else
/// that entry. Blocks.
///
/// # Errors
/// When the entry does not fit. What is kept and does not fit any more is said in the log.
pub fn activate_at_start(
    policies: &PoolPolicies,
    info: &PoolInfo,
    choice: &PolicyChoice,
    store: &PolicyStore,
) -> anyhow::Result<()> {
    let entry = Entry::read(choice, store.host().config().component_bytes_max)?;
    policies.set_entry(&entry.fingerprint());
    match activate_kept(policies, info, store) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(error) => tracing::error!(%error, "state_dir: ignored, the config's policy is activated"),
    }
    let compiled = entry.compile(store)?;
    policies.activate(&compiled, info, &entry.settings(), entry.change(Cause::Config))?;
    Ok(())
}

/// Whether something is kept, and now in force.
fn activate_kept(policies: &PoolPolicies, info: &PoolInfo, store: &PolicyStore) -> anyhow::Result<bool> {
    let Some(kept) = policies.kept()? else { return Ok(false) };
    let compiled = store.find_kept(&kept.name, &kept.digest)?;
    let change = Change { fallback: Some(kept.fallback), cause: Cause::Kept, author: kept.author };
    policies.activate(&compiled, info, &kept.settings, change)?;
    Ok(true)
}
