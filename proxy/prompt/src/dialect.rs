//! Which engine's way of reading chats is followed.

/// How an engine turns a chat into what its template is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// vLLM's; taken for that of every engine that is not known better.
    #[default]
    Vllm,
    /// SGLang's: other spaces between parts, tools with their empty fields in the client's order, a last message of the assistant that
    /// becomes the user's or is continued.
    Sglang,
}
