//! SGLang, as 0.5.23 speaks: vLLM's event wire with keys of its own, `/server_info`, `/v1/loads`, and
//! sockets on which ranks publish their load.

pub mod discovery;
pub mod load;
