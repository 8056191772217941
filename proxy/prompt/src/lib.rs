//! Request bodies to what a routing decision needs of them: the routing fields, the prompt's token ids exactly as the engine will
//! have them, and the hashes of its KV blocks. And the other way: fields added to a body without copying it.
//!
//! No IO after a tokenizer is loaded, and nothing a client sends makes it panic.

#![forbid(unsafe_code)]

mod api;
mod body;
mod cache;
mod chat;
mod completion;
mod cuts;
mod dialect;
mod encoder;
mod error;
mod files;
mod hashing;
mod ids;
mod media;
mod prompt;
mod routing;
pub mod splice;
mod template;
#[cfg(any(test, feature = "test-support"))]
pub mod test_support;

pub use api::Api;
pub use body::{Beginning, Body, has_field};
pub use cache::{CacheReport, PromptCache};
pub use dialect::Dialect;
pub use encoder::{EncoderChoice, EncoderKind, EncoderPreference};
pub use error::{BodyError, LoadError};
pub use files::TokenizerFiles;
pub use hashing::{Hashing, PromptHashes, block_hashes};
pub use ids::PromptIds;
pub use media::Medium;
pub use prompt::{PromptEncoder, Reuse};
pub use routing::{RoutingFields, SessionKeys};
