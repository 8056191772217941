//! What happens to bookings afterwards: prefill done, pending blocks confirmed, handed on or given up, the end.

use super::inner::Inner;
use crate::ids::Millis;
use crate::index::{NodeId, Slot};
use crate::ledger::{BookingId, Record, RecordPlace, WorkerLedger};

/// How a booking ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With an answer.
    Answered,
    /// By the client, or by an error on the way.
    Cancelled,
    /// Before the engine had it.
    NeverRan,
}

impl Inner {
    pub(super) fn first_output(&mut self, id: BookingId, now: Millis) {
        let Some(record) = self.bookings.get_mut(&id) else { return };
        record.output_at = Some(now);
        if let Some(at) = record.due.take() {
            self.due.remove(&(at, id));
        }
        if let RecordPlace::Target(slot) = record.place
            && record.streamed
        {
            let (backlog, elapsed) = (record.backlog, now.since(record.booked_at));
            if let Some(ledger) = self.ledger_mut(slot) {
                ledger.rate.learn(backlog, elapsed);
            }
        }
        self.change_prefill(id, |record| record.prefilled = true);
    }

    /// Changes what a record says of its prefill, and the ledger with it.
    fn change_prefill(&mut self, id: BookingId, change: impl FnOnce(&mut Record)) {
        let Some(record) = self.bookings.get_mut(&id) else { return };
        let before = record.booked_prefill();
        change(record);
        let after = record.booked_prefill();
        let tokens = match record.place {
            RecordPlace::Target(slot) => self
                .ledgers
                .get_mut(slot as usize)
                .and_then(Option::as_mut)
                .map(|(_, ledger)| &mut ledger.prefill_tokens),
            RecordPlace::Worker(worker) => {
                self.workers.get_mut(&worker).map(|ledger| &mut ledger.prefill_tokens)
            }
        };
        if let Some(tokens) = tokens {
            *tokens = *tokens + after - before;
        }
    }

    /// The target stored a block on its device tier: it is pending for nobody any more. True if it was.
    pub(super) fn confirm(&mut self, slot: Slot, node: NodeId, now: Millis) -> bool {
        if self.index.claim(node, slot).is_none_or(|claim| claim.pending.is_empty()) {
            return false;
        }
        let holders = self.index.with_claim(node, slot, |claim| std::mem::take(&mut claim.pending));
        let position = self.index.depth(node) as usize - 1;
        // The owner computed it; for the others it may have been there long before their output.
        let owner = holders.first().and_then(|id| self.bookings.get(id));
        let lag_ms = owner
            .filter(|record| position + 1 == record.blocks.len())
            .and_then(|record| record.event_lag_ms(now));
        let (sample, permille_max) = (self.config.unconfirmed_sample, self.config.unconfirmed_permille_max);
        let Some(ledger) = self.ledger_mut(slot) else { return false };
        if let Some(lag_ms) = lag_ms {
            ledger.lag.note(lag_ms);
        }
        ledger.pending_blocks -= 1;
        ledger.confirmations.confirm(sample, permille_max);
        let tokens = u64::from(ledger.block_size.0);
        for id in holders {
            self.change_prefill(id, |record| {
                let is_last = position + 1 == record.blocks.len();
                let Some(block) = record.blocks.get_mut(position) else { return };
                block.pending = false;
                record.pending -= 1;
                if std::mem::take(&mut block.charged) {
                    record.prefill_tokens -= tokens;
                }
                record.prefilled |= is_last;
            });
            self.forget_if_through(id);
        }
        true
    }

    /// Ends everything that is pending on a target, as its cache was cleared.
    pub(super) fn drop_pending(&mut self, slot: Slot) {
        let place = RecordPlace::Target(slot);
        let ids: Vec<_> =
            self.of_place(place).filter(|(_, record)| record.pending > 0).map(|(id, _)| id).collect();
        for id in ids {
            let Some(record) = self.bookings.get_mut(&id) else { continue };
            record.pending = 0;
            for block in record.blocks.iter_mut().rev().filter(|block| block.pending) {
                block.pending = false;
                self.index.with_claim(block.node, slot, |claim| claim.pending.retain(|known| *known != id));
                self.index.release(block.node);
            }
            self.forget_if_through(id);
        }
        if let Some(ledger) = self.ledger_mut(slot) {
            ledger.pending_blocks = 0;
        }
    }

    fn of_place(&self, place: RecordPlace) -> impl Iterator<Item = (BookingId, &Record)> {
        self.bookings
            .iter()
            .filter(move |(_, record)| record.place == place)
            .map(|(id, record)| (*id, record))
    }

    /// Forgets an ended booking none of whose blocks is waited for.
    fn forget_if_through(&mut self, id: BookingId) {
        if self.bookings.get(&id).is_some_and(|record| !record.live && record.pending == 0)
            && let Some(Record { due: Some(at), .. }) = self.bookings.remove(&id)
        {
            self.due.remove(&(at, id));
        }
    }

    pub(super) fn set_private_blocks(&mut self, id: BookingId, blocks: u64) {
        let Some(record) = self.bookings.get_mut(&id).filter(|record| record.live) else { return };
        let before = std::mem::replace(&mut record.private_blocks, blocks);
        let booked = match record.place {
            RecordPlace::Target(slot) => self
                .ledgers
                .get_mut(slot as usize)
                .and_then(Option::as_mut)
                .map(|(_, ledger)| &mut ledger.private_blocks),
            RecordPlace::Worker(worker) => self.workers.get_mut(&worker).map(|ledger| &mut ledger.blocks),
        };
        if let Some(booked) = booked {
            *booked = *booked + blocks - before;
        }
    }

