//! What the formula looks at.

use rankwise_policy::prelude::*;

use crate::settings::Weights;

macro_rules! figures {
    ($(#[$doc:meta])* $name:ident { $($field:ident),* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $name<T> {
            $(pub(super) $field: T,)*
        }

        impl<T: Copy> $name<T> {
            #[inline(always)]
            pub(super) fn map<U>(&self, of: impl Fn(T) -> U) -> $name<U> {
                $name { $($field: of(self.$field),)* }
            }
        }
    };
}

figures! {
    /// One of each that counts for every row: a column, some rows of it, or one row's figure.
    Usual { device, active, new, booked, running, free, capacity }
}

figures! {
    /// The same of what makes a difference to some rows only, or by some settings.
    Further { host, disk, pending, condition, weight, prefill_peak, kv_peak }
}

/// The whole columns; of the further ones none where the weight is 0, and no column was asked for.
pub(super) struct Columns<'a> {
    pub(super) usual: Usual<&'a [u32]>,
    pub(super) further: Further<Option<&'a [u32]>>,
}

/// The figures of one row.
pub(super) struct Row {
    pub(super) usual: Usual<u32>,
    pub(super) further: Further<u32>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(weights: &Weights, ranks: &'a Ranks) -> Self {
        let column = |column| ranks.column(column);
        let weighted = |weight: f64, wanted| if weight > 0.0 { Some(column(wanted)) } else { None };
        Self {
            usual: Usual {
                device: column(Column::DeviceOverlap),
                active: column(Column::ActiveBlocks),
                new: column(Column::NewBlocks),
                booked: column(Column::PrefillTokens),
                running: column(Column::Running),
                free: column(Column::FreeBlocks),
                capacity: column(Column::CapacityBlocks),
            },
            further: Further {
                host: weighted(weights.host_cache_hit_weight, Column::HostOverlap),
                disk: weighted(weights.disk_cache_hit_weight, Column::DiskOverlap),
                pending: weighted(weights.pending_hit_weight, Column::PendingOverlap),
                condition: Some(column(Column::Condition)),
                weight: Some(column(Column::Weight)),
                prefill_peak: weighted(weights.group_prefill_weight, Column::GroupPeakPrefill),
                kv_peak: weighted(weights.group_kv_weight, Column::GroupPeakActive),
            },
        }
    }

    /// One row, which is there.
    pub(super) fn row(&self, row: usize) -> Row {
        Row {
            usual: self.usual.map(|column| column[row]),
            further: self.further.map(|column| column.map_or(0, |column| column[row])),
        }
    }
}

/// The weight that changes nothing.
pub(super) const NO_WEIGHT: u32 = 1000;

impl Further<u32> {
    /// 0 for a plain row: nothing of the prompt but what the device has; trusted; of full weight.
    #[inline(always)]
    pub(super) fn not_plain(&self) -> u32 {
        let tiers = self.host | self.disk | self.pending;
        tiers | (self.condition & Condition::UNTRUSTED) | (self.weight ^ NO_WEIGHT)
    }
}
