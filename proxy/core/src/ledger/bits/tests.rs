use std::collections::BTreeSet;

use super::Bits;

const LEN: usize = 200;

fn of(set: &BTreeSet<usize>) -> Bits {
    let mut bits = Bits::none(LEN);
    set.iter().for_each(|at| bits.set(*at..at + 1));
    bits
}

#[test]
fn is_a_set_of_positions() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut sets = [BTreeSet::new(), BTreeSet::new()];
        let mut bits = [Bits::none(LEN), Bits::none(LEN)];
        for _ in 0..12 {
            let which = random.usize(0..2);
            let start = random.usize(0..LEN);
            let end = random.usize(start..=LEN);
            if random.u8(0..3) > 0 {
                bits[which].set(start..end);
                sets[which].extend(start..end);
            } else {
                bits[which].unset(start..end);
                sets[which].retain(|at| !(start..end).contains(at));
            }
        }
        let ([a, b], [x, y]) = (sets, bits);
        assert_eq!(x, of(&a));
        assert_eq!(x.clone().or(&y), of(&(&a | &b)));
        assert_eq!(x.clone().and(&y), of(&(&a & &b)));
        assert_eq!(x.clone().and_not(&y), of(&(&a - &b)));
        let (start, end) = (random.usize(0..100), random.usize(100..=LEN));
        assert_eq!(
            x.within(start..end),
            of(&a.iter().copied().filter(|at| (start..end).contains(at)).collect())
        );
        assert_eq!((x.count() as usize, x.is_empty()), (a.len(), a.is_empty()));
        assert_eq!(x.leading(), (0..).find(|at| !a.contains(at)).unwrap_or(0));
        assert_eq!(x.runs().flatten().collect::<BTreeSet<_>>(), a);
        assert!((0..LEN).all(|at| x.contains(at) == a.contains(&at)));
        assert_eq!(Bits::all(LEN).count() as usize, LEN);
    }
}
