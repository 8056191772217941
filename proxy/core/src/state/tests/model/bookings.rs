//! What becomes of bookings, in the model and in the state.

use super::{GRACE, MBooking, Path, SIZES, World};
use crate::ids::Millis;
use crate::request::PlacementRequest;
use crate::snapshot::Snapshot;
use crate::state::Choice;

impl World {
    pub(super) fn book(&mut self, target: usize, path: &Path, tail: u32) {
        let prompt = self.prompt(path, tail);
        let request = PlacementRequest { prompt: Some(&prompt), ..PlacementRequest::default() };
        let mut snapshot = Snapshot::new();
        self.state.snapshot(&request, &[], &mut |_| true, Millis(self.now), &mut snapshot);
        let choice = Choice::Row(target as u32);
        let guard = self.state.book(&snapshot, choice, &request, false, Millis(self.now)).unwrap();
        let overlap = self.overlap(target, path);
        let expected = guard.expected();
        assert_eq!(
            (expected.device_blocks, expected.host_blocks, expected.disk_blocks, expected.pending_blocks),
            (overlap.device, overlap.host, overlap.disk, overlap.pending)
        );
        let reach = (overlap.held() + overlap.pending) as usize;
        let prefixes = (1..=path.1.len()).map(|end| (path.0, path.1[..end].to_vec()));
        let pending = prefixes.clone().map(|path| !self.on_device(target, &path)).collect();
        let charged = prefixes
            .enumerate()
            .map(|(at, path)| at >= reach && self.owner(target, &path).is_none())
            .collect();
        let rest = u64::from(prompt.tokens) - path.1.len() as u64 * u64::from(SIZES[target]);
        self.bookings.push(MBooking {
            guard: Some(guard),
            target,
            path: path.clone(),
            charged,
            pending,
            rest,
            live: true,
            prefilled: false,
            due: None,
        });
    }

    /// Takes what a booking waits for away; what it owned goes to the next.
    fn hand_on(&mut self, which: usize) {
        let target = self.bookings[which].target;
        for at in 0..self.bookings[which].path.1.len() {
            let path = (self.bookings[which].path.0, self.bookings[which].path.1[..=at].to_vec());
            let owned = self.owner(target, &path) == Some(which);
            self.bookings[which].pending[at] = false;
            if let Some(heir) = self.owner(target, &path).filter(|_| owned) {
                self.bookings[heir].charged[at] = true;
            }
            self.unconfirmed[target] += u64::from(owned && self.bookings[which].due.is_some());
        }
    }

    pub(super) fn end(&mut self, which: usize, how: usize) {
        let booking = &mut self.bookings[which];
        let Some(guard) = booking.guard.take() else { return };
        let ran = match how % 3 {
            0 => {
                guard.finish(Millis(self.now));
                true
            }
            1 => {
                guard.fail_before_send(Millis(self.now));
                false
            }
            _ => {
                drop(guard);
                booking.prefilled
            }
        };
        if !booking.live {
            return;
        }
        booking.live = false;
        if ran {
            booking.due = Some(self.now + GRACE);
        } else {
            self.hand_on(which);
        }
    }

    pub(super) fn advance(&mut self, by: u64) {
        self.now += by;
        self.state.advance(Millis(self.now));
        let mut due: Vec<_> = (0..self.bookings.len())
            .filter_map(|which| self.bookings[which].due.map(|at| (at, which)))
            .filter(|(at, _)| *at <= self.now)
            .collect();
        due.sort_unstable();
        for (_, which) in due {
            self.hand_on(which);
            self.bookings[which].due = None;
        }
    }
}
