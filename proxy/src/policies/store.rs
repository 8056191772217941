//! The policies that can be activated: the built-in ones, and those uploaded, by digest.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use rankwise_policy_host::{Compiled, HostError, PolicyHost};

use super::built_in;
use super::journal::Author;
use super::state_dir::{KeptUpload, StateDir, StateError};
use crate::clock;

/// Compiles policies and keeps them. Compiling blocks: call it off the request threads.
pub struct PolicyStore {
    host: PolicyHost,
    uploads: Mutex<VecDeque<Upload>>,
    uploads_max: usize,
    state: Option<Arc<StateDir>>,
}

/// A policy that was uploaded, or read from a file.
#[derive(Clone, Debug)]
pub struct Upload {
    /// What it is, by whom and why.
    pub about: KeptUpload,
    /// `None`: kept from an earlier process, and not asked for yet.
    compiled: Option<Arc<Compiled>>,
}

/// Why a policy is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nobody uploaded it, and it is not part of the binary.
    #[error("no policy {0}: upload it, or name one of {names}", names = built_in::names())]
    Unknown(String),
    /// A name that is taken.
    #[error("{0} is the name of a policy that is part of the binary")]
    Reserved(String),
    /// Another component than the one that was asked for.
    #[error("policy {policy}: its digest is sha256:{found}, and only sha256:{wanted} is taken")]
    Digest {
        /// Its name.
        policy: String,
        /// The digest it has.
        found: String,
        /// The one it should have.
        wanted: String,
    },
    /// The component does not fit.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It was kept and cannot be read.
    #[error("state_dir: {0}")]
    State(#[from] StateError),
}

impl PolicyStore {
    /// Keeps at most so many uploads; the oldest that nobody uses goes first. With a state folder it begins with those
    /// that are kept there.
    pub fn new(host: PolicyHost, uploads_max: usize, state: Option<Arc<StateDir>>) -> Self {
        let kept = state.as_ref().map(|state| state.uploads()).unwrap_or_default();
        for upload in &kept {
            host.remember(&upload.name, &upload.digest, upload.number);
        }
        let uploads = kept.into_iter().map(|about| Upload { about, compiled: None }).collect();
        let store = Self { host, uploads: Mutex::new(uploads), uploads_max, state };
        store.make_room(uploads_max);
        store
    }

    /// The host that runs them.
    pub fn host(&self) -> &PolicyHost {
        &self.host
    }

    /// Where they outlive the process.
    pub fn state(&self) -> Option<&Arc<StateDir>> {
        self.state.as_ref()
    }

    /// Compiles a component and keeps it.
    ///
    /// # Errors
    /// When it does not fit, or its name is that of a built-in policy.
    pub fn add(&self, name: &str, wasm: &[u8], author: Author) -> Result<Upload, StoreError> {
        if built_in::ALL.iter().any(|policy| policy.name == name) {
            return Err(StoreError::Reserved(name.to_owned()));
        }
        let compiled = self.host.compile(name, wasm)?;
        let version = compiled.version().clone();
        let known = |upload: &Upload| upload.about.name == name && upload.about.digest == version.digest;
        let earlier = self.uploads.lock().iter().find(|upload| known(upload)).cloned();
        let about = earlier.map(|upload| upload.about).unwrap_or_else(|| KeptUpload {
            name: version.name.clone(),
            number: version.number,
            digest: version.digest.clone(),
            bytes: version.bytes,
            at_unix_ms: clock::unix_ms(),
            author,
        });
        if let Some(state) = &self.state
            && let Err(error) = state.keep_upload(&about, wasm)
        {
            tracing::error!(policy = %version, %error, "the upload will not outlive this process");
        }
        let upload = Upload { about, compiled: Some(compiled) };
        self.uploads.lock().retain(|upload| !known(upload));
        self.make_room(self.uploads_max.saturating_sub(1));
        self.uploads.lock().push_back(upload.clone());
        Ok(upload)
    }

