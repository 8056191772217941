//! The allow-list: which of a client's paths an engine ever sees.

/// An API of the engine that clients may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Api {
    /// OpenAI chat completions.
    ChatCompletions,
    /// OpenAI completions.
    Completions,
    /// OpenAI responses; only their creation, since what is stored lies on one worker.
    Responses,
    /// Anthropic messages.
    Messages,
    /// Anthropic token counting.
    CountTokens,
    /// OpenAI embeddings.
    Embeddings,
    /// Text or messages to token ids.
    Tokenize,
    /// Token ids to text.
    Detokenize,
}

/// What becomes of a client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// It goes to a worker.
    Forward(Api),
    /// `GET /v1/models`: answered from the pools' own configuration, since no worker knows them all.
    Models,
    /// 404 in the API's shape.
    NotFound,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Messages,
        Self::CountTokens,
        Self::Embeddings,
        Self::Tokenize,
        Self::Detokenize,
    ];

    /// The path, at the proxy and at the engine alike.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
            Self::Embeddings => "/v1/embeddings",
            Self::Tokenize => "/tokenize",
            Self::Detokenize => "/detokenize",
        }
    }

    /// Whether it generates tokens, so that it has a prompt, books load and can be pinned to a rank.
    pub fn generates(self) -> bool {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Responses | Self::Messages => true,
            Self::CountTokens | Self::Embeddings | Self::Tokenize | Self::Detokenize => false,
        }
    }

    /// Whether errors take Anthropic's shape instead of OpenAI's.
    pub fn is_anthropic(self) -> bool {
        matches!(self, Self::Messages | Self::CountTokens)
    }
}

/// Where a request goes. Paths are compared as they were sent, byte for byte: nothing is decoded or normalised, so that
/// no spelling of a forbidden path can reach an engine.
pub fn route(method: &str, path: &str) -> Route {
    match method {
        "GET" if path == "/v1/models" => Route::Models,
        "POST" => Api::ALL.into_iter().find(|api| api.path() == path).map_or(Route::NotFound, Route::Forward),
        _ => Route::NotFound,
    }
}

#[cfg(test)]
mod tests;
