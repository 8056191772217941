//! An image as bytes: little endian, each list behind its length.

use super::{Copies, Image, Path, Run};
use crate::event::{CacheGroup, Tier};
use crate::hash::{EngineHash, PrefixHash};
use crate::ids::BlockSize;

/// Why bytes are no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// They end too soon.
    #[error("byte {0}: it ends here, in the middle")]
    Short(usize),
    /// There are more than the image takes.
    #[error("byte {0}: the image ends here, the bytes go on")]
    Long(usize),
    /// A number is not what it can be.
    #[error("byte {at}: {what}")]
    Wrong {
        /// Behind the number.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
}

impl Image {
    /// Appends the image to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.block_size.0.to_le_bytes());
        list(out, &self.paths, |out, path| {
            // 0: at the beginning of a namespace.
            let (parent, attach) = path.parent.map_or((0, 0), |(parent, attach)| (parent + 1, attach));
            out.extend(parent.to_le_bytes());
            out.extend(attach.to_le_bytes());
            list(out, &path.chain, |out, prefix| out.extend(prefix.0.to_le_bytes()));
        });
        list(out, &self.runs, |out, run| {
            out.extend(run.path.to_le_bytes());
            out.extend(run.start.to_le_bytes());
            kind(out, run.tier, run.group);
            list(out, &run.names, |out, name| out.extend(name.0.to_le_bytes()));
        });
        list(out, &self.copies, |out, copies| {
            kind(out, copies.tier, copies.group);
            out.extend(copies.name.0.to_le_bytes());
            out.extend(copies.more.to_le_bytes());
        });
    }

    /// Reads an image that takes all of `bytes`. Never allocates more than a few times their length.
    ///
    /// # Errors
    /// When they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        let mut bytes = Bytes { all: bytes, at: 0 };
        let block_size = BlockSize(bytes.u32()?);
        let mut paths: Vec<Path> = Vec::new();
        for _ in 0..bytes.count()? {
            let (parent, attach) = (bytes.u32()?, bytes.u16()?);
            let chain = bytes.hashes()?.map(PrefixHash).collect();
            let parent = match parent.checked_sub(1) {
                None => None,
                Some(parent) => {
                    let before = paths.get(parent as usize).map_or(0, |path| path.chain.len());
                    let hangs = attach > 0 && usize::from(attach) <= before;
                    bytes.check(hangs, "a path hangs off what is not there")?;
                    Some((parent, attach))
                }
            };
            paths.push(Path { parent, chain });
        }
        let mut runs = Vec::new();
        for _ in 0..bytes.count()? {
            let (path, start) = (bytes.u32()?, bytes.u16()?);
            let (tier, group) = bytes.kind()?;
            let names: Vec<_> = bytes.hashes()?.map(EngineHash).collect();
            let len = paths.get(path as usize).map_or(0, |path| path.chain.len());
            bytes.check(usize::from(start) + names.len() <= len, "a run of blocks that are not there")?;
            runs.push(Run { path, start, tier, group, names });
        }
        let mut copies = Vec::new();
        for _ in 0..bytes.count()? {
            let (tier, group) = bytes.kind()?;
            copies.push(Copies { tier, group, name: EngineHash(bytes.u64()?), more: bytes.u32()? });
        }
        if bytes.at < bytes.all.len() {
            return Err(ImageError::Long(bytes.at));
        }
        Ok(Self { block_size, paths, runs, copies })
    }
}

fn list<T>(out: &mut Vec<u8>, items: &[T], each: impl Fn(&mut Vec<u8>, &T)) {
    out.extend((items.len() as u32).to_le_bytes());
    items.iter().for_each(|item| each(out, item));
}

fn kind(out: &mut Vec<u8>, tier: Tier, group: CacheGroup) {
    out.push(tier as u8);
    out.extend(group.0.to_le_bytes());
}

struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], ImageError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.all.len());
        let end = end.ok_or(ImageError::Short(self.all.len()))?;
        let taken = &self.all[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImageError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u16(&mut self) -> Result<u16, ImageError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, ImageError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, ImageError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// How many items follow; whether they do shows as they are read.
    fn count(&mut self) -> Result<u32, ImageError> {
        self.u32()
    }

    /// Hashes of blocks of one extent: at least one.
    fn hashes(&mut self) -> Result<impl Iterator<Item = u64> + use<'a>, ImageError> {
        let count = self.u32()? as usize;
        self.check((1..=usize::from(u16::MAX)).contains(&count), "no extent has so many blocks")?;
        let bytes = self.take(count * 8)?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|hash| u64::from_le_bytes(*hash)))
    }

    fn kind(&mut self) -> Result<(Tier, CacheGroup), ImageError> {
        let [tier] = self.array()?;
        let group = CacheGroup(self.u32()?);
        let tier = Tier::ALL.get(usize::from(tier)).copied();
        Ok((tier.ok_or(ImageError::Wrong { at: self.at, what: "no tier" })?, group))
    }

    fn check(&self, right: bool, what: &'static str) -> Result<(), ImageError> {
        if right { Ok(()) } else { Err(ImageError::Wrong { at: self.at, what }) }
    }
}
