//! What the formula looks at.

use rankwise_policy::prelude::*;

use crate::settings::Weights;

/// One of each: a column, some rows of it, or one row's figure.
#[derive(Clone, Copy)]
pub(super) struct Figures<T> {
    pub(super) device: T,
    pub(super) host: T,
    pub(super) disk: T,
    pub(super) pending: T,
    pub(super) active: T,
    pub(super) new: T,
    pub(super) booked: T,
    pub(super) running: T,
    pub(super) condition: T,
    pub(super) weight: T,
    pub(super) free: T,
    pub(super) capacity: T,
    pub(super) prefill_peak: T,
    pub(super) kv_peak: T,
}

/// The figures of one row.
pub(super) type Row = Figures<u32>;

/// The whole columns; none where the weight is 0, and no column was asked for.
pub(super) type Columns<'a> = Figures<Option<&'a [u32]>>;

impl<T> Figures<T> {
    #[inline(always)]
    pub(super) fn map<U>(&self, of: impl Fn(T) -> U) -> Figures<U>
    where
        T: Copy,
    {
        Figures {
            device: of(self.device),
            host: of(self.host),
            disk: of(self.disk),
            pending: of(self.pending),
            active: of(self.active),
            new: of(self.new),
            booked: of(self.booked),
            running: of(self.running),
            condition: of(self.condition),
            weight: of(self.weight),
            free: of(self.free),
            capacity: of(self.capacity),
            prefill_peak: of(self.prefill_peak),
            kv_peak: of(self.kv_peak),
        }
    }
}

impl<'a> Columns<'a> {
    pub(super) fn of(weights: &Weights, ranks: &'a Ranks) -> Self {
        let column = |column| Some(ranks.column(column));
        let weighted = |weight: f64, wanted| if weight > 0.0 { column(wanted) } else { None };
        Self {
            device: column(Column::DeviceOverlap),
            host: weighted(weights.host_cache_hit_weight, Column::HostOverlap),
            disk: weighted(weights.disk_cache_hit_weight, Column::DiskOverlap),
            pending: weighted(weights.pending_hit_weight, Column::PendingOverlap),
            active: column(Column::ActiveBlocks),
            new: column(Column::NewBlocks),
            booked: column(Column::PrefillTokens),
            running: column(Column::Running),
            condition: column(Column::Condition),
            weight: column(Column::Weight),
            free: column(Column::FreeBlocks),
            capacity: column(Column::CapacityBlocks),
            prefill_peak: weighted(weights.group_prefill_weight, Column::GroupPeakPrefill),
            kv_peak: weighted(weights.group_kv_weight, Column::GroupPeakActive),
        }
    }

    /// One row, which is there.
    pub(super) fn row(&self, row: usize) -> Row {
        self.map(|column| column.map_or(0, |column| column[row]))
    }
}

/// The weight that changes nothing.
pub(super) const NO_WEIGHT: u32 = 1000;

impl Row {
    /// 0 for a plain row: nothing of the prompt but what the device has; trusted; of full weight.
    #[inline(always)]
    pub(super) fn not_plain(&self) -> u32 {
        let tiers = self.host | self.disk | self.pending;
        tiers | (self.condition & Condition::UNTRUSTED) | (self.weight ^ NO_WEIGHT)
    }
}