    /// By name (its newest version), `name@version` or digest, compiled.
    ///
    /// # Errors
    /// When there is none, or it was kept and does not fit any more.
    pub fn find(&self, wanted: &str) -> Result<Arc<Compiled>, StoreError> {
        let wanted = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        let found = self.uploads.lock().iter().rev().find(|upload| upload.is(wanted)).cloned();
        if let Some(upload) = found {
            return self.compiled(&upload);
        }
        let plain = wanted.strip_suffix("@1").unwrap_or(wanted);
        let is_wanted = |policy: &&super::BuiltIn| {
            policy.name == plain || rankwise_policy_host::digest(policy.wasm) == wanted
        };
        if let Some(policy) = built_in::ALL.iter().find(is_wanted) {
            return Ok(self.host.compile(policy.name, policy.wasm)?);
        }
        Err(StoreError::Unknown(wanted.to_owned()))
    }

    /// The one that was activated under this name with this digest: also an upload that was deleted since, as long as a
    /// pool goes by it.
    ///
    /// # Errors
    /// When it is gone, or does not fit any more.
    pub fn find_kept(&self, name: &str, digest: &str) -> Result<Arc<Compiled>, StoreError> {
        match self.find(digest) {
            Err(StoreError::Unknown(_)) => {
                let state = self.state.as_ref().ok_or_else(|| StoreError::Unknown(digest.to_owned()))?;
                let wasm = state.component(digest, self.host.config().component_bytes_max)?;
                Ok(self.host.compile(name, &wasm)?)
            }
            found => found,
        }
    }

    /// Forgets an upload. One that is in force stays in force.
    ///
    /// # Errors
    /// When there is none with this digest, or it cannot be deleted.
    pub fn remove(&self, digest: &str) -> Result<(), StoreError> {
        let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
        let mut uploads = self.uploads.lock();
        let before = uploads.len();
        uploads.retain(|upload| upload.about.digest != digest);
        if uploads.len() == before {
            return Err(StoreError::Unknown(digest.to_owned()));
        }
        drop(uploads);
        Ok(self.state.as_ref().map_or(Ok(()), |state| state.forget_upload(digest))?)
    }

    /// Uploads, oldest first.
    pub fn uploads(&self) -> Vec<Upload> {
        self.uploads.lock().iter().cloned().collect()
    }

    fn compiled(&self, upload: &Upload) -> Result<Arc<Compiled>, StoreError> {
        if let Some(compiled) = &upload.compiled {
            return Ok(Arc::clone(compiled));
        }
        let about = &upload.about;
        let state = self.state.as_ref().ok_or_else(|| StoreError::Unknown(about.digest.clone()))?;
        let wasm = state.component(&about.digest, self.host.config().component_bytes_max)?;
        let compiled = self.host.compile(&about.name, &wasm)?;
        let mut uploads = self.uploads.lock();
        if let Some(upload) = uploads.iter_mut().find(|known| known.about == *about) {
            upload.compiled = Some(Arc::clone(&compiled));
        }
        Ok(compiled)
    }

    fn make_room(&self, uploads_max: usize) {
        let mut gone = Vec::new();
        {
            let mut uploads = self.uploads.lock();
            while uploads.len() > uploads_max {
                // One that is in force is held elsewhere too.
                let unused = uploads.iter().position(Upload::is_unused).unwrap_or(0);
                gone.extend(uploads.remove(unused));
            }
        }
        for upload in gone {
            let about = &upload.about;
            tracing::info!(
                policy = about.name,
                version = about.number,
                "upload forgotten: there are too many"
            );
            let forgotten = self.state.as_ref().map(|state| state.forget_upload(&about.digest));
            if let Some(Err(error)) = forgotten {
                tracing::warn!(%error, "state_dir");
            }
        }
    }
}

impl Upload {
    /// Whether a name, `name@version` or digest means this one.
    pub fn is(&self, wanted: &str) -> bool {
        let about = &self.about;
        about.name == wanted || about.digest == wanted || format!("{}@{}", about.name, about.number) == wanted
    }

    fn is_unused(&self) -> bool {
        self.compiled.as_ref().is_none_or(|compiled| Arc::strong_count(compiled) == 1)
    }
}
