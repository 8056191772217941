//! Where bodies that share a whole stretch can be read on: behind messages that end in the next one.

use std::sync::Arc;

use super::charge::Charge;
use crate::body::{Field, Mark, Span};

/// Ends kept for one beginning: a popular system prompt has many that follow it.
const ENDS_MAX: usize = 8;

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// Of the body up to there.
    pub(super) name: u128,
    pub(super) mark: Mark,
}

/// Those of one beginning, what was asked for last in front.
#[derive(Debug, Default)]
pub(super) struct Ends {
    ends: Vec<End>,
    pub(super) charge: Charge,
}

impl Ends {
    /// With `end` in front; one gives way if there are too many. `None` if it stands near the front already.
    pub(super) fn with(found: Option<&Arc<Self>>, end: End) -> Option<Self> {
        let known = found.map_or(&[][..], |found| &found.ends);
        let at = known.iter().position(|other| other.name == end.name);
        if at.is_some_and(|at| at < ENDS_MAX / 2) {
            return None;
        }
        let name = end.name;
        let others = known.iter().filter(|other| other.name != name).take(ENDS_MAX - 1).cloned();
        Some(Self { ends: std::iter::once(end).chain(others).collect(), charge: Charge::default() })
    }

    /// The furthest whose name `is_name` confirms, given where it ends.
    pub(super) fn furthest(&self, mut is_name: impl FnMut(usize, u128) -> bool) -> Option<&End> {
        let mut best: Option<&End> = None;
        for end in &self.ends {
            let further = best.is_none_or(|best| best.mark.offset < end.mark.offset);
            if further && is_name(end.mark.offset, end.name) {
                best = Some(end);
            }
        }
        best
    }

    /// Memory besides what [`super::store`] adds for each entry.
    pub(super) fn bytes(&self) -> usize {
        let fields = |end: &End| end.mark.fields.len() * size_of::<(Field, Span)>();
        size_of::<Self>() + self.ends.iter().map(|end| size_of::<End>() + fields(end)).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use smallvec::SmallVec;

    use super::*;

    fn end(name: u128) -> End {
        let mark = Mark { start: 1, offset: name as usize, messages: 1, fields: SmallVec::new() };
        End { name, mark }
    }

    fn with(ends: Option<Ends>, name: u128) -> Option<Ends> {
        Ends::with(ends.map(Arc::new).as_ref(), end(name))
    }

    #[test]
    fn what_is_asked_for_stays() {
        let mut ends = with(None, 100).unwrap();
        for name in 0..50 {
            let known = Arc::new(with(Some(ends), name).unwrap());
            // Asked for again before it has gone.
            ends = match Ends::with(Some(&known), end(100)) {
                Some(moved) => moved,
                None => Arc::into_inner(known).unwrap(),
            };
            assert!(ends.ends.len() <= ENDS_MAX);
            assert!(ends.furthest(|_, name| name == 100).is_some());
        }
    }

    #[test]
    fn the_oldest_gives_way() {
        let ends = (1..=20).fold(None, with).unwrap();
        let names: Vec<u128> = ends.ends.iter().map(|end| end.name).collect();
        assert_eq!(names, [20, 19, 18, 17, 16, 15, 14, 13]);
        assert_eq!(ends.furthest(|_, name| name < 18).map(|end| end.name), Some(17));
        assert!(ends.furthest(|_, _| false).is_none());
    }

    #[test]
    fn what_stands_near_the_front_is_not_put_again() {
        let ends = (1..=6).fold(None, with).map(Arc::new);
        assert!(Ends::with(ends.as_ref(), end(4)).is_none());
        assert_eq!(Ends::with(ends.as_ref(), end(1)).unwrap().ends[0].name, 1);
    }
}
