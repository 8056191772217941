//! What outlives the process: uploaded components, what was activated in each pool, and what the index knew.
//!
//! Everything is private (folders 0700, files 0600) and replaced as a whole: written beside, synced, renamed. A file
//! says in its first line what it is and the digest of the rest; one that does not fit is ignored, and said so.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, IntoInnerError, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rankwise_policy_host::digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::journal::Author;
use crate::config::Fallback;

/// The first words of every file.
const MAGIC: &str = "rankwise-state-1";
/// Bytes of a file that is not a component.
const RECORD_BYTES_MAX: u64 = 4 << 20;

/// A component that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptUpload {
    /// Its name.
    pub name: String,
    /// The number of the version.
    pub number: u32,
    /// SHA-256, hex.
    pub digest: String,
    /// Its length.
    pub bytes: usize,
    /// When, ms since 1970.
    pub at_unix_ms: u64,
    /// By whom and why.
    pub author: Author,
}

/// What was activated in a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptActivation {
    /// The pool.
    pub pool: String,
    /// Of the config's entry at that time: another one ends what is kept.
    pub entry: String,
    /// Name of the policy.
    pub name: String,
    /// SHA-256 of the component, hex.
    pub digest: String,
    /// Its settings.
    pub settings: Value,
    /// What decides when it fails.
    pub fallback: Fallback,
    /// When, ms since 1970.
    pub at_unix_ms: u64,
    /// By whom and why.
    pub author: Author,
}

/// The folder.
#[derive(Debug)]
pub struct StateDir {
    components: PathBuf,
    pools: PathBuf,
    index: PathBuf,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not what this version writes, or not all of it.
    #[error("{}: {what}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
}

