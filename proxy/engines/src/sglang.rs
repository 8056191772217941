//! SGLang, as 0.5.23 speaks: vLLM's event wire with keys of its own, `/server_info`, `/v1/loads`.

pub mod discovery;
pub mod load;
