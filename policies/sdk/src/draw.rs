//! Randomness: what follows from a request's seed.

#[cfg(test)]
mod tests;

/// A stream of uniform draws from one seed (splitmix64), the same everywhere: a decision can be replayed.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..count`, uniform to within `count` in 2^32; 0 if `count` is 0.
    pub fn below(&mut self, count: u32) -> u32 {
        (((self.bits() >> 32) * u64::from(count)) >> 32) as u32
    }

    /// At least 0 and below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Draws a row by softmax over costs, the lower the likelier: a row's odds are `exp(-cost / ((max - min) *
/// temperature))`, so a temperature means the same at every scale; uniform when all costs are equal. `sample` is at
/// least 0 and below 1. Rows of infinite or undefined cost are never drawn; `None` when there is no other.
pub fn softmax(costs: &[f64], temperature: f64, sample: f64) -> Option<u32> {
    let finite = || costs.iter().copied().enumerate().filter(|(_, cost)| cost.is_finite());
    let min = finite().map(|(_, cost)| cost).fold(f64::INFINITY, f64::min);
    let max = finite().map(|(_, cost)| cost).fold(f64::NEG_INFINITY, f64::max);
    let range = (max - min) * temperature;
    let odds = |cost: f64| if range > 0.0 { ((min - cost) / range).exp() } else { 1.0 };
    let drawn = sample * finite().map(|(_, cost)| odds(cost)).sum::<f64>();
    let mut cumulative = 0.0;
    let mut last = None;
    for (row, cost) in finite() {
        last = u32::try_from(row).ok();
        cumulative += odds(cost);
        if drawn <= cumulative {
            break;
        }
    }
    last
}
