//! Tools as vLLM's request model dumps them: its own fields in its own order, a missing description or schema as null.

use serde_json::{Map, Value, json};

use super::wrong;
use crate::error::BodyError;

/// As `ChatCompletionToolsParam.model_dump()`: unknown fields are dropped, `strict` and `defer_loading` are left out if null.
pub(super) fn normalise(tools: Value) -> Result<Value, BodyError> {
    let Value::Array(tools) = tools else {
        return Err(wrong("tools".to_owned(), "an array of objects", &tools));
    };
    tools.into_iter().enumerate().map(|(position, tool)| normalise_one(position, tool)).collect()
}

fn normalise_one(position: usize, tool: Value) -> Result<Value, BodyError> {
    let path = format!("tools[{position}]");
    let Value::Object(mut tool) = tool else { return Err(wrong(path, "an object", &tool)) };
    let mut given = match tool.remove("function") {
        Some(Value::Object(function)) => function,
        None | Some(Value::Null) => return Err(BodyError::Missing { field: format!("{path}.function") }),
        Some(other) => return Err(wrong(format!("{path}.function"), "an object", &other)),
    };
    let deferred = tool.remove("defer_loading").filter(|value| !value.is_null());
    let mut function = Map::new();
    for (field, kept_if_null) in [
        ("name", true),
        ("description", true),
        ("parameters", true),
        ("strict", false),
        ("defer_loading", false),
    ] {
        let mut value = given.remove(field).unwrap_or_default();
        if field == "defer_loading" && value.is_null() {
            value = deferred.clone().unwrap_or_default();
        }
        if field == "name" && !value.is_string() {
            return Err(match value {
                Value::Null => BodyError::Missing { field: format!("{path}.function.name") },
                other => wrong(format!("{path}.function.name"), "a string", &other),
            });
        }
        if kept_if_null || !value.is_null() {
            function.insert(field.to_owned(), value);
        }
    }
    let mut dumped =
        json!({ "type": tool.remove("type").unwrap_or_else(|| json!("function")), "function": function });
    if let Some(deferred) = deferred {
        dumped["defer_loading"] = deferred;
    }
    Ok(dumped)
}