    pub(super) fn end(&mut self, id: BookingId, how: End, now: Millis) {
        let Some(mut record) = self.bookings.remove(&id) else { return };
        if let Some(at) = record.due.take() {
            self.due.remove(&(at, id));
        }
        let prefill = record.booked_prefill();
        record.live = false;
        let slot = match record.place {
            RecordPlace::Target(slot) => slot,
            RecordPlace::Worker(worker) => {
                let Some(ledger) = self.workers.get_mut(&worker) else { return };
                ledger.prefill_tokens -= prefill;
                ledger.blocks -= record.private_blocks;
                ledger.running -= record.running;
                if *ledger == WorkerLedger::default() {
                    self.workers.remove(&worker);
                }
                return;
            }
        };
        let Some(ledger) = self.ledger_mut(slot) else { return };
        ledger.prefill_tokens -= prefill;
        ledger.private_blocks -= record.private_blocks;
        ledger.running -= record.running;
        let ran = match how {
            End::Answered => true,
            End::Cancelled => record.prefilled,
            End::NeverRan => false,
        };
        let wait = ran && record.pending > 0;
        // Backwards, so that what is freed is freed from its end.
        for block in record.blocks.iter().rev() {
            self.unclaim(slot, block.node, id, Unclaim { live: true, pending: block.pending && !wait });
        }
        if wait {
            record.output_at.get_or_insert(now);
            let (min, max) = (self.config.pending_grace_ms_min, self.config.pending_grace_ms_max);
            let grace = self.ledger(slot).map_or(max, |ledger| ledger.lag.grace_ms(min, max));
            let at = Millis(now.0.saturating_add(grace));
            record.due = Some(at);
            self.due.insert((at, id));
            self.bookings.insert(id, record);
        }
    }

    /// Takes a booking's claim of a block away. What it owned of it goes to the next, whose prefill grows. True if it
    /// owned the block.
    fn unclaim(&mut self, slot: Slot, node: NodeId, id: BookingId, what: Unclaim) -> bool {
        let Some((_, ledger)) = self.ledgers.get_mut(slot as usize).and_then(Option::as_mut) else {
            return false;
        };
        let mut owned = false;
        let mut heir = None;
        self.index.with_claim(node, slot, |claim| {
            if what.live {
                claim.live -= 1;
                ledger.shared_blocks -= u32::from(claim.live == 0);
            }
            if what.pending {
                owned = claim.pending.first() == Some(&id);
                claim.pending.retain(|known| *known != id);
                ledger.pending_blocks -= u32::from(claim.pending.is_empty());
                heir = claim.pending.first().copied().filter(|_| owned);
            }
        });
        let tokens = u64::from(ledger.block_size.0);
        let position = self.index.depth(node) as usize - 1;
        if let Some(heir) = heir {
            self.change_prefill(heir, |record| {
                if let Some(block) = record.blocks.get_mut(position).filter(|block| !block.charged) {
                    block.charged = true;
                    record.prefill_tokens += tokens;
                }
            });
        }
        self.index.release(node);
        owned
    }

    pub(super) fn is_due(&self, now: Millis) -> bool {
        self.due.first().is_some_and(|(at, _)| *at <= now)
    }

    pub(super) fn advance(&mut self, now: Millis) {
        while let Some((_, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            let Some(record) = self.bookings.get_mut(&id) else { continue };
            record.due = None;
            if record.live {
                self.change_prefill(id, |record| record.prefilled = true);
            } else {
                self.give_up(id, now);
            }
        }
    }

    /// The grace of an ended booking is over.
    fn give_up(&mut self, id: BookingId, now: Millis) {
        let Some(record) = self.bookings.remove(&id) else { return };
        let RecordPlace::Target(slot) = record.place else { return };
        let mut unconfirmed = 0;
        for block in record.blocks.iter().rev().filter(|block| block.pending) {
            let owned = self.unclaim(slot, block.node, id, Unclaim { live: false, pending: true });
            unconfirmed += u32::from(owned);
        }
        let (sample, permille_max) = (self.config.unconfirmed_sample, self.config.unconfirmed_permille_max);
        if let Some(ledger) = self.ledger_mut(slot) {
            // What is given up is late by so much at least: a grace that is too short grows.
            if let Some(lag_ms) = record.event_lag_ms(now).filter(|_| unconfirmed > 0) {
                ledger.lag.note(lag_ms);
            }
            for _ in 0..unconfirmed {
                ledger.confirmations.fail(sample, permille_max);
            }
        }
    }

    /// Forgets all bookings of a place, and what they claim. The caller resets the ledger.
    pub(super) fn void(&mut self, place: RecordPlace) {
        let ids: Vec<_> = self.of_place(place).map(|(id, _)| id).collect();
        for id in ids {
            let Some(record) = self.bookings.remove(&id) else { continue };
            if let Some(at) = record.due {
                self.due.remove(&(at, id));
            }
            let RecordPlace::Target(slot) = place else { continue };
            for block in record.blocks.iter().rev().filter(|block| record.live || block.pending) {
                self.index.with_claim(block.node, slot, |claim| {
                    claim.live -= u32::from(record.live);
                    claim.pending.retain(|known| *known != id);
                });
                self.index.release(block.node);
            }
        }
        if let RecordPlace::Worker(worker) = place {
            self.workers.remove(&worker);
        }
    }
}

/// What of a claim goes.
#[derive(Clone, Copy, Debug)]
struct Unclaim {
    live: bool,
    pending: bool,
}
