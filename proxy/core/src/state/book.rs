//! Making a booking: load, and the pending blocks in the same step.

use std::sync::Arc;

use smallvec::SmallVec;

use super::inner::Inner;
use super::{Booking, Choice, Expected, Raced, RoutingState};
use crate::ids::{Millis, TargetId, WorkerId};
use crate::index::{Known, Slot};
use crate::ledger::{Bits, BookingId, Record, RecordPlace};
use crate::request::{PlacementRequest, Private};
use crate::snapshot::{Overlap, Snapshot};

/// What a booking came to.
pub(super) struct Booked {
    pub(super) id: BookingId,
    pub(super) target: Option<TargetId>,
    pub(super) expected: Expected,
    pub(super) private: Private,
}

impl RoutingState {
    /// Books a request where the decision put it.
    ///
    /// Conditional: if the target was booked (or restarted) since `snapshot` was made, nothing is booked and
    /// [`Raced::Booked`] says so; the caller makes a new snapshot, decides once more, and then books with `force`. For a
    /// worker the condition covers all its rows.
    ///
    /// On a row, the request's whole prompt blocks become active and, where the device tier does not hold them,
    /// pending. On a worker only load is booked, as no rank is known: whole prompt, nothing shared.
    pub fn book(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        choice: Choice,
        request: &PlacementRequest<'_>,
        force: bool,
        now: Millis,
    ) -> Result<Booking, Raced> {
        self.see(now);
        let booked = self.inner.write().step(|inner| inner.book(snapshot, choice, request, force, now));
        booked.map(|booked| Booking::new(self, booked))
    }
}

impl Inner {
    fn book(
        &mut self,
        snapshot: &Snapshot,
        choice: Choice,
        request: &PlacementRequest<'_>,
        force: bool,
        now: Millis,
    ) -> Result<Booked, Raced> {
        let booked = match choice {
            Choice::Row(row) => {
                let row = snapshot.rows().get(row as usize).ok_or(Raced::Gone)?;
                let slot = self.slot(row.target).ok_or(Raced::Gone)?;
                let epoch = self.ledger(slot).ok_or(Raced::Gone)?.epoch;
                if epoch != row.epoch && !force {
                    return Err(Raced::Booked);
                }
                self.book_target(slot, request, now)
            }
            Choice::Worker(worker) => {
                let mut rows = snapshot.rows().iter().filter(|row| row.worker == worker).peekable();
                rows.peek().ok_or(Raced::Gone)?;
                let raced = rows.any(|row| {
                    self.slot(row.target).and_then(|slot| self.ledger(slot)).map(|ledger| ledger.epoch)
                        != Some(row.epoch)
                });
                if raced && !force {
                    return Err(Raced::Booked);
                }
                self.book_worker(worker, request, now)
            }
        };
        booked.ok_or(Raced::Gone)
    }

