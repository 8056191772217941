//! Many measurements of one thing.

use std::time::Duration;

/// Durations in ns.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<u64>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, duration: Duration) {
        self.0.push(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds all of another.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Each, ns, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|&nanos| nanos as f64)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value below which this share lies, ns; 0 without samples.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default() as f64
    }

    /// The median.
    pub fn p50(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The 99th percentile.
    pub fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

/// The median of some figures; not a number without any.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let mut samples = Samples::default();
        assert_eq!(samples.p50(), 0.0);
        for nanos in (1..=101).rev() {
            samples.push(Duration::from_nanos(nanos));
        }
        assert_eq!([samples.p50(), samples.p99(), samples.max()], [51.0, 100.0, 101.0]);
    }

    #[test]
    fn the_median_is_one_of_the_figures() {
        assert!(median(Vec::new()).is_nan());
        assert_eq!([median(vec![3.0, -1.0, 2.0]), median(vec![7.0])], [2.0, 7.0]);
    }
}
