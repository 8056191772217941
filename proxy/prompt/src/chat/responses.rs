//! `POST /v1/responses` as vLLM turns it into a chat: instructions, then the input's messages.
//!
//! Only what vLLM passes on as it is: texts and messages. Tools, tool calls and reasoning go through conversions of the engine's own, so
//! such a prompt is not known here.

use serde_json::{Value, json};

use super::{Given, unknown};
use crate::body::{Body, Field};
use crate::error::BodyError;

pub(super) fn read(body: &Body) -> Result<Given, BodyError> {
    for field in [Field::Tools, Field::Reasoning] {
        if body.get(field).is_some_and(|raw| !raw.is_empty_array()) {
            return Err(unknown(&format!("a response with {}", field.name())));
        }
    }
    let mut messages = Vec::new();
    if let Some(instructions) = body.get(Field::Instructions) {
        messages.push(json!({"role": "system", "content": instructions.string()?}));
    }
    let Some(input) = body.get(Field::Input) else {
        return Err(BodyError::Missing { field: "input".to_owned() });
    };
    match input.value()? {
        Value::String(text) => messages.push(json!({"role": "user", "content": text})),
        Value::Array(items) => {
            for item in items {
                let is_message = item.get("type").is_none_or(|kind| kind == "message");
                if !is_message || item.get("role").is_none() {
                    return Err(unknown("an input that is not a message"));
                }
                messages.push(item);
            }
        }
        _ => return Err(input.wrong_type("a string or an array of objects")),
    }
    Ok(Given { field: "input", messages, tools: None })
}
