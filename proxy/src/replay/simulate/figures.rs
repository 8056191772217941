//! What a simulation came to: a table for people, JSON for machines.

use std::fmt::Write as _;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// One policy over the whole trace. Times are simulated, but for `took_s`.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The policy.
    pub policy: String,
    /// Requests that came.
    pub requests: u64,
    /// Those answered to the end.
    pub finished: u64,
    /// Those that the policy rejected.
    pub rejected: u64,
    /// Those that the policy told to wait, until their time was over or too many waited.
    pub waited_too_long: u64,
    /// Those that their engine did not take: larger than its cache, or its queue was full.
    pub refused_by_engine: u64,
    /// Decisions of the fallback, because the policy failed.
    pub fallback_decisions: u64,
    /// Prompt tokens of those answered.
    pub prompt_tokens: u64,
    /// Those of them that the engines had cached.
    pub cached_tokens: u64,
    /// How long until the last answer, seconds.
    pub simulated_s: f64,
    /// How long it took to simulate, seconds of this machine.
    pub took_s: f64,
    groups: Vec<f64>,
    first_token_us: Distribution,
    inter_token_us: Distribution,
    queued_us: Distribution,
}

impl Figures {
    pub(super) fn first_token(&mut self, micros: u64) {
        self.first_token_us.add(micros);
    }

    pub(super) fn next_token(&mut self, micros: u64) {
        self.inter_token_us.add(micros);
    }

    pub(super) fn queued(&mut self, micros: u64) {
        self.queued_us.add(micros);
    }

    pub(super) fn finished(&mut self, prompt_tokens: u32, cached_tokens: u32) {
        self.finished += 1;
        self.prompt_tokens += u64::from(prompt_tokens);
        self.cached_tokens += u64::from(cached_tokens);
    }

    pub(super) fn imbalance(&mut self, groups: Vec<f64>) {
        self.groups = groups;
    }

    /// Cached tokens of all prompt tokens, 0 to 1.
    pub fn cached_share(&self) -> f64 {
        self.cached_tokens as f64 / self.prompt_tokens.max(1) as f64
    }

    /// How full the fullest rank of a group was by the mean of the group, over the groups' busy time; 1 is even.
    pub fn mean_imbalance(&self) -> f64 {
        self.groups.iter().sum::<f64>() / self.groups.len().max(1) as f64
    }

    /// Time to the first token, ms, below which this share of the requests lies.
    pub fn first_token_ms(&self, share: f64) -> f64 {
        self.first_token_us.quantile(share) as f64 / 1e3
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Figures", 17)?;
        fields.serialize_field("policy", &self.policy)?;
        fields.serialize_field("requests", &self.requests)?;
        fields.serialize_field("finished", &self.finished)?;
        fields.serialize_field("rejected", &self.rejected)?;
        fields.serialize_field("waited_too_long", &self.waited_too_long)?;
        fields.serialize_field("refused_by_engine", &self.refused_by_engine)?;
        fields.serialize_field("fallback_decisions", &self.fallback_decisions)?;
        fields.serialize_field("prompt_tokens", &self.prompt_tokens)?;
        fields.serialize_field("cached_tokens", &self.cached_tokens)?;
        fields.serialize_field("cached_share", &self.cached_share())?;
        fields.serialize_field("time_to_first_token_ms", &self.first_token_us)?;
        fields.serialize_field("inter_token_ms", &self.inter_token_us)?;
        fields.serialize_field("queued_ms", &self.queued_us)?;
        fields.serialize_field("imbalance", &self.mean_imbalance())?;
        fields.serialize_field("imbalance_by_group", &self.groups)?;
        fields.serialize_field("simulated_s", &self.simulated_s)?;
        fields.serialize_field("took_s", &self.took_s)?;
        fields.end()
    }
}

/// Policies side by side, for people.
pub fn table(all: &[Figures]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<36} {:>8} {:>26} {:>16} {:>18} {:>9} {:>8} {:>6}",
        "", "CACHED", "FIRST TOKEN ms", "INTER TOKEN ms", "QUEUED ms", "", "", ""
    );
    let _ = writeln!(
        text,
        "{:<36} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7} {:>8} {:>9} {:>9} {:>8} {:>6}",
        "POLICY", "", "p50", "p90", "p99", "p50", "p99", "p50", "p99", "IMBALANCE", "UNSERVED", "FAILED"
    );
    for figures in all {
        let ms = |of: &Distribution, share| format!("{:.0}", of.quantile(share) as f64 / 1e3);
        let (first, inter, queued) = (&figures.first_token_us, &figures.inter_token_us, &figures.queued_us);
        let _ = writeln!(
            text,
            "{:<36} {:>6.1} % {:>8} {:>8} {:>8} {:>8} {:>7} {:>8} {:>9} {:>9.2} {:>8} {:>6}",
            figures.policy,
            figures.cached_share() * 100.0,
            ms(first, 0.5),
            ms(first, 0.9),
            ms(first, 0.99),
            ms(inter, 0.5),
            ms(inter, 0.99),
            ms(queued, 0.5),
            ms(queued, 0.99),
            figures.mean_imbalance(),
            figures.requests - figures.finished,
            figures.fallback_decisions,
        );
    }
    text
}

/// Numbers in buckets, each less than 1 % wide.
#[derive(Clone, Debug, Default)]
struct Distribution {
    buckets: Vec<u64>,
    count: u64,
    sum: u64,
}

/// Buckets of each power of two.
const FINE: u64 = 128;

impl Distribution {
    fn add(&mut self, value: u64) {
        let bucket = bucket(value);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// The value below which this share lies; 0 without any.
    fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.count.saturating_sub(1) as f64 * share).round() as u64;
        let mut before = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            before += count;
            if before > wanted {
                return least(bucket);
            }
        }
        0
    }

    fn mean(&self) -> f64 {
        self.sum as f64 / self.count.max(1) as f64
    }
}

fn bucket(value: u64) -> usize {
    if value < FINE {
        return value as usize;
    }
    let shift = FINE.leading_zeros() - value.leading_zeros();
    (u64::from(shift + 1) * FINE + ((value >> shift) - FINE)) as usize
}

/// The least value of a bucket.
fn least(bucket: usize) -> u64 {
    let (row, column) = (bucket as u64 / FINE, bucket as u64 % FINE);
    if row == 0 { column } else { (FINE + column) << (row - 1) }
}

/// Of microseconds, in ms.
impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = |share| self.quantile(share) as f64 / 1e3;
        let mut fields = serializer.serialize_struct("Distribution", 4)?;
        fields.serialize_field("mean", &(self.mean() / 1e3))?;
        fields.serialize_field("p50", &ms(0.5))?;
        fields.serialize_field("p90", &ms(0.9))?;
        fields.serialize_field("p99", &ms(0.99))?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_narrow_and_knows_its_least_value() {
        for value in (0..200).chain([1000, 123_456, 10_000_000, u64::MAX >> 1]) {
            let least = least(bucket(value));
            assert!(least <= value && (value - least) * 100 <= value, "{value} {least}");
            assert!(least == 0 || bucket(least - 1) + 1 == bucket(value), "{value}");
        }
    }

    #[test]
    fn quantiles_and_mean() {
        let mut some = Distribution::default();
        assert_eq!((some.quantile(0.5), some.mean()), (0, 0.0));
        (1..=101).rev().for_each(|value| some.add(value));
        assert_eq!((some.quantile(0.5), some.quantile(0.99), some.mean()), (51, 100, 51.0));
    }
}