    fn book_target(&mut self, slot: Slot, request: &PlacementRequest<'_>, now: Millis) -> Option<Booked> {
        let id = BookingId(self.next_booking);
        let is_learned = self.is_learned(slot);
        let (_, ledger) = self.ledgers.get_mut(slot as usize)?.as_mut()?;
        self.next_booking += 1;
        let block_size = ledger.block_size;
        let zeroed = ledger.confirmations.weight_zeroed;
        let segments = self.index.place_prompt(request.chain(block_size));
        let known = self.index.known(slot, &segments);
        let prompt = request.prompt.filter(|_| is_learned);
        let learnable =
            prompt.and_then(|prompt| prompt.shared_chain(block_size)).filter(|_| !segments.is_empty());
        let blocks = segments.last().map_or(0, |last| last.range().end);
        let overlap = overlap(&known, zeroed);
        let pending = Bits::all(blocks).and_not(&known.device);
        let reach = (overlap.held() + overlap.pending) as usize;
        let mut charged = Bits::all(blocks);
        charged.unset(0..reach);
        if !zeroed {
            charged = charged.and_not(&known.pending);
        }
        if !request.computes() {
            charged = Bits::default();
        }
        let charged_tokens = u64::from(charged.count()) * u64::from(block_size.0);
        for segment in &segments {
            ledger.shared_blocks += self.index.claim(slot, id, *segment);
            ledger.pending_blocks += self.index.set_pending(slot, *segment, &pending);
        }
        let private = request.private(blocks, block_size);
        let to_compute = if request.computes() { charged_tokens + private.tokens() } else { 0 };
        let mut record = Record {
            place: RecordPlace::Target(slot),
            segments,
            charged,
            pending,
            learnable,
            prefill_tokens: to_compute,
            long: self.config.room.is_long(to_compute),
            private_blocks: private.blocks(0),
            running: request.running(),
            prefilled: !request.computes(),
            live: true,
            streamed: request.streamed,
            computes: request.computes(),
            booked_at: now,
            output_at: None,
            backlog: 0,
            due: None,
        };
        ledger.epoch += 1;
        ledger.prefill_tokens += record.booked_prefill();
        ledger.private_blocks += record.private_blocks;
        ledger.running += record.running;
        ledger.long_prefills += u32::from(record.is_long_prefill());
        record.backlog = ledger.prefill_tokens;
        if !request.streamed
            && !record.prefilled
            && let Some(at) = ledger.rate.due(record.backlog, now)
        {
            record.due = Some(at);
            self.due.insert((at, id));
        }
        let expected = Expected {
            block_size,
            prompt_tokens: request.prompt_tokens(),
            device_blocks: overlap.device,
            host_blocks: overlap.host,
            disk_blocks: overlap.disk,
            pending_blocks: overlap.pending,
            prefill_tokens: record.booked_prefill(),
        };
        let target = Some(ledger.id);
        self.bookings.insert(id, record);
        Some(Booked { id, target, expected, private })
    }

    fn book_worker(
        &mut self,
        worker: WorkerId,
        request: &PlacementRequest<'_>,
        now: Millis,
    ) -> Option<Booked> {
        let slots: Vec<Slot> = self.topology.of_worker(worker).map(|(_, slot)| slot).collect();
        if slots.is_empty() {
            return None;
        }
        for slot in slots {
            if let Some(ledger) = self.ledger_mut(slot) {
                ledger.epoch += 1;
            }
        }
        let id = BookingId(self.next_booking);
        self.next_booking += 1;
        let block_size = self.pool_block_size;
        let private = request.private(0, block_size);
        let record = Record {
            place: RecordPlace::Worker(worker),
            segments: SmallVec::new(),
            charged: Bits::default(),
            pending: Bits::default(),
            learnable: None,
            prefill_tokens: if request.computes() { private.tokens() } else { 0 },
            long: false,
            private_blocks: private.blocks(0),
            running: request.running(),
            prefilled: !request.computes(),
            live: true,
            streamed: request.streamed,
            computes: request.computes(),
            booked_at: now,
            output_at: None,
            backlog: 0,
            due: None,
        };
        let ledger = self.workers.entry(worker).or_default();
        ledger.prefill_tokens += record.booked_prefill();
        ledger.blocks += record.private_blocks;
        ledger.running += record.running;
        let expected = Expected {
            block_size,
            prompt_tokens: request.prompt_tokens(),
            prefill_tokens: record.booked_prefill(),
            ..Expected::default()
        };
        self.bookings.insert(id, record);
        Some(Booked { id, target: None, expected, private })
    }
}

/// What is held and pending, from the first block on, as a snapshot would show it.
fn overlap(known: &Known, ignore_pending: bool) -> Overlap {
    let (device, held) = (known.device.leading(), known.held.leading());
    let reach = if ignore_pending { held } else { known.held.clone().or(&known.pending).leading() };
    let host = known.near.within(device..held).count();
    Overlap {
        device: device as u32,
        host,
        disk: (held - device) as u32 - host,
        pending: (reach - held) as u32,
    }
}
