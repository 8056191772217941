//! The first leg of a request in two: sent, and known to the request's story.

mod leg;
mod record;

pub(super) use leg::{PrefillEnd, PrefillLeg};
pub(super) use record::{Pending, PrefillPlace, PrefillRecord};
