//! Policies through the host: what is refused, what is cut short, what is replaced. One binary, so that the compiler is
//! linked once.

#![forbid(unsafe_code)]

mod first_day;
#[expect(clippy::unwrap_used, reason = "helpers of tests; only test functions are exempt by config")]
mod guests;
mod optional;
mod refused;
mod sdk;
mod spoilt;
mod swapped;
mod text;
mod tiers;
