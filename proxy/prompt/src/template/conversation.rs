//! What a template is rendered with.

use serde_json::{Map, Value};

/// Stands where the first image or other medium is: what is rendered before it is the known beginning of the prompt. Should a client
/// write it too, less of its prompt is known.
pub(crate) const CUT: &str = "\u{f8ff}rankwise-cut\u{f8ff}";

/// Messages and settings in the form that templates expect.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    pub(crate) messages: Vec<Value>,
    pub(crate) tools: Option<Value>,
    pub(crate) documents: Option<Value>,
    pub(crate) add_generation_prompt: bool,
    pub(crate) continue_final_message: bool,
    /// `chat_template_kwargs` and what the engine adds to them.
    pub(crate) kwargs: Map<String, Value>,
    /// Whether [`CUT`] stands in some message.
    pub(crate) cut: bool,
    /// Whether the last message is not the one that was given: others cannot be appended behind that one.
    pub(crate) rewritten: bool,
    /// Whether the prompt goes on behind the rendered text with what is encoded apart.
    pub(crate) goes_on: bool,
}

impl Default for Conversation {
    /// An empty one that asks for an answer.
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            tools: None,
            documents: None,
            add_generation_prompt: true,
            continue_final_message: false,
            kwargs: Map::new(),
            cut: false,
            rewritten: false,
            goes_on: false,
        }
    }
}
