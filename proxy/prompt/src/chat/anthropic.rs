//! `POST /v1/messages` as vLLM turns it into a chat.
//!
//! Texts, images and tools. What the model called and what came back is converted in ways of the engine's own, so such a prompt is not known
//! here.

use serde_json::{Value, json};

use super::{Given, unknown};
use crate::body::{Body, Field, Raw};
use crate::error::BodyError;

pub(super) fn read(body: &Body) -> Result<Given, BodyError> {
    let mut given = Given::read(body)?;
    for message in &mut given.messages {
        if let Some(content @ Value::Array(_)) = message.get_mut("content") {
            simplify(content)?;
        }
    }
    if let Some(system) = body.get(Field::System) {
        given.messages.insert(0, json!({"role": "system", "content": self::system(system)?}));
    }
    given.tools = match given.tools {
        Some(Value::Array(tools)) if !tools.is_empty() => Some(tools.iter().map(tool).collect()),
        _ => None,
    };
    Ok(given)
}

/// One text stands for itself; several stay a list.
fn simplify(content: &mut Value) -> Result<(), BodyError> {
    let Some(blocks) = content.as_array() else { return Ok(()) };
    let kind = |block: &Value| block["type"].as_str().map(str::to_owned).unwrap_or_default();
    if let Some(other) = blocks.iter().map(kind).find(|kind| !matches!(kind.as_str(), "text" | "image")) {
        return Err(unknown(&format!("a content block of type {other:?}")));
    }
    if let [only] = blocks.as_slice()
        && let Some(text) = only.get("text").and_then(Value::as_str)
    {
        *content = json!(text);
    }
    Ok(())
}

/// The blocks' texts, joined by nothing.
fn system(raw: Raw<'_>) -> Result<String, BodyError> {
    match raw.value()? {
        Value::String(text) => Ok(text),
        Value::Array(blocks) => Ok(blocks.iter().filter_map(|block| block["text"].as_str()).collect()),
        _ => Err(raw.wrong_type("a string or an array of objects")),
    }
}

fn tool(tool: &Value) -> Value {
    json!({"type": "function", "function": {
        "name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"],
    }})
}
