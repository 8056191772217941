//! What happens to bookings afterwards: prefill done, pending blocks confirmed, handed on or given up, the end.

use std::ops::Range;

use smallvec::SmallVec;

use super::inner::Inner;
use crate::ids::Millis;
use crate::index::{ExtentId, Segment, Slot, Span};
use crate::ledger::{Bits, BookingId, Record, RecordPlace, WorkerLedger};

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
            && record.computes
        {
            let (backlog, elapsed) = (record.backlog, now.since(record.booked_at));
            if let Some(ledger) = self.ledger_mut(slot) {
                ledger.rate.learn(backlog, elapsed);
            }
        }
        self.change_prefill(id, |record| record.prefilled = true);
        self.learn(id, now);
    }

    /// The booking's prompt is computed: where nothing will tell so, it is taken as cached.
    fn learn(&mut self, id: BookingId, now: Millis) {
        let Some(record) = self.bookings.get_mut(&id) else { return };
        if let RecordPlace::Target(slot) = record.place
            && let Some(chain) = record.learnable.take()
        {
            self.remember(slot, chain, now);
        }
    }

    /// Changes what a record says of its prefill, and the ledger with it.
    fn change_prefill(&mut self, id: BookingId, change: impl FnOnce(&mut Record)) {
        let Some(record) = self.bookings.get_mut(&id) else { return };
        let (before, was_long) = (record.booked_prefill(), record.is_long_prefill());
        change(record);
        let after = record.booked_prefill();
        let ends_long = was_long && !record.is_long_prefill();
        let tokens = match record.place {
            RecordPlace::Target(slot) => {
                self.ledgers.get_mut(slot as usize).and_then(Option::as_mut).map(|(_, ledger)| {
                    ledger.long_prefills -= u32::from(ends_long);
                    &mut ledger.prefill_tokens
                })
            }
            RecordPlace::Worker(worker) => {
                self.workers.get_mut(&worker).map(|ledger| &mut ledger.prefill_tokens)
            }
        };
        if let Some(tokens) = tokens {
            *tokens = *tokens + after - before;
        }
    }

    /// The target stored blocks on its device tier: they are pending for nobody any more. Returns how many were.
    pub(super) fn confirm(&mut self, slot: Slot, span: Span, now: Millis) -> u32 {
        let ids = self.holders(slot, span.extent);
        let Some(ledger) = self.ledger_mut(slot).filter(|_| !ids.is_empty()) else { return 0 };
        let tokens = u64::from(ledger.block_size.0);
        let whole = Segment { extent: span.extent, first: self.index.depth(span.extent), blocks: span.end };
        let range = whole.range().start + usize::from(span.start)..whole.range().end;
        let mut confirmed = Bits::default();
        let mut lags: SmallVec<[u64; 2]> = SmallVec::new();
        for (id, contained) in ids {
            let range = range.start..range.end.min(contained.end);
            let here = match self.bookings.get(&id) {
                Some(record) if !range.is_empty() => record.pending.within(range),
                _ => continue,
            };
            if here.is_empty() {
                continue;
            }
            let record = self.bookings.get(&id).filter(|record| {
                // The owner computed it; for the others it may have been there long before their output.
                let last = record.blocks() - 1;
                here.contains(last) && !confirmed.contains(last)
            });
            lags.extend(record.and_then(|record| record.event_lag_ms(now)));
            self.change_prefill(id, |record| {
                let charged = record.charged.clone().and(&here).count();
                record.prefill_tokens -= u64::from(charged) * tokens;
                record.charged = record.charged.clone().and_not(&here);
                record.pending = record.pending.clone().and_not(&here);
                record.prefilled |= here.contains(record.blocks() - 1);
            });
            confirmed = confirmed.or(&here);
            self.forget_if_through(id, slot, whole);
        }
        let count = self.index.unset_pending(slot, whole, &confirmed);
        self.index.release(span.extent);
        let (sample, permille_max) = (self.config.unconfirmed_sample, self.config.unconfirmed_permille_max);
        if let Some(ledger) = self.ledger_mut(slot) {
            lags.into_iter().for_each(|lag_ms| ledger.lag.note(lag_ms));
            ledger.pending_blocks -= count;
            for _ in 0..count {
                ledger.confirmations.confirm(sample, permille_max);
            }
        }
        count
    }

    /// The target's bookings that contain blocks of an extent, oldest first, and which positions in their prompts those
    /// are. What follows there lies in another extent for each.
    fn holders(&self, slot: Slot, extent: ExtentId) -> SmallVec<[(BookingId, Range<usize>); 8]> {
        let first = self.index.depth(extent) as usize;
        let claims = self.index.claims(slot, extent).iter();
        claims.map(|claim| (claim.booking, first..first + usize::from(claim.blocks))).collect()
    }

    /// Ends everything that is pending on a target, as its cache was cleared.
    pub(super) fn drop_pending(&mut self, slot: Slot) {
        let waiting: Vec<_> = self
            .of_place(RecordPlace::Target(slot))
            .filter(|(_, record)| !record.pending.is_empty())
            .map(|(id, _)| id)
            .collect();
        let mut freed = Vec::new();
        for id in waiting {
            let Some(record) = self.bookings.get_mut(&id) else { continue };
            let pending = std::mem::take(&mut record.pending);
            let live = record.live;
            for segment in record.segments.iter().rev() {
                if pending.within(segment.range()).is_empty() {
                    continue;
                }
                self.index.drop_pending(slot, *segment);
                if !live {
                    self.index.drop_claim(slot, id, *segment);
                }
                freed.push(segment.extent);
            }
            if !live && let Some(Record { due: Some(at), .. }) = self.bookings.remove(&id) {
                self.due.remove(&(at, id));
            }
        }
        // Only now: bookings share extents.
        freed.into_iter().for_each(|extent| self.index.release(extent));
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

    /// Nothing more is waited for in a segment: an ended booking gives up its claim on it, and is forgotten with the
    /// last.
    fn forget_if_through(&mut self, id: BookingId, slot: Slot, segment: Segment) {
        let Some(record) = self.bookings.get(&id).filter(|record| !record.live) else { return };
        let through = record
            .segments
            .iter()
            .find(|known| known.extent == segment.extent)
            .is_none_or(|known| record.pending.within(known.range()).is_empty());
        let last = record.pending.is_empty();
        if through {
            self.index.drop_claim(slot, id, segment);
        }
        if last && let Some(Record { due: Some(at), .. }) = self.bookings.remove(&id) {
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
        if how == End::Answered {
            self.learn(id, now);
        }
        let Some(mut record) = self.bookings.remove(&id) else { return };
        if let Some(at) = record.due.take() {
            self.due.remove(&(at, id));
        }
        let (prefill, was_long) = (record.booked_prefill(), record.is_long_prefill());
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
        ledger.long_prefills -= u32::from(was_long);
        let ran = match how {
            End::Answered => true,
            End::Cancelled => record.has_run(),
            End::NeverRan => false,
        };
        let wait = ran && !record.pending.is_empty();
        // Backwards, so that what is freed is freed from its end.
        for segment in record.segments.iter().rev() {
            let ended = self.index.end_claim(slot, id, *segment);
            if let Some(ledger) = self.ledger_mut(slot) {
                ledger.shared_blocks -= ended;
            }
            let here = record.pending.within(segment.range());
            if !wait {
                self.hand_on(slot, id, *segment, here);
            } else if here.is_empty() {
                self.index.drop_claim(slot, id, *segment);
            }
            self.index.release(segment.extent);
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

    /// A booking gives up its claim on a segment, and what it waited for there. What it owned of that goes to the next, whose
    /// prefill grows. Returns how many blocks it owned.
    fn hand_on(&mut self, slot: Slot, id: BookingId, segment: Segment, mut rest: Bits) -> u32 {
        let holders = if rest.is_empty() { SmallVec::new() } else { self.holders(slot, segment.extent) };
        self.index.drop_claim(slot, id, segment);
        let Some(ledger) = self.ledger_mut(slot).filter(|_| !rest.is_empty()) else { return 0 };
        let tokens = u64::from(ledger.block_size.0);
        let (older, younger): (Vec<_>, Vec<_>) =
            holders.into_iter().filter(|(other, _)| *other != id).partition(|(other, _)| *other < id);
        for (other, range) in older {
            if let Some(other) = self.bookings.get(&other) {
                rest = rest.and_not(&other.pending.within(range));
            }
        }
        let owned = rest.count();
        for (heir, range) in younger {
            let Some(record) = self.bookings.get(&heir) else { continue };
            let inherited = rest.clone().and(&record.pending.within(range));
            self.change_prefill(heir, |record| {
                let new = inherited.clone().and_not(&record.charged);
                record.prefill_tokens += u64::from(new.count()) * tokens;
                record.charged = std::mem::take(&mut record.charged).or(&new);
            });
            rest = rest.and_not(&inherited);
        }
        let gone = self.index.unset_pending(slot, segment, &rest);
        if let Some(ledger) = self.ledger_mut(slot) {
            ledger.pending_blocks -= gone;
        }
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
        for segment in record.segments.iter().rev() {
            let here = record.pending.within(segment.range());
            if !here.is_empty() {
                unconfirmed += self.hand_on(slot, id, *segment, here);
                self.index.release(segment.extent);
            }
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
        let mut freed = Vec::new();
        for id in ids {
            let Some(record) = self.bookings.remove(&id) else { continue };
            if let Some(at) = record.due {
                self.due.remove(&(at, id));
            }
            let RecordPlace::Target(slot) = place else { continue };
            for segment in record.segments.iter().rev() {
                if record.live || !record.pending.within(segment.range()).is_empty() {
                    self.index.end_claim(slot, id, *segment);
                    self.index.drop_claim(slot, id, *segment);
                    self.index.drop_pending(slot, *segment);
                    freed.push(segment.extent);
                }
            }
        }
        // Only now: bookings share extents.
        freed.into_iter().for_each(|extent| self.index.release(extent));
        if let RecordPlace::Worker(worker) = place {
            self.workers.remove(&worker);
        }
    }
}
