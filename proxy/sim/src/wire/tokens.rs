//! The pages that turn text into tokens and back.

use http::{Response, StatusCode};
use rankwise_prompt::Api;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::refusal::Refused;
use super::reply::{self, Body};
use super::worker::Worker;

#[derive(Deserialize)]
struct Tokenize {
    prompt: Option<String>,
}

pub(super) fn tokenize(worker: &Worker, body: &[u8]) -> Response<Body> {
    let tokens =
        serde_json::from_slice::<Tokenize>(body).map_err(|error| error.to_string()).and_then(|asked| {
            match asked.prompt {
                Some(prompt) => worker.text.tokens(&prompt),
                None => worker.text.prompt(Api::ChatCompletions, body),
            }
        });
    match tokens {
        Ok(tokens) => {
            let mut answer = Map::new();
            answer.insert("count".to_owned(), tokens.len().into());
            answer.insert("max_model_len".to_owned(), worker.site.spec.model_len().into());
            answer.insert("tokens".to_owned(), tokens.into());
            answer.insert("token_strs".to_owned(), Value::Null);
            reply::json(StatusCode::OK, &answer.into())
        }
        Err(message) => reply::refuse(&Refused::body(&message)),
    }
}

#[derive(Deserialize)]
struct Detokenize {
    tokens: Vec<u32>,
}

pub(super) fn detokenize(worker: &Worker, body: &[u8]) -> Response<Body> {
    match serde_json::from_slice::<Detokenize>(body) {
        Ok(asked) => reply::json(StatusCode::OK, &json!({"prompt": worker.text.text(&asked.tokens)})),
        Err(error) => reply::refuse(&Refused::body(&error.to_string())),
    }
}
