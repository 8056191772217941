//! One message, reduced to what the engine passes on.

use serde_json::{Map, Value, json};

use super::{ContentFormat, content, wrong};
use crate::error::BodyError;

/// As vLLM's `_parse_chat_message_content` and `_postprocess_messages`. Sets `cut` if a medium stands in the message.
pub(super) fn normalise(
    position: usize,
    given: Value,
    format: ContentFormat,
    cut: &mut bool,
) -> Result<Value, BodyError> {
    let path = |field: &str| format!("messages[{position}].{field}");
    let Value::Object(mut given) = given else {
        return Err(wrong(format!("messages[{position}]"), "an object", &given));
    };
    let role = match given.remove("role") {
        Some(Value::String(role)) => role,
        None | Some(Value::Null) => return Err(BodyError::Missing { field: path("role") }),
        Some(other) => return Err(wrong(path("role"), "a string", &other)),
    };
    let parts =
        content::normalise(&path("content"), given.remove("content").unwrap_or_default(), format, cut)?;
    let mut message = Map::new();
    message.insert("role".to_owned(), json!(role));
    message.insert("content".to_owned(), parts);
    match role.as_str() {
        "assistant" => {
            match given.remove("tool_calls") {
                None | Some(Value::Null) => {}
                Some(Value::Array(calls)) => {
                    if !calls.is_empty() {
                        message.insert("tool_calls".to_owned(), tool_calls(&path("tool_calls"), calls)?);
                    }
                }
                Some(other) => return Err(wrong(path("tool_calls"), "an array of objects", &other)),
            }
            let reasoning = [given.remove("reasoning"), given.remove("reasoning_content")];
            if let Some(text @ Value::String(_)) =
                reasoning.into_iter().flatten().find(|text| !text.is_null())
            {
                message.insert("reasoning".to_owned(), text.clone());
                message.insert("reasoning_content".to_owned(), text);
            }
        }
        "tool" => {
            if let Some(id) = given.remove("tool_call_id") {
                message.insert("tool_call_id".to_owned(), id);
            }
        }
        "developer" => {
            message.insert("tools".to_owned(), given.remove("tools").unwrap_or_default());
        }
        _ => {}
    }
    if let Some(name @ Value::String(_)) = given.remove("name") {
        message.insert("name".to_owned(), name);
    }
    Ok(Value::Object(message))
}

/// Templates expect a call's arguments as an object; the API has them as JSON in a string.
fn tool_calls(path: &str, mut calls: Vec<Value>) -> Result<Value, BodyError> {
    for (position, call) in calls.iter_mut().enumerate() {
        let Some(function) = call.get_mut("function").and_then(Value::as_object_mut) else {
            return Err(BodyError::Missing { field: format!("{path}[{position}].function") });
        };
        let parsed = match function.get("arguments") {
            Some(Value::String(text)) if !text.is_empty() => {
                serde_json::from_str(text).map_err(|error| BodyError::Value {
                    field: format!("{path}[{position}].function.arguments"),
                    message: format!("not JSON: {error}"),
                })?
            }
            Some(given @ (Value::Object(_) | Value::Array(_))) => given.clone(),
            _ => json!({}),
        };
        function.insert("arguments".to_owned(), parsed);
        move_first(function, &["arguments", "name"]);
        if let Some(call) = call.as_object_mut() {
            move_first(call, &["id", "function", "type"]);
        }
    }
    Ok(Value::Array(calls))
}

/// Puts `names` before all other fields: the order in which pydantic gives an OpenAI tool call back, which shows in templates that
/// print calls as JSON.
fn move_first(object: &mut Map<String, Value>, names: &[&str]) {
    let mut rest = std::mem::take(object);
    for name in names {
        if let Some((name, value)) = rest.shift_remove_entry(*name) {
            object.insert(name, value);
        }
    }
    object.extend(rest);
}
