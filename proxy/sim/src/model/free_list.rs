//! The free blocks of a rank in the order of their reuse: a doubly linked list over block numbers.

/// A block's number within its rank.
pub(super) type BlockId = u32;

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Links {
    before: u32,
    after: u32,
    listed: bool,
}

/// Free blocks, the next one to be reused first.
#[derive(Debug)]
pub(super) struct FreeList {
    links: Vec<Links>,
    first: u32,
    last: u32,
    length: u32,
}

impl FreeList {
    /// All of `blocks`, in order of their numbers.
    pub(super) fn full(blocks: u32) -> Self {
        let mut list = Self {
            links: vec![Links { before: NONE, after: NONE, listed: false }; blocks as usize],
            first: NONE,
            last: NONE,
            length: 0,
        };
        for block in 0..blocks {
            list.push_back(block);
        }
        list
    }

    pub(super) fn len(&self) -> u32 {
        self.length
    }

    pub(super) fn push_back(&mut self, block: BlockId) {
        debug_assert!(!self.links[block as usize].listed, "block {block} freed twice");
        self.links[block as usize] = Links { before: self.last, after: NONE, listed: true };
        match self.last {
            NONE => self.first = block,
            last => self.links[last as usize].after = block,
        }
        self.last = block;
        self.length += 1;
    }

    pub(super) fn push_front(&mut self, block: BlockId) {
        debug_assert!(!self.links[block as usize].listed, "block {block} freed twice");
        self.links[block as usize] = Links { before: NONE, after: self.first, listed: true };
        match self.first {
            NONE => self.last = block,
            first => self.links[first as usize].before = block,
        }
        self.first = block;
        self.length += 1;
    }

    pub(super) fn pop_front(&mut self) -> Option<BlockId> {
        let block = self.first;
        (block != NONE).then(|| {
            self.remove(block);
            block
        })
    }

    /// Takes a block out wherever it stands; nothing if it is not listed.
    pub(super) fn remove(&mut self, block: BlockId) {
        let Links { before, after, listed } = self.links[block as usize];
        if !listed {
            return;
        }
        match before {
            NONE => self.first = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.links[after as usize].before = before,
        }
        self.links[block as usize].listed = false;
        self.length -= 1;
    }
}
