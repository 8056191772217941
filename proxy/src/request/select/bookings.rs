//! Bookings whose requests somebody else carries: until they say how it ended, or the time is over.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::Placed;
use crate::clock;
use crate::pool::Pool;

/// Names a booking. Not to be guessed, and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BookingId(u128);

impl fmt::Display for BookingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for BookingId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten().ok_or(())
    }
}

/// How a booking ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookingEnd {
    /// The engine answered it.
    Answered,
    /// It never reached the engine.
    NeverRan,
}

struct Held {
    pool: Arc<Pool>,
    placed: Placed,
    until: Instant,
}

/// All of them.
pub(super) struct Bookings {
    held: FxHashMap<BookingId, Held>,
    ends: BTreeMap<(Instant, BookingId), ()>,
    max: usize,
}

impl Bookings {
    /// Room for so many.
    pub(super) fn new(max: usize) -> Self {
        Self { held: FxHashMap::default(), ends: BTreeMap::new(), max }
    }

    pub(super) fn has_room(&self) -> bool {
        self.held.len() < self.max
    }

    /// Holds a booking until then, or until it is ended.
    pub(super) fn hold(&mut self, pool: Arc<Pool>, placed: Placed, until: Instant) -> BookingId {
        let id = BookingId(fastrand::u128(..));
        self.held.insert(id, Held { pool, placed, until });
        self.ends.insert((until, id), ());
        id
    }

    /// Its first byte has come. Whether it is held for this pool.
    pub(super) fn first_byte(&self, pool: &str, id: BookingId) -> bool {
        let Some(held) = self.held.get(&id).filter(|held| held.pool.name == pool) else { return false };
        if let Some(booking) = &held.placed.booking {
            booking.first_output(clock::now());
        }
        held.pool.load_changed();
        true
    }

    /// Ends it. Whether it was held, for this pool if one is named.
    pub(super) fn end(&mut self, pool: Option<&str>, id: BookingId, how: BookingEnd) -> bool {
        let is_there = self.held.get(&id).is_some_and(|held| pool.is_none_or(|pool| held.pool.name == pool));
        let Some(mut held) = is_there.then(|| self.held.remove(&id)).flatten() else { return false };
        self.ends.remove(&(held.until, id));
        match how {
            BookingEnd::Answered => {
                held.pool.metrics.selections_ended.inc();
                held.placed.end(|booking| booking.finish(clock::now()));
            }
            BookingEnd::NeverRan => {
                held.pool.metrics.selections_never_ran.inc();
                held.placed.end(|booking| booking.fail_before_send(clock::now()));
            }
        }
        held.pool.load_changed();
        true
    }

    /// Lets go of those whose time is over, as if their clients had gone away.
    pub(super) fn sweep(&mut self, now: Instant) {
        while let Some(entry) = self.ends.first_entry()
            && entry.key().0 <= now
        {
            let ((_, id), ()) = entry.remove_entry();
            if let Some(held) = self.held.remove(&id) {
                held.pool.metrics.selections_timed_out.inc();
                drop(held.placed);
                held.pool.load_changed();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = BookingId(0xff);
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "ff", "+00000000000000000000000000000ff", "g00000000000000000000000000000ff"] {
            assert_eq!(wrong.parse::<BookingId>(), Err(()), "{wrong}");
        }
    }
}
