//! The file's bytes: a first line that says what it is, the secret that the hashes were made with, a record per rank, and a digest
//! of all that under the secret. Little endian, texts and lists behind their length.

use std::io::{self, Write};

use rankwise_core::hash::{HashKey, KeyedHasher};
use rankwise_engines::feed::Checkpoint;

/// The first bytes; another version has others.
const MAGIC: &[u8; 17] = b"rankwise-index-1\n";

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmFile {
    /// What the process's key was made from.
    pub secret: [u8; 32],
    /// Ranks.
    pub ranks: Vec<RankRecord>,
}

/// One rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankRecord {
    /// Its pool's name.
    pub pool: String,
    /// Its worker's name.
    pub worker: String,
    /// Its number there.
    pub rank: u32,
    /// Where its feed stood.
    pub checkpoint: Checkpoint,
    /// What it held: an encoded [`Image`](rankwise_core::image::Image).
    pub image: Vec<u8>,
}

/// Why a file is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Its first bytes are others.
    #[error("not written by this version of rankwise")]
    Foreign,
    /// Its digest is another.
    #[error("torn: its content is not what was written")]
    Torn,
    /// The digest is right, what it is of makes no sense.
    #[error("record {0} cannot be read")]
    Record(usize),
}

const DIGEST: usize = 16;

/// Before each record, and behind the last.
const MORE: u8 = 1;
const END: u8 = 0;

impl WarmFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is not what this version writes, or not all of it.
    pub fn decode(bytes: &[u8]) -> Result<Self, FileError> {
        let Some((content, digest)) = bytes.split_last_chunk::<DIGEST>() else {
            return Err(FileError::Foreign);
        };
        let rest = content.strip_prefix(MAGIC).ok_or(FileError::Foreign)?;
        let (secret, rest) = rest.split_first_chunk::<32>().ok_or(FileError::Torn)?;
        let mut hasher = HashKey::new(*secret).hasher();
        hasher.update(content);
        if hasher.wide().to_le_bytes() != *digest {
            return Err(FileError::Torn);
        }
        let (mut bytes, mut ranks) = (Bytes(rest), Vec::new());
        loop {
            let wrong = FileError::Record(ranks.len());
            match bytes.array().ok_or(wrong)? {
                [MORE] => ranks.push(bytes.rank().ok_or(wrong)?),
                [END] if bytes.0.is_empty() => return Ok(Self { secret: *secret, ranks }),
                _ => return Err(wrong),
            }
        }
    }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn list(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u64()?).ok()?;
        let (list, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(list)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.list()?.to_vec()).ok()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.array()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn rank(&mut self) -> Option<RankRecord> {
        Some(RankRecord {
            pool: self.text()?,
            worker: self.text()?,
            rank: self.u32()?,
            checkpoint: Checkpoint {
                sequence: self.u64()?,
                digest: self.u64()?,
                complete: self.flag()?,
                group: if self.flag()? { Some(self.u32()?) } else { None },
            },
            image: self.list()?.to_vec(),
        })
    }
}

/// Writes a file, record by record.
pub(super) struct Writer<'a> {
    out: &'a mut dyn Write,
    hasher: KeyedHasher,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut dyn Write, secret: &[u8; 32]) -> io::Result<Self> {
        let mut writer = Self { out, hasher: HashKey::new(*secret).hasher() };
        writer.put(MAGIC)?;
        writer.put(secret)?;
        Ok(writer)
    }

    pub(super) fn rank(&mut self, record: &RankRecord) -> io::Result<()> {
        self.put(&[MORE])?;
        self.list(record.pool.as_bytes())?;
        self.list(record.worker.as_bytes())?;
        self.put(&record.rank.to_le_bytes())?;
        let Checkpoint { sequence, digest, complete, group } = record.checkpoint;
        self.put(&sequence.to_le_bytes())?;
        self.put(&digest.to_le_bytes())?;
        self.put(&[u8::from(complete), u8::from(group.is_some())])?;
        if let Some(group) = group {
            self.put(&group.to_le_bytes())?;
        }
        self.list(&record.image)
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.put(&[END])?;
        self.out.write_all(&self.hasher.wide().to_le_bytes())
    }

    fn list(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(&(bytes.len() as u64).to_le_bytes())?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}

#[cfg(test)]
mod tests;
