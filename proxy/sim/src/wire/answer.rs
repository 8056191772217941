//! The JSON of answers, key for key as vLLM 0.32 sends it.

use serde_json::{Map, Value, json};

use super::frame::{Finish, Frame, Piece, Usage};
use super::native;
use super::responses;
use rankwise_prompt::Api;

impl Usage {
    fn json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "total_tokens": self.prompt + self.output,
            "completion_tokens": self.output,
            "prompt_tokens_details": {
                "cached_tokens": self.cached, "created_cache_tokens": self.created, "multimodal_tokens": null,
            },
            "completion_tokens_details": null,
        })
    }

    fn json_last_chunk(self) -> Value {
        let mut details = json!({"cached_tokens": self.cached});
        if let Some(created) = self.created {
            details["created_cache_tokens"] = created.into();
        }
        json!({
            "prompt_tokens": self.prompt,
            "total_tokens": self.prompt + self.output,
            "completion_tokens": self.output,
            "prompt_tokens_details": details,
        })
    }

    fn json_running(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "total_tokens": self.prompt + self.output,
            "completion_tokens": self.output,
            "completion_tokens_details": null,
        })
    }
}

impl Frame<'_> {
    fn head(&self, object: &str) -> Map<String, Value> {
        let mut head = Map::new();
        head.insert("id".to_owned(), self.id.as_str().into());
        head.insert("object".to_owned(), object.into());
        head.insert("created".to_owned(), self.created.into());
        head.insert("model".to_owned(), self.model.into());
        head
    }

    fn chunk(&self, choices: Value) -> Map<String, Value> {
        let mut chunk = self.head(match self.ask.api {
            Api::ChatCompletions => "chat.completion.chunk",
            _ => "text_completion",
        });
        chunk.insert("choices".to_owned(), choices);
        chunk
    }

    fn token_ids(&self, tokens: &[u32]) -> Value {
        if self.ask.token_ids { tokens.into() } else { Value::Null }
    }

    /// What a sequence's stream opens with: of a chat, the role.
    pub(crate) fn opening(&self, index: usize, prompt: &[u32], usage: Option<Usage>) -> Option<String> {
        match self.ask.api {
            Api::ChatCompletions => Some(self.role(index, prompt, usage)),
            Api::Responses => Some(responses::opening(self)),
            _ => None,
        }
    }

    fn role(&self, index: usize, prompt: &[u32], usage: Option<Usage>) -> String {
        let mut chunk = self.chunk(json!([{
            "index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": null, "finish_reason": null,
        }]));
        if let Some(usage) = usage {
            chunk.insert("usage".to_owned(), usage.json_running());
        }
        chunk.insert("prompt_token_ids".to_owned(), self.token_ids(prompt));
        chunk.insert("prompt_text".to_owned(), Value::Null);
        event(chunk)
    }

    /// One chunk with tokens. `last`: nothing but the end mark follows.
    pub(crate) fn piece(&self, piece: &Piece<'_>, usage: Option<Usage>, last: bool) -> String {
        let text = self.text.text(piece.tokens);
        if self.ask.api == Api::Responses {
            return responses::piece(&text);
        }
        if self.ask.api == Api::SglangGenerate {
            return native::piece(self, piece, usage.unwrap_or_default());
        }
        let mut choice = Map::new();
        choice.insert("index".to_owned(), piece.index.into());
        match self.ask.api {
            Api::ChatCompletions => choice.insert("delta".to_owned(), json!({"content": text})),
            _ => choice.insert("text".to_owned(), text.into()),
        };
        choice.insert("logprobs".to_owned(), Value::Null);
        choice.insert("finish_reason".to_owned(), piece.finish.map(Finish::name).into());
        if self.ask.api != Api::ChatCompletions || piece.finish.is_some() {
            choice.insert("stop_reason".to_owned(), Value::Null);
        }
        if self.ask.api != Api::ChatCompletions {
            choice.insert("prompt_token_ids".to_owned(), Value::Null);
        }
        choice.insert("token_ids".to_owned(), self.token_ids(piece.tokens));
        let mut chunk = self.chunk(json!([choice]));
        if let Some(usage) = usage {
            chunk.insert("usage".to_owned(), usage.json_running());
        }
        if last {
            chunk.insert("system_fingerprint".to_owned(), self.fingerprint.as_str().into());
        }
        event(chunk)
    }

    /// The chunks that a stream ends with. `said`: all tokens of the only sequence of a response.
    pub(crate) fn ending(&self, said: &[u32], usage: Usage) -> Vec<String> {
        if self.ask.api == Api::Responses {
            return vec![responses::ending(self, said, usage)];
        }
        let usage = self.ask.usage.at_end.then(|| self.usage(usage));
        usage.into_iter().chain([DONE.to_owned()]).collect()
    }

    /// The chunk that tells usage.
    fn usage(&self, usage: Usage) -> String {
        let mut chunk = self.chunk(json!([]));
        chunk.insert("usage".to_owned(), usage.json_last_chunk());
        chunk.insert("system_fingerprint".to_owned(), self.fingerprint.as_str().into());
        event(chunk)
    }

    /// The whole answer of a request that does not stream.
    pub(crate) fn whole(&self, pieces: &[Piece<'_>], usage: Usage) -> Value {
        if self.ask.api == Api::Responses {
            let said = pieces.first().map_or(&[][..], |piece| piece.tokens);
            return responses::whole(self, said, usage);
        }
        if self.ask.api == Api::SglangGenerate {
            return native::whole(self, pieces, usage);
        }
        let choices: Vec<_> = pieces.iter().map(|piece| self.choice(piece)).collect();
        let mut answer = self.head(match self.ask.api {
            Api::ChatCompletions => "chat.completion",
            _ => "text_completion",
        });
        answer.insert("choices".to_owned(), choices.into());
        answer.insert("service_tier".to_owned(), Value::Null);
        answer.insert("system_fingerprint".to_owned(), self.fingerprint.as_str().into());
        answer.insert("usage".to_owned(), usage.json());
        if self.ask.api == Api::ChatCompletions {
            let prompt = self.ask.prompts.first().map(Vec::as_slice).unwrap_or_default();
            answer.insert("prompt_logprobs".to_owned(), Value::Null);
            answer.insert("prompt_token_ids".to_owned(), self.token_ids(prompt));
            answer.insert("prompt_text".to_owned(), Value::Null);
        }
        for key in ["kv_transfer_params", "ec_transfer_params", "metrics"] {
            answer.insert(key.to_owned(), Value::Null);
        }
        answer.into()
    }

    fn choice(&self, piece: &Piece<'_>) -> Value {
        let text = self.text.text(piece.tokens);
        let finish = piece.finish.map(Finish::name);
        let token_ids = self.token_ids(piece.tokens);
        match self.ask.api {
            Api::ChatCompletions => json!({
                "index": piece.index,
                "message": {
                    "role": "assistant", "content": text, "refusal": null, "annotations": null, "audio": null,
                    "function_call": null, "reasoning": null,
                },
                "logprobs": null, "finish_reason": finish, "stop_reason": null, "token_ids": token_ids,
                "routed_experts": null,
            }),
            _ => json!({
                "index": piece.index, "text": text, "logprobs": null, "finish_reason": finish, "stop_reason": null,
                "token_ids": token_ids, "prompt_logprobs": null, "prompt_token_ids": null, "routed_experts": null,
            }),
        }
    }
}

/// What ends a stream.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

fn event(chunk: Map<String, Value>) -> String {
    format!("data: {}\n\n", Value::from(chunk))
}
