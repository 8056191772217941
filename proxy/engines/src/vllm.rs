//! vLLM, as 0.32 speaks and as its neighbours from 0.16 to 0.33 are known to.

pub mod cold;
pub mod discovery;
pub mod load;
