//! Conversations to measure with: sentences of the project's own documents, each with a number that no other has.

use std::fmt::Write;

use bytes::Bytes;
use fastrand::Rng;
use serde_json::{Value, json};

const SOURCES: [&str; 4] = [
    include_str!("../../../../README.md"),
    include_str!("../../../../proxy/docs/architecture.md"),
    include_str!("../../../../proxy/docs/config.md"),
    include_str!("../../../../proxy/docs/metrics.md"),
];

/// Bytes to a token in these texts, by trying.
const BYTES_PER_TOKEN: f64 = 3.3;

pub(crate) struct Texts {
    sentences: Vec<&'static str>,
}

impl Texts {
    pub(crate) fn new() -> Self {
        let sentences = SOURCES.iter().flat_map(|text| text.split_inclusive(['.', '\n']));
        Self { sentences: sentences.filter(|sentence| sentence.len() > 20).collect() }
    }

    /// Text that no other seed has, of about so many bytes.
    pub(crate) fn text(&self, random: &mut Rng, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 256);
        while text.len() < bytes {
            text.push_str(self.sentences[random.usize(..self.sentences.len())]);
            let _ = write!(text, " {}", random.u32(..100));
        }
        text
    }

    /// A system message, then turns of some KB, of about so many tokens in all.
    pub(crate) fn conversation(&self, random: &mut Rng, tokens: usize) -> Vec<Value> {
        let bytes = (tokens as f64 * BYTES_PER_TOKEN) as usize;
        let mut messages = vec![json!({"role": "system", "content": self.text(random, 1200)})];
        let mut length = 0;
        while length < bytes {
            let (role, bytes) = if messages.len() % 2 == 1 { ("user", 1500) } else { ("assistant", 7000) };
            let content = self.text(random, bytes);
            length += content.len();
            messages.push(json!({"role": role, "content": content}));
        }
        messages
    }

    /// What one more turn adds: an answer and a question.
    pub(crate) fn turn(&self, random: &mut Rng) -> [Value; 2] {
        [("assistant", 1500), ("user", 800)]
            .map(|(role, bytes)| json!({"role": role, "content": self.text(random, bytes)}))
    }
}

/// A chat of these messages.
pub(crate) fn body(messages: &[Value]) -> Bytes {
    let body = json!({"model": "m", "messages": messages, "max_tokens": 256, "stream": true});
    Bytes::from(body.to_string())
}

/// How a template prints messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// Qwen's.
    ChatMl,
    /// DeepSeek-V3's.
    DeepSeek,
}

impl Style {
    /// The messages as the template renders them, a generation prompt at the end.
    pub(crate) fn rendered(self, messages: &[Value]) -> String {
        let mut text = String::new();
        for message in messages {
            let part = |key: &str| message[key].as_str().unwrap_or_default();
            let (role, content) = (part("role"), part("content"));
            let _ = match (self, role) {
                (Self::ChatMl, _) => writeln!(text, "<|im_start|>{role}\n{content}<|im_end|>"),
                (Self::DeepSeek, "user") => write!(text, "<｜User｜>{content}"),
                (Self::DeepSeek, "assistant") => write!(text, "<｜Assistant｜>{content}<｜end▁of▁sentence｜>"),
                (Self::DeepSeek, _) => write!(text, "<｜begin▁of▁sentence｜>{content}"),
            };
        }
        text.push_str(match self {
            Self::ChatMl => "<|im_start|>assistant\n",
            Self::DeepSeek => "<｜Assistant｜>",
        });
        text
    }
}
