//! Consistent hashing.

use crate::Draw;

/// How much a key wants a target; it wants the one with the highest value most. Rendezvous hashing (Thaler and
/// Ravishankar 1998): every key has an order of preference of its own over the targets, so that a target that comes or
/// goes moves only the keys that want it most. With [`Column::TargetKey`](crate::Column::TargetKey) every replica of
/// the proxy agrees.
#[inline]
pub fn rendezvous(key: u64, target_key: u32) -> u64 {
    Draw::new(key ^ Draw::new(target_key.into()).bits()).bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(key: u64, targets: impl Iterator<Item = u32>) -> u32 {
        targets.max_by_key(|&target| rendezvous(key, target)).unwrap()
    }

    #[test]
    fn keys_spread_evenly() {
        let mut counts = [0_u32; 8];
        for key in 0..80_000 {
            counts[wanted(key, 0..8) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn only_the_keys_of_a_lost_target_move() {
        for key in 0..5_000 {
            let before = wanted(key, 0..8);
            let after = wanted(key, (0..8).filter(|&target| target != 5));
            assert!(before == 5 || before == after);
        }
    }
}
