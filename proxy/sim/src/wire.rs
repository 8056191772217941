//! The model behind real sockets, in an engine's own words.

pub mod arrivals;
pub mod faults;
pub mod fleet;

mod answer;
mod ask;
mod clock;
mod driver;
mod event_wire;
mod feed;
mod frame;
mod generate;
mod http;
mod io;
mod metrics;
mod pages;
mod rank_header;
mod refusal;
mod responses;
mod sglang;
mod sockets;
mod text;
mod transfer;
mod trtllm;
mod worker;

#[cfg(test)]
mod tests;
