//! Who may take one more request.

#[cfg(test)]
mod tests;

/// Bounded load (Mirrokni, Thorup and Zadimoghaddam 2018): no row may run more than `factor` times its fair share of
/// the requests in flight, the new one included; the share follows the weights. With a factor of at least 1 some row
/// always has room.
#[derive(Clone, Copy, Debug)]
pub struct LoadBound<'a> {
    running: &'a [u32],
    weights: &'a [u32],
    /// Requests per permille of weight.
    per_weight: f64,
    at_least: u32,
}

impl<'a> LoadBound<'a> {
    /// From the columns [`Running`](crate::Column::Running) and [`Weight`](crate::Column::Weight). A row that runs fewer
    /// than `at_least` has room whatever the others run.
    pub fn new(factor: f64, at_least: u32, running: &'a [u32], weights: &'a [u32]) -> Self {
        let sum = |column: &[u32]| column.iter().map(|&value| u64::from(value)).sum::<u64>();
        let fair = (sum(running) + 1) as f64 / sum(weights).max(1) as f64;
        Self { running, weights, per_weight: factor * fair, at_least }
    }

    /// Whether the row may take one more.
    pub fn has_room(&self, row: usize) -> bool {
        let share = (self.per_weight * f64::from(self.weights[row])).ceil();
        self.running[row] < self.at_least || f64::from(self.running[row]) + 1.0 <= share
    }
}
