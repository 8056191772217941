//! A file that is looked at now and then: its content, once it is another one and has stopped changing.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rankwise_policy_host::digest;

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
pub struct FileWatch {
    path: PathBuf,
    /// At the last look. A file that is still being written has another one at the next.
    last: Option<Stamp>,
    /// When it was last read.
    read: Option<Stamp>,
    /// Of what was last read.
    digest: String,
}

impl FileWatch {
    /// Of a file that need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, last: None, read: None, digest: String::new() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content, if it is another one than before and was the same at the last look.
    ///
    /// # Errors
    /// When it cannot be read, or is larger than `bytes_max`.
    pub fn look(&mut self, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
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

/// The content of a file of at most so many bytes.
///
/// # Errors
/// When it cannot be read, or is larger.
pub fn read(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_given_once_and_only_when_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.wasm");
        let mut watch = FileWatch::new(path.clone());
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
        let mut watch = FileWatch::new(path.clone());
        assert!(watch.look(8).unwrap().is_none());
        assert_eq!(watch.look(8).unwrap_err().to_string(), "larger than 8 bytes");
        assert!(watch.look(8).unwrap().is_none(), "said once");
    }
}
