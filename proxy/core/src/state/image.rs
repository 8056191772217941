//! What a target holds, kept beyond the process.

use super::RoutingState;
use crate::ids::{Millis, TargetId};
use crate::image::Image;
use crate::index::{BLOCKS_AT_ONCE, Drawing, Spans};

impl RoutingState {
    /// What a target holds. `None` if it is gone, if its blocks changed meanwhile, which its feed alone can rule out, or if the cap
    /// has cost it blocks. Neither readers nor other writers are held up for long.
    pub fn image(&self, target: TargetId) -> Option<Image> {
        let start = self.inner.read();
        let slot = start.slot(target)?;
        let version = start.index.version(slot)?;
        let block_size = start.ledger(slot)?.block_size;
        drop(start);
        let mut drawing = Drawing::new(slot);
        while drawing.sort() {
            let inner = self.inner.read();
            if inner.slot(target) != Some(slot) || inner.index.version(slot) != Some(version) {
                return None;
            }
            drawing.go_on(&inner.index);
        }
        Some(drawing.finish(block_size))
    }

    /// Brings back what a target held: the target must be as empty as it was added, and of the image's block size; otherwise
    /// nothing happens, and `false` is returned. Pending blocks among them are confirmed.
    pub fn restore(&self, target: TargetId, image: &Image, now: Millis) -> bool {
        self.see(now);
        let mut turn = self.inner.write();
        let look = turn.look();
        let slot = look.slot(target).filter(|slot| look.index.is_empty(*slot));
        let fits = |slot| look.ledger(slot).is_some_and(|ledger| ledger.block_size == image.block_size);
        let Some(slot) = slot.filter(|slot| fits(*slot)) else { return false };
        drop(look);
        let mut placed: Vec<Spans> = Vec::with_capacity(image.paths.len());
        for path in &image.paths {
            let spans = turn.step(|inner| inner.index.place_path(path, &placed));
            if spans.is_none() {
                turn.step(|inner| inner.index.truncate(slot));
            }
            placed.push(spans.unwrap_or_default());
        }
        for run in &image.runs {
            let spans = &placed[run.path as usize];
            for (names, start) in run.names.chunks(BLOCKS_AT_ONCE).zip((run.start..).step_by(BLOCKS_AT_ONCE))
            {
                turn.step(|inner| {
                    let mut arrived = Vec::new();
                    inner.index.hold(slot, (run.tier, run.group), spans, start, names, &mut arrived);
                    for span in arrived {
                        inner.confirm(slot, span, now);
                    }
                });
            }
        }
        turn.step(|inner| image.copies.iter().for_each(|copies| inner.index.copy(slot, copies)));
        for span in placed.iter().flatten() {
            turn.step(|inner| inner.index.release(span.extent));
        }
        while turn.step(|inner| inner.index.evict()).1 {}
        true
    }
}
