//! One message, reduced to what the engine passes on.

use serde_json::{Map, Value, json};

use super::calls::{self, CallOrder};
use super::{ContentFormat, content, wrong};
use crate::error::BodyError;

/// As vLLM's `_parse_chat_message_content` and `_postprocess_messages`. Sets `cut` if a medium stands in the message.
pub(super) fn normalise(
    position: usize,
    given: Value,
    format: ContentFormat,
    order: CallOrder,
    cut: &mut bool,
) -> Result<Value, BodyError> {
    let path = |field: &str| format!("messages[{position}].{field}");
    let mut given = match given {
        Value::Object(given) if format == ContentFormat::Text && is_normal(&given) => {
            return Ok(Value::Object(given));
        }
        Value::Object(given) => given,
        other => return Err(wrong(format!("messages[{position}]"), "an object", &other)),
    };
    let role = match given.remove("role") {
        Some(Value::String(role)) => role,
        None | Some(Value::Null) => return Err(BodyError::Missing { field: path("role") }),
        Some(other) => return Err(wrong(path("role"), "a string", &other)),
    };
    let mut content = given.remove("content").unwrap_or_default();
    if role == "system" {
        content::strip_billing_header(&mut content);
    }
    let mut content = content::normalise(&path("content"), content, format, cut)?;
    if role == "tool" {
        content::join_texts(&mut content);
    }
    let mut message = Map::new();
    message.insert("role".to_owned(), json!(role));
    message.insert("content".to_owned(), content);
    match role.as_str() {
        "assistant" => {
            match given.remove("tool_calls") {
                None | Some(Value::Null) => {}
                Some(Value::Array(calls)) => {
                    if !calls.is_empty() {
                        let calls = calls::normalise(&path("tool_calls"), calls, order)?;
                        message.insert("tool_calls".to_owned(), calls);
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
    for field in ["name", "task"] {
        if let Some(text @ Value::String(_)) = given.remove(field) {
            message.insert(field.to_owned(), text);
        }
    }
    Ok(Value::Object(message))
}

/// Whether it is as it would be returned, as most are: a role, then a text.
fn is_normal(message: &Map<String, Value>) -> bool {
    let mut members = message.iter();
    let (role, content) = (members.next(), members.next());
    members.next().is_none()
        && role.is_some_and(|(key, role)| key == "role" && (role == "user" || role == "assistant"))
        && content.is_some_and(|(key, content)| key == "content" && content.is_string())
}
