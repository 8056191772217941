//! Who is who behind Dynamo's frontends: each of the workers that a frontend lists is one entry's of a pool.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use parking_lot::Mutex;
use rankwise_engines::dynamo::INSTANCE_HEADER;
use tokio::time::Instant;

use crate::config::{EngineKind, Worker};

/// Of a process. As many as there are pools and addresses of workers behind one.
#[derive(Debug, Default)]
pub struct Frontends(Mutex<BTreeMap<PoolAndAddress, Frontend>>);

type PoolAndAddress = (String, String);

#[derive(Debug, Default)]
struct Frontend {
    /// Entries of the pool that name it.
    entries: usize,
    /// By a worker's id, whose it is.
    owners: BTreeMap<u64, Arc<str>>,
}

/// One entry's place at its frontend, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    frontends: Arc<Frontends>,
    at: PoolAndAddress,
    name: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Its worker.
    own: Option<Own>,
    /// The last look for it, which found none.
    failed: Option<Failed>,
}

#[derive(Clone, Copy, Debug)]
struct Own {
    id: u64,
    /// By its events or by config; else it was the only one.
    shown: bool,
}

#[derive(Debug)]
struct Failed {
    asked: Vec<u64>,
    error: String,
    /// Not to be repeated before.
    again: Instant,
    pause: Duration,
}

/// Between two looks that ask the same workers.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

impl Seat {
    /// That of a worker, if it is behind a frontend; the id that config names is its own from the start.
    pub fn of(frontends: &Arc<Frontends>, pool: &str, worker: &Worker) -> Option<Self> {
        if worker.engine != EngineKind::Dynamo {
            return None;
        }
        let at = (pool.to_owned(), worker.url.authority());
        let own = named_instance(&worker.headers.iter().cloned().collect());
        let own = own.map(|id| Own { id, shown: true });
        {
            let mut all = frontends.0.lock();
            let frontend = all.entry(at.clone()).or_default();
            frontend.entries += 1;
            // Config is believed, whatever was found before.
            frontend.owners.extend(own.map(|own| (own.id, Arc::clone(&worker.name))));
        }
        let state = Mutex::new(State { own, failed: None });
        Some(Self { frontends: Arc::clone(frontends), at, name: Arc::clone(&worker.name), state })
    }

    /// Its worker, if that is among those there and is surely its own.
    pub(super) fn kept(&self, there: &[u64]) -> Option<u64> {
        let own = self.state.lock().own.filter(|own| there.contains(&own.id))?;
        let (alone, owner) =
            self.look(|frontend| (frontend.entries == 1, frontend.owners.get(&own.id).cloned()));
        ((own.shown || alone) && owner.as_ref() == Some(&self.name)).then_some(own.id)
    }

    /// Whether no other entry names the frontend.
    pub(super) fn is_alone(&self) -> bool {
        self.look(|frontend| frontend.entries == 1)
    }

    /// Those of the workers there that are nobody else's. A worker of its own that is not among them is given up.
    pub(super) fn open(&self, there: &[u64]) -> Vec<u64> {
        let mut state = self.state.lock();
        if state.own.is_some_and(|own| !there.contains(&own.id)) {
            self.give_up(&mut state);
        }
        self.look(|frontend| {
            let is_open = |id: &u64| frontend.owners.get(id).is_none_or(|owner| *owner == self.name);
            there.iter().copied().filter(is_open).collect()
        })
    }

    /// Makes a worker its own. `shown`: it was not only the last one left.
    ///
    /// # Errors
    /// Whose it is by now.
    pub(super) fn take(&self, id: u64, shown: bool) -> Result<(), Arc<str>> {
        let mut state = self.state.lock();
        if state.own.is_some_and(|own| own.id != id) {
            self.give_up(&mut state);
        }
        let owner = self
            .look(|frontend| Arc::clone(frontend.owners.entry(id).or_insert_with(|| Arc::clone(&self.name))));
        if owner != self.name {
            return Err(owner);
        }
        *state = State { own: Some(Own { id, shown }), failed: None };
        Ok(())
    }

    /// What the last look found, if asking the same workers again has to wait.
    pub(super) fn failed(&self, open: &[u64], now: Instant) -> Option<String> {
        let state = self.state.lock();
        let same = state.failed.as_ref().filter(|failed| failed.asked == open && now < failed.again);
        same.map(|failed| failed.error.clone())
    }

    /// Takes note of a look that found none.
    pub(super) fn fail(&self, asked: Vec<u64>, error: String, now: Instant) {
        let mut state = self.state.lock();
        let former = state.failed.as_ref().filter(|failed| failed.asked == asked);
        let pause = former.map_or(PAUSE, |failed| (failed.pause * 2).min(PAUSE_MAX));
        state.failed = Some(Failed { asked, error, again: now + pause, pause });
    }

