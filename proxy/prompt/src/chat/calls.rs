//! An assistant's tool calls: templates expect their arguments as an object, APIs have them as JSON in a string.

use serde_json::{Map, Value, json};

use super::unknown;
use crate::body::has_long_number;
use crate::error::BodyError;

/// The order of a call's fields, which shows in templates that print calls as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallOrder {
    /// In which pydantic gives an OpenAI tool call back.
    Pydantic,
    /// As they are.
    Given,
}

/// As vLLM's `_postprocess_messages`: arguments that are no JSON object are an empty one.
pub(super) fn normalise(path: &str, mut calls: Vec<Value>, order: CallOrder) -> Result<Value, BodyError> {
    for (position, call) in calls.iter_mut().enumerate() {
        let Some(function) = call.get_mut("function").and_then(Value::as_object_mut) else {
            return Err(BodyError::Missing { field: format!("{path}[{position}].function") });
        };
        let parsed = match function.get("arguments") {
            Some(Value::String(text)) => serde_json::from_str(text).ok(),
            Some(given) => Some(given.clone()),
            None => None,
        };
        if parsed.as_ref().is_some_and(has_long_number) {
            return Err(unknown(
                "a tool call's arguments hold a number that may be an integer of more than 64 bits",
            ));
        }
        let arguments = parsed.filter(Value::is_object).unwrap_or_else(|| json!({}));
        function.insert("arguments".to_owned(), arguments);
        if order == CallOrder::Pydantic {
            move_first(function, &["arguments", "name"]);
            if let Some(call) = call.as_object_mut() {
                move_first(call, &["id", "function", "type"]);
            }
        }
    }
    Ok(Value::Array(calls))
}

/// Puts `names` before all other fields.
fn move_first(object: &mut Map<String, Value>, names: &[&str]) {
    let mut rest = std::mem::take(object);
    for name in names {
        if let Some((name, value)) = rest.shift_remove_entry(*name) {
            object.insert(name, value);
        }
    }
    object.extend(rest);
}
