//! A lock whose readers wait for one step of a writer at most, however much it has to write.
//!
//! Writers take turns: one at a time has the turn, and changes the value step by step. Between two steps it lets everybody read
//! who waits for that. A reader waits by trying again, for longer than a step takes, before it goes to sleep: to be woken takes
//! longer than most steps.

#[cfg(not(shuttle))]
use std::hint::spin_loop;
use std::ops::Deref;
use std::sync::PoisonError;
#[cfg(not(shuttle))]
use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, atomic};

#[cfg(shuttle)]
use shuttle::hint::spin_loop;
#[cfg(shuttle)]
use shuttle::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, atomic};

use atomic::{AtomicUsize, Ordering::SeqCst};

/// How often a reader tries before it sleeps: some 50 us.
const TRIES: usize = if cfg!(shuttle) { 3 } else { 4096 };

/// How often a writer looks whether readers who wait have got in, before it goes on all the same: some 20 us. A reader that
/// waits may have been taken off its CPU.
const LOOKS: usize = if cfg!(shuttle) { 3 } else { 2048 };

#[derive(Debug)]
pub(super) struct Turns<T> {
    turn: Mutex<()>,
    value: RwLock<T>,
    /// Readers that try to get in.
    waiting: AtomicUsize,
}

impl<T> Turns<T> {
    pub(super) fn new(value: T) -> Self {
        Self { turn: Mutex::new(()), value: RwLock::new(value), waiting: AtomicUsize::new(0) }
    }

    /// The value as it is between two steps. Not to be asked for while it is held already.
    pub(super) fn read(&self) -> impl Deref<Target = T> + '_ {
        self.try_read().unwrap_or_else(|| self.wait())
    }

    fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        // A step that panicked is no reason to end everything else.
        match self.value.try_read() {
            Ok(value) => Some(value),
            Err(std::sync::TryLockError::Poisoned(value)) => Some(value.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }

    #[cold]
    fn wait(&self) -> RwLockReadGuard<'_, T> {
        self.waiting.fetch_add(1, SeqCst);
        let found = (0..TRIES).find_map(|_| {
            spin_loop();
            self.try_read()
        });
        let value = found.unwrap_or_else(|| self.value.read().unwrap_or_else(PoisonError::into_inner));
        self.waiting.fetch_sub(1, SeqCst);
        value
    }

    /// The turn to write.
    pub(super) fn write(&self) -> Turn<'_, T> {
        Turn { turns: self, _turn: self.turn.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

/// A writer's turn: until it is over nobody else changes the value.
pub(super) struct Turn<'a, T> {
    turns: &'a Turns<T>,
    _turn: MutexGuard<'a, ()>,
}

impl<T> Turn<'_, T> {
    /// The value, read beside other readers.
    pub(super) fn look(&self) -> impl Deref<Target = T> + '_ {
        self.turns.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step, which readers see as a whole. It is to be short.
    pub(super) fn step<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        for _ in 0..LOOKS {
            if self.turns.waiting.load(SeqCst) == 0 {
                break;
            }
            spin_loop();
        }
        change(&mut self.turns.value.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
