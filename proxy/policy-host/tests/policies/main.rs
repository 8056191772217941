//! Policies through the host: what is refused, what is cut short, what is replaced. One binary, so that the compiler is
//! linked once.

#![forbid(unsafe_code)]

mod guests;
mod refused;
mod spoilt;
mod swapped;