    fn give_up(&self, state: &mut State) {
        let Some(own) = state.own.take() else { return };
        self.look(|frontend| {
            if frontend.owners.get(&own.id) == Some(&self.name) {
                frontend.owners.remove(&own.id);
            }
        });
    }

    /// Its frontend is there as long as a seat is.
    fn look<T>(&self, at: impl FnOnce(&mut Frontend) -> T) -> T {
        at(self.frontends.0.lock().entry(self.at.clone()).or_default())
    }
}

/// Which of the workers behind a Dynamo frontend these headers name.
pub(super) fn named_instance(headers: &HeaderMap) -> Option<u64> {
    headers.get(INSTANCE_HEADER)?.to_str().ok()?.parse().ok()
}

impl Drop for Seat {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let own = state.own.take().map(|own| own.id);
        let mut all = self.frontends.0.lock();
        let Some(frontend) = all.get_mut(&self.at) else { return };
        if let Some(id) = own.filter(|id| frontend.owners.get(id) == Some(&self.name)) {
            frontend.owners.remove(&id);
        }
        frontend.entries -= 1;
        if frontend.entries == 0 {
            all.remove(&self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_worker;

    fn seat(frontends: &Arc<Frontends>, name: &str, id: Option<u64>) -> Seat {
        in_pool("main", frontends, name, id)
    }

    fn in_pool(pool: &str, frontends: &Arc<Frontends>, name: &str, id: Option<u64>) -> Seat {
        let headers =
            id.map(|id| format!(r#", "headers": {{ "x-worker-instance-id": "{id}" }}"#)).unwrap_or_default();
        let worker = format!(
            r#"{{ "name": "{name}", "url": "http://a:1", "engine": "dynamo", "ranks": 1{headers} }}"#
        );
        Seat::of(frontends, pool, &parse_worker(worker.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_worker_is_one_entrys_until_it_is_gone() {
        let frontends = Arc::default();
        let (a, b) = (seat(&frontends, "a", None), seat(&frontends, "b", None));
        assert_eq!((a.open(&[1, 2]), b.open(&[1, 2])), (vec![1, 2], vec![1, 2]));
        a.take(2, true).unwrap();
        assert_eq!((a.kept(&[1, 2]), b.open(&[1, 2])), (Some(2), vec![1]));
        assert_eq!(b.take(2, true).unwrap_err().as_ref(), "a");
        b.take(1, true).unwrap();
        // It comes back under another name, which is nobody's.
        assert_eq!((a.kept(&[1, 3]), a.open(&[1, 3])), (None, vec![3]));
        assert_eq!(b.kept(&[1, 3]), Some(1));
        assert_eq!(b.open(&[1, 2, 3]), [1, 2, 3]);
        drop(b);
        assert_eq!(a.open(&[1, 3]), [1, 3]);
        drop(a);
        assert!(frontends.0.lock().is_empty());
    }

    #[test]
    fn the_only_worker_is_doubted_as_soon_as_there_are_two_entries_and_one_that_is_shown_is_not() {
        let frontends = Arc::default();
        let a = seat(&frontends, "a", None);
        assert!(a.is_alone());
        a.take(1, false).unwrap();
        assert_eq!(a.kept(&[1]), Some(1));
        let b = seat(&frontends, "b", None);
        assert!(!a.is_alone());
        assert_eq!((a.kept(&[1]), a.open(&[1])), (None, vec![1]));
        a.take(1, true).unwrap();
        assert_eq!((a.kept(&[1, 2]), b.open(&[1, 2])), (Some(1), vec![2]));
    }

    #[test]
    fn whom_config_names_is_nobody_elses() {
        let frontends = Arc::default();
        let a = seat(&frontends, "a", None);
        a.take(1, false).unwrap();
        let b = seat(&frontends, "b", Some(1));
        assert_eq!((a.kept(&[1, 2]), a.open(&[1, 2]), b.kept(&[1])), (None, vec![2], Some(1)));
        let elsewhere = in_pool("other", &frontends, "c", None);
        assert_eq!(elsewhere.open(&[1, 2]), [1, 2]);
    }

    #[test]
    fn the_same_workers_are_asked_again_after_a_pause_and_others_at_once() {
        let a = seat(&Arc::default(), "a", None);
        let mut now = Instant::now();
        assert_eq!(a.failed(&[1], now), None);
        for pause in [PAUSE, PAUSE * 2, PAUSE * 4] {
            a.fail(vec![1], "silent".to_owned(), now);
            assert_eq!((a.failed(&[1], now).as_deref(), a.failed(&[1, 2], now)), (Some("silent"), None));
            assert!(a.failed(&[1], now + pause - Duration::from_millis(1)).is_some());
            now += pause;
            assert_eq!(a.failed(&[1], now), None);
        }
    }
}
