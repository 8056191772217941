//! A cost per row: scoring, over whole columns at a time.

use crate::{Candidates, Draw, Ranks, lanes, softmax};

#[cfg(test)]
mod tests;

/// A cost for every row, the lower the better. Terms are added a column at a time, in straight loops: quicker than a
/// formula that looks at one row after the other.
///
/// ```
/// use rankwise_policy::prelude::*;
///
/// let needs = Needs::columns(&[Column::PrefillTokens, Column::ActiveBlocks, Column::FreeBlocks]);
/// let ranks = RanksBuilder::new(3)
///     .set(Column::PrefillTokens, &[100, 0, 20])
///     .set(Column::ActiveBlocks, &[0, 90, 50])
///     .set(Column::FreeBlocks, &[50, 50, 0])
///     .build(&needs);
/// let free = ranks.column(Column::FreeBlocks);
///
/// let costs = Costs::zero(&ranks)
///     .add(1.0, ranks.column(Column::PrefillTokens))
///     .add(2.0, ranks.column(Column::ActiveBlocks))
///     .exclude(|row| free[row] == 0);
/// assert_eq!(costs.as_slice(), [100.0, 180.0, f64::INFINITY]);
/// assert_eq!(costs.least(&mut Draw::new(7)), Some(0));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Costs(Vec<f64>);

impl Costs {
    /// Nothing costs anything yet.
    pub fn zero(ranks: &Ranks) -> Self {
        Self(vec![0.0; ranks.rows() as usize])
    }

    /// A score: adds `factor * column`.
    #[must_use]
    pub fn add(mut self, factor: f64, column: &[u32]) -> Self {
        for (cost, &value) in self.0.iter_mut().zip(column) {
            *cost += factor * f64::from(value);
        }
        self
    }

    /// A score: adds what this says of each row.
    #[must_use]
    pub fn add_by(mut self, cost_of: impl Fn(usize) -> f64) -> Self {
        for (row, cost) in self.0.iter_mut().enumerate() {
            *cost += cost_of(row);
        }
        self
    }

    /// Divides by each row's weight ([`Column::Weight`](crate::Column::Weight), permille; 0 counts as 1).
    #[must_use]
    pub fn per_weight(mut self, weights: &[u32]) -> Self {
        for (cost, &weight) in self.0.iter_mut().zip(weights) {
            *cost *= 1000.0 / f64::from(weight.max(1));
        }
        self
    }

    /// A filter: these rows cost infinitely much and are never picked.
    #[must_use]
    pub fn exclude(mut self, excluded: impl Fn(usize) -> bool) -> Self {
        for (row, cost) in self.0.iter_mut().enumerate() {
            *cost = if excluded(row) { f64::INFINITY } else { *cost };
        }
        self
    }

    /// The least cost. `None` if no row has a finite one.
    pub fn minimum(&self) -> Option<f64> {
        lanes::least(&self.0).filter(|least| least.is_finite())
    }

    /// Rows that cost less than `slack` more than the least one; with 0 those that cost exactly the least. None if no
    /// row has a finite cost.
    pub fn within(&self, slack: f64) -> Candidates {
        let Some(least) = self.minimum() else { return Candidates(Vec::new()) };
        let limit = least + slack;
        let close = |cost: f64| cost < limit || cost <= least;
        Candidates((0_u32..).zip(&self.0).filter(|&(_, &cost)| close(cost)).map(|(row, _)| row).collect())
    }

    /// A pick: the row of least cost, each as likely as the others among equal ones. `None` if no row has a finite cost.
    pub fn least(&self, draw: &mut Draw) -> Option<u32> {
        self.within(0.0).any(draw)
    }

    /// A pick by [`softmax`]: the lower the cost, the likelier.
    pub fn softmax(&self, temperature: f64, draw: &mut Draw) -> Option<u32> {
        softmax(&self.0, temperature, draw.unit())
    }

    /// The costs, by row.
    pub fn as_slice(&self) -> &[f64] {
        &self.0
    }
}

impl From<Vec<f64>> for Costs {
    fn from(costs: Vec<f64>) -> Self {
        Self(costs)
    }
}
