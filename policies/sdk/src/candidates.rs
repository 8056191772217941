//! Rows that are left to choose from: filters and picks.

use crate::{Draw, Ranks, lanes};

#[cfg(test)]
mod tests;

/// The rows that are left to choose from, in the table's order. Filters narrow them down, a pick takes one.
///
/// ```
/// use rankwise_policy::prelude::*;
///
/// let needs = Needs::columns(&[Column::Running, Column::Condition]);
/// let ranks = RanksBuilder::new(4)
///     .set(Column::Running, &[0, 2, 9, 2])
///     .set(Column::Condition, &[Condition::RECOVERING, 0, 0, 0])
///     .build(&needs);
/// let (running, condition) = (ranks.column(Column::Running), ranks.column(Column::Condition));
///
/// let row = Candidates::all(&ranks)
///     .prefer(|row| condition[row] & Condition::RECOVERING == 0)
///     .least(|row| running[row])
///     .any(&mut Draw::new(7));
/// assert!(matches!(row, Some(1 | 3)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates(pub(crate) Vec<u32>);

impl Candidates {
    /// Every row.
    pub fn all(ranks: &Ranks) -> Self {
        Self((0..ranks.rows()).collect())
    }

    /// A filter: only rows that pass, which may be none.
    #[must_use]
    pub fn keep(mut self, passes: impl Fn(usize) -> bool) -> Self {
        self.0.retain(|&row| passes(row as usize));
        self
    }

    /// A filter that gives way: rows that pass if there are any, else all as before.
    #[must_use]
    pub fn prefer(self, passes: impl Fn(usize) -> bool) -> Self {
        let kept: Vec<u32> = self.0.iter().copied().filter(|&row| passes(row as usize)).collect();
        if kept.is_empty() { self } else { Self(kept) }
    }

    /// The rows of least cost: one, or those that are exactly equal. A cost that is not a number loses to any other.
    #[must_use]
    pub fn least<Cost: PartialOrd + Copy>(self, cost: impl Fn(usize) -> Cost) -> Self {
        if self.0.len() < 2 {
            return self;
        }
        let costs: Vec<Cost> = self.0.iter().map(|&row| cost(row as usize)).collect();
        let Some(least) = lanes::least(&costs) else { return self };
        Self(self.0.iter().zip(costs).filter(|(_, cost)| *cost == least).map(|(&row, _)| row).collect())
    }

    /// A pick: each row is as likely as the others. `None` if there are none.
    pub fn any(&self, draw: &mut Draw) -> Option<u32> {
        match self.0.as_slice() {
            [row] => Some(*row),
            rows => rows.get(draw.below(rows.len() as u32) as usize).copied(),
        }
    }

    /// A pick: draws `choices` different rows (or all there are) and takes the one of least cost, of equal ones the one
    /// drawn first. With two, no row gets more than twice its share however cheap it looks, which is why it is kind to
    /// figures that lag behind (Mitzenmacher 2001, "the power of two choices").
    pub fn best_of<Cost: PartialOrd>(
        mut self,
        choices: u32,
        draw: &mut Draw,
        cost: impl Fn(usize) -> Cost,
    ) -> Option<u32> {
        let count = self.0.len();
        let mut best: Option<(u32, Cost)> = None;
        for drawn in 0..count.min(choices.max(1) as usize) {
            let other = drawn + draw.below((count - drawn) as u32) as usize;
            self.0.swap(drawn, other);
            let row = self.0[drawn];
            let cost = cost(row as usize);
            if best.as_ref().is_none_or(|(_, least)| cost < *least) {
                best = Some((row, cost));
            }
        }
        best.map(|(row, _)| row)
    }

    /// The rows.
    pub fn rows(&self) -> &[u32] {
        &self.0
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of these rows, in the table's order.
impl From<Vec<u32>> for Candidates {
    fn from(rows: Vec<u32>) -> Self {
        Self(rows)
    }
}
