//! The APIs whose bodies are understood.

use std::fmt;

/// A generation or embedding API of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// `POST /v1/chat/completions`: OpenAI.
    ChatCompletions,
    /// `POST /v1/completions`: OpenAI.
    Completions,
    /// `POST /v1/responses`: OpenAI, as far as it needs no state.
    Responses,
    /// `POST /v1/messages`: Anthropic.
    Messages,
    /// `POST /v1/embeddings`: OpenAI.
    Embeddings,
    /// `POST /generate`: SGLang's own.
    SglangGenerate,
    /// `POST /inference/v1/generate`: vLLM's own, token ids in and out.
    VllmGenerate,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Messages,
        Self::Embeddings,
        Self::SglangGenerate,
        Self::VllmGenerate,
    ];

    /// The API that a request path names, if it is one whose body is understood.
    pub fn from_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.path() == path)
    }

    /// The path on the wire.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::Embeddings => "/v1/embeddings",
            Self::SglangGenerate => "/generate",
            Self::VllmGenerate => "/inference/v1/generate",
        }
    }

    /// A short name for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Embeddings => "embeddings",
            Self::SglangGenerate => "sglang_generate",
            Self::VllmGenerate => "vllm_generate",
        }
    }

    /// Whether a body must say which model it is for. The engines' own APIs serve the one that is loaded.
    pub fn needs_model(self) -> bool {
        !matches!(self, Self::SglangGenerate | Self::VllmGenerate)
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}
