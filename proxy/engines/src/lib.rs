//! The engines' wires, sans-IO: bytes in, events and requests to send out.
//!
//! Each adapter answers five questions: which ranks are there, what is cached, how busy is each, how is a rank pinned,
//! how is health told. Sockets, clocks and tasks belong to the caller; whatever waits is a state machine that is told
//! the time.

#![forbid(unsafe_code)]

pub mod disaggregation;
pub mod discovery;
pub mod dynamo;
mod engine;
mod error;
pub mod events;
pub mod feed;
mod generic;
mod msgpack;
pub mod pin;
pub mod prometheus;
pub mod reply;
pub mod sglang;
pub mod trtllm;
pub mod vllm;

#[cfg(test)]
mod testing;

pub use engine::Engine;
pub use error::Error;
