//! Has ranks prove themselves: a request of one token, pinned like any other, admits a rank and brings back one that was
//! taken out.

mod attend;
pub(crate) mod request;

pub use attend::Attendant;
