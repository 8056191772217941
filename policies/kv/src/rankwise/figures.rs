//! What the formula looks at.

use rankwise_policy::prelude::*;
use wide::u32x4;

use crate::settings::Weights;

macro_rules! figures {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $column:ident),* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $name<T> {
            $(pub(super) $field: T,)*
        }

        impl $name<Column> {
            /// In the order of the fields.
            const ASKED: &[Column] = &[$(Column::$column),*];
        }

        impl<T: Copy> $name<T> {
            /// In the order of the fields.
            #[inline(always)]
            fn of(mut each: impl FnMut() -> T) -> Self {
                Self { $($field: each(),)* }
            }

            #[inline(always)]
            pub(super) fn map<U>(&self, of: impl Fn(T) -> U) -> $name<U> {
                $name { $($field: of(self.$field),)* }
            }

            #[inline(always)]
            pub(super) fn each_ref(&self) -> $name<&T> {
                $name { $($field: &self.$field,)* }
            }
        }
    };
}

figures! {
    /// One of each that counts for every row: a column, some rows of it, or their figures.
    Usual {
        device: DeviceOverlap, active: ActiveBlocks, new: NewBlocks, booked: PrefillTokens, running: Running, free: FreeBlocks,
        capacity: CapacityBlocks
    }
}

figures! {
    /// The same of what makes a difference to some rows only.
    Further { host: HostOverlap, disk: DiskOverlap, pending: PendingOverlap, condition: Condition, weight: Weight }
}

/// The same of what makes a difference by some settings only.
#[derive(Clone, Copy)]
pub(super) struct Peaks<T> {
    pub(super) prefill: T,
    pub(super) kv: T,
}

impl<T> Peaks<T> {
    #[inline(always)]
    pub(super) fn map<U>(self, of: impl Fn(T) -> U) -> Peaks<U> {
        Peaks { prefill: of(self.prefill), kv: of(self.kv) }
    }
}

/// The whole columns; of the peaks none where the weight is 0, and no column was asked for.
pub(super) struct Columns<'a> {
    pub(super) usual: Usual<&'a [u32]>,
    pub(super) further: Further<&'a [u32]>,
    pub(super) peaks: Peaks<Option<&'a [u32]>>,
}

/// Which columns to ask for: those that [`Columns`] is made of, in that order.
pub(crate) fn asked(weights: &Weights) -> Vec<Column> {
    let mut columns = [Usual::ASKED, Further::ASKED].concat();
    if weights.group_prefill_weight > 0.0 {
        columns.push(Column::GroupPeakPrefill);
    }
    if weights.group_kv_weight > 0.0 {
        columns.push(Column::GroupPeakActive);
    }
    columns
}

impl<'a> Columns<'a> {
    #[inline(always)]
    pub(super) fn of(weights: &Weights, ranks: &'a Ranks) -> Self {
        let mut columns = ranks.in_order();
        let usual = Usual::of(|| columns.next_column());
        let further = Further::of(|| columns.next_column());
        let mut weighted = |weight: f64| (weight > 0.0).then(|| columns.next_column());
        let prefill = weighted(weights.group_prefill_weight);
        Self { usual, further, peaks: Peaks { prefill, kv: weighted(weights.group_kv_weight) } }
    }
}

/// The weight that changes nothing.
pub(super) const NO_WEIGHT: u32 = 1000;

impl Further<u32x4> {
    /// 0 for plain rows: nothing of the prompt but what the device has; trusted; of full weight.
    #[inline(always)]
    pub(super) fn not_plain(&self) -> u32x4 {
        let tiers = self.host | self.disk | self.pending;
        tiers
            | (self.condition & u32x4::splat(Condition::UNTRUSTED))
            | (self.weight ^ u32x4::splat(NO_WEIGHT))
    }
}
