//! The component's memory allocator. std's own (dlmalloc) costs more per pick than the routing does, since every list
//! that crosses the component boundary is allocated and freed.
//!
//! Blocks come in sizes of powers of two, each aligned to its size (up to a limit). A freed block is pushed on its
//! size's list and the next allocation of that size pops it: a few instructions each, and a policy that keeps values
//! between picks costs no more memory than it holds. New blocks are cut from the end of a region that grows with
//! wasm's linear memory; when the host's cap refuses to grow it, allocation fails, which traps.
//!
//! Unsafe because an allocator is made of raw memory; everything rests on these invariants:
//! * wasm32 without threads: nothing runs concurrently, so the state needs no lock.
//! * Memory between `next` and `end` was grown by this allocator and never handed out.
//! * A block on list `k` is 2^k bytes, belongs to nobody, and its first word links to the next one, 0 at the end.
#![expect(unsafe_code, reason = "a global allocator")]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::memory_grow;
use core::cell::UnsafeCell;
use core::ptr::null_mut;

const PAGE: usize = 64 * 1024;
/// Grown at once, so that small allocations seldom grow memory.
const GROWTH_PAGES_MIN: usize = 4;
const CLASS_MIN: u32 = 4;
/// Blocks from this size on are only aligned to it.
const ALIGN_MAX: usize = 4096;

struct State {
    free: [usize; usize::BITS as usize],
    next: usize,
    end: usize,
}

struct Allocator(UnsafeCell<State>);

// SAFETY: a component instance has one thread.
unsafe impl Sync for Allocator {}

#[global_allocator]
static ALLOCATOR: Allocator =
    Allocator(UnsafeCell::new(State { free: [0; usize::BITS as usize], next: 0, end: 0 }));

/// The exponent of the block size that serves a layout; `None` if no block can.
#[inline]
fn class(layout: Layout) -> Option<u32> {
    let size = layout.size().max(layout.align());
    if size > 1 << (usize::BITS - 2) || layout.align() > ALIGN_MAX {
        return None;
    }
    Some(size.next_power_of_two().trailing_zeros().max(CLASS_MIN))
}

impl State {
    /// Cuts a block of 2^class bytes from the end; 0 when memory cannot grow.
    #[cold]
    fn cut(&mut self, class: u32) -> usize {
        let size = 1_usize << class;
        let align = size.min(ALIGN_MAX);
        let mut start = self.next.next_multiple_of(align);
        if start + size > self.end {
            let pages = (size + align).div_ceil(PAGE).max(GROWTH_PAGES_MIN);
            let before = memory_grow::<0>(pages);
            if before == usize::MAX {
                return 0;
            }
            if before * PAGE != self.end {
                self.next = before * PAGE;
            }
            self.end = (before + pages) * PAGE;
            start = self.next.next_multiple_of(align);
        }
        self.next = start + size;
        start
    }
}

// SAFETY: `alloc` hands out blocks of at least the layout's size and alignment that nobody else holds (see the
// invariants above); `dealloc` and `realloc` get back the layout a block was made for, hence its class.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else { return null_mut() };
        // SAFETY: one thread, and no reference to the state outlives a call.
        let state = unsafe { &mut *self.0.get() };
        let head = state.free[class as usize];
        if head == 0 {
            return state.cut(class) as *mut u8;
        }
        // SAFETY: a block on a free list starts with the link to the next.
        state.free[class as usize] = unsafe { *(head as *const usize) };
        head as *mut u8
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = class(layout) else { return };
        // SAFETY: as in `alloc`; the block is free from here on and holds at least 2^CLASS_MIN bytes.
        unsafe {
            let state = &mut *self.0.get();
            *block.cast::<usize>() = state.free[class as usize];
            state.free[class as usize] = block as usize;
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that the new size is valid for the alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        if class(new_layout) == class(layout) {
            return block;
        }
        // SAFETY: two blocks, both at least as large as what is copied.
        unsafe {
            let moved = self.alloc(new_layout);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
