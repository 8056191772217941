//! Eight rows at a time: what the compiler makes two or four vector instructions of, natively as in WebAssembly.

use std::ops::{Add, Div, Mul, Sub};

/// Rows taken together.
pub(crate) const ROWS: usize = 8;

/// A figure of eight rows that follow each other. Single precision: to a token up to 16 million tokens, and far less than
/// a block in any cost beyond.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Eight(pub(crate) [f32; ROWS]);

impl Eight {
    /// The same figure for all.
    #[inline(always)]
    pub(crate) fn all(figure: f32) -> Self {
        Self([figure; ROWS])
    }

    /// What a function makes of the figures of a column from row `at` on. `FEW`: of all its rows, which are fewer, and 0 behind
    /// its end: apart, so that the usual loop has no row of its own in it.
    #[inline(always)]
    pub(crate) fn by<const FEW: bool>(column: &[u32], at: usize, of: impl Fn(u32) -> f32) -> Self {
        if FEW {
            return Self(std::array::from_fn(|row| column.get(row).copied().map_or(0.0, &of)));
        }
        match column.get(at..).and_then(<[u32]>::first_chunk::<ROWS>) {
            Some(rows) => Self(rows.map(of)),
            None => Self::all(0.0),
        }
    }

    /// The figures themselves.
    #[inline(always)]
    pub(crate) fn of<const FEW: bool>(column: &[u32], at: usize) -> Self {
        Self::by::<FEW>(column, at, single)
    }

    /// The greater ones.
    #[inline(always)]
    pub(crate) fn max(self, other: Self) -> Self {
        self.both(other, |a, b| if a > b { a } else { b })
    }

    /// The lesser ones.
    #[inline(always)]
    pub(crate) fn min(self, other: Self) -> Self {
        self.both(other, |a, b| if a < b { a } else { b })
    }

    /// Itself where it is more than `limit`, else `otherwise`.
    #[inline(always)]
    pub(crate) fn above(self, limit: f32, otherwise: f32) -> Self {
        Self(self.0.map(|own| if own > limit { own } else { otherwise }))
    }

    /// Itself where `left` is at most `right`, else infinity.
    #[inline(always)]
    pub(crate) fn unless_more(self, left: Self, right: Self) -> Self {
        let excess = left.both(right, |left, right| if left > right { f32::INFINITY } else { 0.0 });
        self + excess
    }

    /// Whether any is at most `limit`.
    #[inline(always)]
    pub(crate) fn any_up_to(self, limit: f32) -> bool {
        self.0.iter().fold(false, |any, figure| any | (*figure <= limit))
    }

    /// The least one.
    #[inline(always)]
    pub(crate) fn least(self) -> f32 {
        self.0.into_iter().fold(f32::INFINITY, |least, figure| if figure < least { figure } else { least })
    }

    #[inline(always)]
    fn both(self, other: Self, of: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|row| of(self.0[row], other.0[row])))
    }
}

/// Signed conversion is one instruction, unsigned is many. What is 2^31 and more is no figure but "unknown".
#[inline(always)]
fn single(figure: u32) -> f32 {
    figure.min(i32::MAX as u32) as i32 as f32
}

macro_rules! operator {
    ($name:ident, $function:ident, $sign:tt) => {
        impl $name for Eight {
            type Output = Self;

            #[inline(always)]
            fn $function(self, other: Self) -> Self {
                self.both(other, |a, b| a $sign b)
            }
        }

        impl $name<Eight> for f32 {
            type Output = Eight;

            #[inline(always)]
            fn $function(self, other: Eight) -> Eight {
                Eight::all(self).both(other, |a, b| a $sign b)
            }
        }
    };
}

operator!(Add, add, +);
operator!(Sub, sub, -);
operator!(Mul, mul, *);
operator!(Div, div, /);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_the_end_there_is_nothing() {
        let column: Vec<u32> = (1..=10).collect();
        assert_eq!(Eight::of::<false>(&column, 2).0, [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
        assert_eq!(Eight::of::<true>(&column[8..], 0).0, [9.0, 10.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(Eight::of::<true>(&[u32::MAX], 0).0[0], 2_147_483_648.0);
    }

    #[test]
    fn arithmetic_is_row_by_row() {
        let some = Eight([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!((2.0 * some + Eight::all(1.0)).0[3], 9.0);
        assert_eq!((10.0 / some - Eight::all(1.0)).0[1], 4.0);
        assert_eq!(
            some.max(Eight::all(4.5)).min(Eight::all(6.5)).0,
            [4.5, 4.5, 4.5, 4.5, 5.0, 6.0, 6.5, 6.5]
        );
        assert_eq!(some.above(4.0, 0.0).0[3..5], [0.0, 5.0]);
        assert_eq!(some.unless_more(some, Eight::all(7.0)).0[6..], [7.0, f32::INFINITY]);
        assert!(some.any_up_to(1.0) && !some.any_up_to(0.9));
        assert_eq!(some.least(), 1.0);
    }
}
