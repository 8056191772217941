//! One extent of the trie, and the arena of them.

use std::num::NonZeroU32;
use std::ops::{Deref, DerefMut, Index};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use smallvec::SmallVec;

use super::addresses::Run;
use super::blocks::Blocks;
use super::claims::Claim;
use super::coverage::Coverage;
use crate::event::Tier;
use crate::hash::PrefixHash;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ExtentId(NonZeroU32);

impl ExtentId {
    fn new(position: usize) -> Self {
        Self(NonZeroU32::MIN.saturating_add(position as u32))
    }

    fn position(self) -> usize {
        self.0.get() as usize - 1
    }

    /// As a number that is not 0.
    pub(super) fn to_word(self) -> u32 {
        self.0.get()
    }

    /// What [`to_word`](Self::to_word) told.
    pub(super) fn from_word(word: u32) -> Option<Self> {
        NonZeroU32::new(word).map(Self)
    }
}

/// A run of consecutive blocks. Where prompts part, another extent hangs off the block before: nothing is ever split, so a
/// block's place never changes. Two neighbouring cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Extent {
    /// Not empty while the extent lives.
    pub(super) blocks: Blocks,
    /// Who holds what in device memory.
    pub(super) device: Coverage,
    /// What most extents do without.
    pub(super) rare: Option<Box<Rare>>,
    /// Block numbers.
    pub(super) run: Run,
    /// The extent it continues; none at the beginning of a namespace.
    pub(super) parent: Option<ExtentId>,
    /// How many of the parent's blocks precede it.
    pub(super) attach: u16,
    /// Nothing is added in place any more: names of evicted blocks may still refer to the addresses behind the end.
    pub(super) sealed: bool,
    touched: AtomicBool,
    /// Where extents hang off it, and how many; by place.
    pub(super) attachments: SmallVec<[(u16, u32); 2]>,
}

const _: () = assert!(size_of::<Option<Extent>>() == 128);

/// What an extent knows besides: slower tiers, and bookings.
#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) host: Coverage,
    pub(super) disk: Coverage,
    /// What some booking there is computing.
    pub(super) pending: Coverage,
    /// What live bookings there contain: always from the first block on.
    pub(super) active: Coverage,
    /// By slot, then booking.
    pub(super) claims: Vec<Claim>,
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.claims.is_empty()
            && [&self.host, &self.disk, &self.pending, &self.active].iter().all(|lane| lane.is_empty())
    }

    fn bytes(&self) -> usize {
        let lanes = [&self.host, &self.disk, &self.pending, &self.active];
        size_of::<Self>()
            + self.claims.capacity() * size_of::<Claim>()
            + lanes.iter().map(|lane| lane.bytes()).sum::<usize>()
    }
}

impl Extent {
    pub(super) fn new(run: Run, parent: Option<ExtentId>, attach: u16, depth: u32) -> Self {
        Self {
            blocks: Blocks::new(depth),
            device: Coverage::default(),
            rare: None,
            run,
            parent,
            attach,
            sealed: false,
            touched: AtomicBool::new(true),
            attachments: SmallVec::new(),
        }
    }

    /// Blocks.
    pub(crate) fn len(&self) -> u16 {
        self.blocks.count()
    }

    /// How many blocks from `from` on are those of `wanted`.
    pub(crate) fn matched(&self, from: u16, wanted: &[PrefixHash]) -> u16 {
        self.blocks.matched(from, wanted, self.attachments.iter().map(|(at, _)| *at))
    }

    pub(crate) fn lane(&self, tier: Tier) -> Option<&Coverage> {
        match (tier, &self.rare) {
            (Tier::Device, _) => Some(&self.device),
            (Tier::Host, Some(rare)) => Some(&rare.host),
            (Tier::Disk, Some(rare)) => Some(&rare.disk),
            (_, None) => None,
        }
    }

    pub(crate) fn device(&self) -> &Coverage {
        &self.device
    }

    /// Whether there is anything besides device memory.
    pub(crate) fn has_further(&self) -> bool {
        self.rare.is_some()
    }

    /// What is on slower tiers or pending.
    pub(crate) fn further(&self) -> impl Iterator<Item = &Coverage> {
        self.rare.iter().flat_map(|rare| [&rare.host, &rare.disk, &rare.pending])
    }

    /// Whether it continues so many blocks of that extent.
    pub(super) fn hangs_off(&self, parent: ExtentId, at: u16) -> bool {
        self.parent == Some(parent) && self.attach == at
    }

    /// After how many blocks others hang off it, if it is the same for all of them.
    pub(super) fn attached_once(&self) -> Option<u16> {
        match &self.attachments[..] {
            [(at, _)] => Some(*at),
            _ => None,
        }
    }

    pub(crate) fn active(&self) -> Option<&Coverage> {
        self.rare.as_ref().map(|rare| &rare.active)
    }

    pub(super) fn lane_mut(&mut self, tier: Tier) -> &mut Coverage {
        match tier {
            Tier::Device => &mut self.device,
            Tier::Host => &mut self.rare.get_or_insert_default().host,
            Tier::Disk => &mut self.rare.get_or_insert_default().disk,
        }
    }

    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(crate) fn pending(&self) -> Option<&Coverage> {
        self.rare.as_ref().map(|rare| &rare.pending)
    }

    pub(super) fn claims(&self) -> &[Claim] {
        self.rare.as_ref().map_or(&[], |rare| &rare.claims)
    }

    pub(super) fn drop_rare_if_empty(&mut self) {
        if self.rare.as_ref().is_some_and(|rare| rare.is_empty()) {
            self.rare = None;
        }
    }

