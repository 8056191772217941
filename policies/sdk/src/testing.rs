//! For the unit tests of policies.

use crate::{Decision, Policy, RanksBuilder, Request};

/// How often each row is picked over so many seeds.
///
/// # Panics
/// If the policy answers with anything but a row of the table.
pub fn shares<P: Policy>(policy: &P, request: &Request, table: &RanksBuilder, seeds: u64) -> Vec<u32> {
    let ranks = table.build(&policy.needs());
    let mut shares = vec![0; ranks.rows() as usize];
    for seed in 0..seeds {
        match policy.pick(&request.clone().with_seed(seed), &ranks) {
            Ok(Decision::Rank(row)) if row < ranks.rows() => shares[row as usize] += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    shares
}

/// The row that is picked whatever the seed; `None` if it depends on the seed.
///
/// # Panics
/// As [`shares`].
pub fn always<P: Policy>(policy: &P, request: &Request, table: &RanksBuilder) -> Option<u32> {
    const SEEDS: u64 = 200;
    let shares = shares(policy, request, table, SEEDS);
    shares.iter().position(|&share| u64::from(share) == SEEDS).map(|row| row as u32)
}
