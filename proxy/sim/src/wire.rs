//! The model behind real sockets, in an engine's own words.

pub mod arrivals;
pub mod faults;
pub mod fleet;

mod accept;
mod answer;
mod ask;
mod clock;
mod conversations;
mod drained;
mod driver;
mod dynamo;
mod event_wire;
mod feed;
mod frame;
mod frontend;
mod generate;
mod http;
mod incoming;
mod io;
mod load_publisher;
mod metrics;
mod named_rank;
mod native;
mod pages;
mod ports;
mod process;
mod rank_header;
mod rank_sockets;
mod refusal;
mod reply;
mod responses;
mod sglang;
mod site;
mod sockets;
mod stored;
mod text;
mod tokens;
mod transfer;
mod trtllm;
mod vllm;
mod worker;

#[cfg(test)]
mod tests;