impl StateDir {
    /// Makes the folder if need be, and takes everybody else's rights on it away.
    ///
    /// # Errors
    /// When it cannot be made or is another's.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        let (components, pools, index) = (root.join("policies"), root.join("pools"), root.join("index.bin"));
        let state = Self { components, pools, index };
        for folder in [root, &state.components, &state.pools] {
            let at = |error| StateError::Io { path: folder.to_owned(), error };
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(at)?;
        }
        Ok(state)
    }

    /// Keeps a component.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_upload(&self, upload: &KeptUpload, wasm: &[u8]) -> Result<(), StateError> {
        self.write(&self.component_path(&upload.digest), wasm)?;
        self.write_record(&self.upload_path(&upload.digest), upload)
    }

    /// All uploads, the oldest first. What does not fit is ignored.
    pub fn uploads(&self) -> Vec<KeptUpload> {
        let mut uploads: Vec<KeptUpload> = records(&self.components);
        uploads.retain(|upload| self.component_path(&upload.digest).is_file());
        uploads.sort_by_key(|upload| upload.at_unix_ms);
        uploads
    }

    /// The component with this digest.
    ///
    /// # Errors
    /// When there is none, or the file has another digest.
    pub fn component(&self, wanted: &str, bytes_max: usize) -> Result<Vec<u8>, StateError> {
        let path = self.component_path(wanted);
        let wasm = read(&path, bytes_max as u64)?;
        if digest(&wasm) == wanted {
            Ok(wasm)
        } else {
            Err(StateError::Foreign { path, what: "its content is not what its name says".into() })
        }
    }

    /// Forgets an upload. The component stays as long as some pool goes by it.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn forget_upload(&self, digest: &str) -> Result<(), StateError> {
        remove(&self.upload_path(digest))?;
        let activations: Vec<KeptActivation> = records(&self.pools);
        if activations.iter().any(|kept| kept.digest == digest) {
            return Ok(());
        }
        remove(&self.component_path(digest))
    }

    /// Keeps what was activated in a pool.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_activation(&self, kept: &KeptActivation) -> Result<(), StateError> {
        self.write_record(&self.pool_path(&kept.pool), kept)
    }

    /// What was activated in a pool, if anything is kept.
    ///
    /// # Errors
    /// When the file is torn or foreign.
    pub fn activation(&self, pool: &str) -> Result<Option<KeptActivation>, StateError> {
        let path = self.pool_path(pool);
        if !path.exists() {
            return Ok(None);
        }
        let kept: KeptActivation = read_record(&path)?;
        if kept.pool != pool {
            return Err(StateError::Foreign { path, what: format!("it is of pool {}", kept.pool) });
        }
        Ok(Some(kept))
    }

    /// Forgets what was activated in a pool.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn forget_activation(&self, pool: &str) -> Result<(), StateError> {
        remove(&self.pool_path(pool))
    }

    /// Keeps what the index knows, which `fill` writes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_index(&self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), StateError> {
        self.replace(&self.index, fill)
    }

    /// What was kept so, if anything, and in which file.
    ///
    /// # Errors
    /// When the file cannot be read, or is larger than `bytes_max`.
    pub fn index(&self, bytes_max: u64) -> Result<Option<(&Path, Vec<u8>)>, StateError> {
        if !self.index.exists() {
            return Ok(None);
        }
        Ok(Some((&self.index, read(&self.index, bytes_max)?)))
    }

    fn component_path(&self, digest: &str) -> PathBuf {
        self.components.join(format!("{digest}.wasm"))
    }

    fn upload_path(&self, digest: &str) -> PathBuf {
        self.components.join(format!("{digest}.json"))
    }

    fn pool_path(&self, pool: &str) -> PathBuf {
        self.pools.join(format!("{pool}.json"))
    }

    fn write_record(&self, path: &Path, record: &impl Serialize) -> Result<(), StateError> {
        let text = serde_json::to_string(record)
            .map_err(|error| StateError::Io { path: path.to_owned(), error: error.into() })?;
        self.write(path, format!("{MAGIC} {}\n{text}", digest(text.as_bytes())).as_bytes())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StateError> {
        self.replace(path, |file| file.write_all(bytes))
    }

    fn replace(
        &self,
        path: &Path,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StateError> {
        let beside = path.with_extension("new");
        let written = || -> io::Result<()> {
            remove_if_there(&beside)?;
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            let mut buffer = BufWriter::new(file);
            fill(&mut buffer)?;
            buffer.into_inner().map_err(IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&beside, path)?;
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        written().map_err(|error| StateError::Io { path: path.to_owned(), error })
    }
}

/// Every record of a folder that can be read; others are said to be ignored.
fn records<T: DeserializeOwned>(folder: &Path) -> Vec<T> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let records = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path: PathBuf| {
        read_record(&path).inspect_err(|error| tracing::warn!(%error, "ignored in state_dir")).ok()
    };
    records.filter_map(read).collect()
}

fn read_record<T: DeserializeOwned>(path: &Path) -> Result<T, StateError> {
    let foreign = |what: &str| StateError::Foreign { path: path.to_owned(), what: what.to_owned() };
    let bytes = read(path, RECORD_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| foreign("not written by rankwise"))?;
    let (head, body) = text.split_once('\n').ok_or_else(|| foreign("not written by rankwise"))?;
    let sum = head.strip_prefix(MAGIC).ok_or_else(|| foreign("not written by this version of rankwise"))?;
    if sum.trim() != digest(body.as_bytes()) {
        return Err(foreign("torn: its content is not what was written"));
    }
    serde_json::from_str(body).map_err(|error| foreign(&error.to_string()))
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, StateError> {
    let at = |error| StateError::Io { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    File::open(path).map_err(at)?.take(bytes_max + 1).read_to_end(&mut bytes).map_err(at)?;
    if bytes.len() as u64 > bytes_max {
        let what = format!("larger than {bytes_max} bytes");
        return Err(StateError::Foreign { path: path.to_owned(), what });
    }
    Ok(bytes)
}

fn remove(path: &Path) -> Result<(), StateError> {
    remove_if_there(path).map_err(|error| StateError::Io { path: path.to_owned(), error })
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