    /// Where the last extent hangs off it.
    pub(super) fn attached_end(&self) -> u16 {
        self.attachments.last().map_or(0, |(at, _)| *at)
    }

    /// Whether anything hangs off it behind so many blocks.
    pub(super) fn has_child(&self, at: u16) -> bool {
        self.attachments.binary_search_by_key(&at, |(known, _)| *known).is_ok()
    }

    pub(super) fn attach_child(&mut self, at: u16) {
        match self.attachments.binary_search_by_key(&at, |(known, _)| *known) {
            Ok(position) => self.attachments[position].1 += 1,
            Err(position) => self.attachments.insert(position, (at, 1)),
        }
    }

    pub(super) fn detach_child(&mut self, at: u16) {
        if let Ok(position) = self.attachments.binary_search_by_key(&at, |(known, _)| *known) {
            self.attachments[position].1 -= 1;
            if self.attachments[position].1 == 0 {
                self.attachments.remove(position);
            }
        }
    }

    /// How many blocks it needs: those that somebody holds or claims, or that something hangs off.
    pub(super) fn needed(&self) -> u16 {
        let len = self.len();
        if self.attached_end() == len || self.device.reaches(len) {
            return len;
        }
        self.claimed_end().max(self.attached_end()).max(self.held_end())
    }

    fn held_end(&self) -> u16 {
        let slower = self.rare.as_ref().map_or(0, |rare| rare.host.end().max(rare.disk.end()));
        self.device.end().max(slower)
    }

    /// How many blocks bookings contain.
    pub(super) fn claimed_end(&self) -> u16 {
        self.rare.as_ref().map_or(0, |rare| rare.active.end().max(rare.pending.end()))
    }

    /// Notes that it was of use, so that it is not the next to be evicted.
    pub(crate) fn touch(&self) {
        if !self.touched.load(Relaxed) {
            self.touched.store(true, Relaxed);
        }
    }

    /// Whether it was touched since the last time this was asked.
    pub(super) fn take_touch(&self) -> bool {
        self.touched.swap(false, Relaxed)
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.blocks.bytes()
            + self.device.bytes()
            + self.rare.as_ref().map_or(0, |rare| rare.bytes())
            + if self.attachments.spilled() { self.attachments.capacity() } else { 0 }
                * size_of::<(u16, u32)>()
    }
}

/// Extents by number; numbers of freed extents are used again.
#[derive(Debug, Default)]
pub(super) struct Extents {
    all: Vec<Option<Extent>>,
    free: Vec<ExtentId>,
    /// Bytes on the heap, of all extents.
    heap: usize,
}

/// An extent that is being changed: its bytes are counted again afterwards.
pub(super) struct Change<'a> {
    extent: &'a mut Extent,
    heap: &'a mut usize,
    before: usize,
}

impl Deref for Change<'_> {
    type Target = Extent;

    fn deref(&self) -> &Extent {
        self.extent
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut Extent {
        self.extent
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        *self.heap = *self.heap + self.extent.bytes() - self.before;
    }
}

impl Extents {
    /// The number that the next one gets.
    pub(super) fn next(&self) -> ExtentId {
        self.free.last().copied().unwrap_or_else(|| ExtentId::new(self.all.len()))
    }

    pub(super) fn insert(&mut self, extent: Extent) -> ExtentId {
        let id = self.next();
        self.heap += extent.bytes();
        if self.free.pop().is_some() {
            self.all[id.position()] = Some(extent);
        } else {
            self.all.push(Some(extent));
        }
        id
    }

    pub(super) fn remove(&mut self, id: ExtentId) -> Option<Extent> {
        let extent = self.all[id.position()].take()?;
        self.heap -= extent.bytes();
        self.free.push(id);
        Some(extent)
    }

    pub(super) fn get(&self, id: ExtentId) -> Option<&Extent> {
        self.all.get(id.position()).and_then(Option::as_ref)
    }

    /// An extent, to be changed.
    pub(super) fn change(&mut self, id: ExtentId) -> Option<Change<'_>> {
        let extent = self.all.get_mut(id.position()).and_then(Option::as_mut)?;
        let before = extent.bytes();
        Some(Change { extent, heap: &mut self.heap, before })
    }

    /// One that lives, to be changed.
    pub(super) fn live(&mut self, id: ExtentId) -> Change<'_> {
        self.change(id).expect("only live extents are referred to")
    }

    /// A prompt ended behind so many blocks of the extent. Its bytes stay as they are.
    pub(super) fn mark(&mut self, id: ExtentId, blocks: u16) {
        if let Some(extent) = self.all.get_mut(id.position()).and_then(Option::as_mut) {
            extent.blocks.mark(blocks);
        }
    }

    /// Numbers that extents may have.
    pub(super) fn positions(&self) -> usize {
        self.all.len()
    }

    pub(super) fn at(&self, position: usize) -> Option<ExtentId> {
        self.all.get(position).and_then(Option::as_ref).map(|_| ExtentId::new(position))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.len() == self.free.len()
    }

    pub(super) fn bytes(&self) -> usize {
        let tables =
            self.all.capacity() * size_of::<Option<Extent>>() + self.free.capacity() * size_of::<ExtentId>();
        tables + self.heap
    }

    /// The same, counted anew.
    #[cfg(test)]
    pub(super) fn bytes_counted(&self) -> usize {
        let heap: usize = self.all.iter().flatten().map(Extent::bytes).sum();
        self.bytes() - self.heap + heap
    }
}

impl Index<ExtentId> for Extents {
    type Output = Extent;

    fn index(&self, id: ExtentId) -> &Extent {
        self.get(id).expect("only live extents are referred to")
    }
}
