//! rankwise: an edge proxy for LLM inference that routes each request to a dp rank with a WebAssembly policy.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
