//! Follows the policy file that a pool's config names. New content is activated once it has stopped changing; whatever
//! is wrong with it is said and changes nothing.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rankwise_policy_host::{PoolInfo, digest};

use super::entry::Entry;
use super::journal::Cause;
use super::lane::PoolPolicies;
use super::store::PolicyStore;
use crate::config::{PolicyChoice, PolicySource};

/// What a change of the file changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl From<Metadata> for Stamp {
    fn from(metadata: Metadata) -> Self {
        Self { modified: metadata.modified().ok(), bytes: metadata.len(), inode: metadata.ino() }
    }
}

/// One file, looked at now and then.
#[derive(Debug)]
struct FileWatch {
    path: PathBuf,
    /// At the last look. A file that is still being written has another one at the next.
    last: Option<Stamp>,
    /// When it was last read.
    read: Option<Stamp>,
    /// Of what was last read.
    digest: String,
}

impl FileWatch {
    /// The content, if it is another one than before and was the same at the last look.
    fn look(&mut self, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        let stamp = Some(Stamp::from(fs::metadata(&self.path).inspect_err(|_| self.last = None)?));
        if stamp == self.read {
            self.last = stamp;
            return Ok(None);
        }
        if std::mem::replace(&mut self.last, stamp) != stamp {
            return Ok(None);
        }
        self.read = stamp;
        let wasm = read(&self.path, bytes_max)?;
        let digest = digest(&wasm);
        Ok((std::mem::replace(&mut self.digest, digest) != self.digest).then_some(wasm))
    }
}

/// A file of at most so many bytes.
pub(super) fn read(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// The policy file that a pool's config names.
#[derive(Debug)]
pub struct PolicyFile {
    choice: PolicyChoice,
    watch: FileWatch,
    /// Whether its content has been seen. The first that is seen may be what was there at the start.
    seen: bool,
    /// What is wrong with it, said once and not at every look.
    trouble: Option<String>,
}

impl PolicyFile {
    /// None where the policy stands in no file.
    pub fn of(choice: &PolicyChoice) -> Option<Self> {
        let PolicySource::File(path) = &choice.source else { return None };
        let watch = FileWatch { path: path.clone(), last: None, read: None, digest: String::new() };
        Some(Self { choice: choice.clone(), watch, seen: false, trouble: None })
    }

    /// Looks at it, and puts new content into force. Blocks.
    pub fn look(&mut self, policies: &PoolPolicies, info: &PoolInfo, store: &PolicyStore) {
        match self.watch.look(store.host().config().component_bytes_max) {
            Ok(None) => self.trouble = None,
            Ok(Some(wasm)) => {
                self.trouble = None;
                self.activate(policies, info, store, wasm);
                self.seen = true;
            }
            Err(error) => {
                let text = error.to_string();
                if self.trouble.as_ref() != Some(&text) {
                    let path = self.watch.path.display();
                    tracing::warn!(%path, error = text, "policy file: nothing changed");
                    self.trouble = Some(text);
                }
            }
        }
    }

    fn activate(&self, policies: &PoolPolicies, info: &PoolInfo, store: &PolicyStore, wasm: Vec<u8>) {
        let entry = Entry::of_file(&self.choice, wasm);
        let fingerprint = entry.fingerprint();
        if !self.seen && policies.is_entry(&fingerprint) {
            return;
        }
        let change = entry.change(Cause::File);
        let compiled = match entry.compile(store) {
            Ok(compiled) => compiled,
            Err(error) => return policies.refused(&entry.name(), &change, &error),
        };
        // Refused or not, it is said there.
        if policies.activate(&compiled, info, &entry.settings(), change).is_ok() {
            policies.set_entry(&fingerprint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(path: &Path) -> FileWatch {
        FileWatch { path: path.to_owned(), last: None, read: None, digest: String::new() }
    }

    #[test]
    fn content_is_given_once_and_only_when_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.wasm");
        let mut watch = watch(&path);
        assert_eq!(watch.look(8).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, "one").unwrap();
        assert_eq!(watch.look(8).unwrap(), None);
        fs::write(&path, "one and").unwrap();
        assert_eq!(watch.look(8).unwrap(), None, "it has changed since the last look");
        assert_eq!(watch.look(8).unwrap(), Some(b"one and".to_vec()));
        assert_eq!(watch.look(8).unwrap(), None);
        // Written again with the same content.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "one and").unwrap();
        assert_eq!((watch.look(8).unwrap(), watch.look(8).unwrap()), (None, None));
    }

    #[test]
    fn a_file_that_is_too_large_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.wasm");
        fs::write(&path, "123456789").unwrap();
        let mut watch = watch(&path);
        assert!(watch.look(8).unwrap().is_none());
        assert_eq!(watch.look(8).unwrap_err().to_string(), "larger than 8 bytes");
        assert!(watch.look(8).unwrap().is_none(), "said once");
    }
}
