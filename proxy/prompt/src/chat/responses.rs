//! `POST /v1/responses` as vLLM turns it into a chat (`construct_input_messages`, `construct_tool_dicts`): instructions, then the input's
//! items, of which several may make one message.
//!
//! What is not known here: items and tools that the engine has no words for, and those that it refuses.

use serde_json::{Value, json};

use super::calls::CallOrder;
use super::{Given, Settings, unknown};
use crate::body::{Body, Field};
use crate::error::BodyError;

pub(super) fn read(body: &Body) -> Result<Given, BodyError> {
    let mut messages = Vec::new();
    if let Some(instructions) = body.get(Field::Instructions) {
        let instructions = instructions.string()?;
        if !instructions.is_empty() {
            messages.push(json!({"role": "system", "content": instructions}));
        }
    }
    let Some(input) = body.get(Field::Input) else {
        return Err(BodyError::Missing { field: "input".to_owned() });
    };
    let mut continues = false;
    match input.value()? {
        Value::String(text) => messages.push(json!({"role": "user", "content": text})),
        Value::Array(items) => {
            continues = items.last().is_some_and(is_unfinished);
            let first = messages.len();
            for item in items {
                // Instructions are no part of what items may add to.
                add(item, &mut messages, first)?;
            }
        }
        _ => return Err(input.wrong_type("a string or an array of objects")),
    }
    let effort = match body.get(Field::Reasoning) {
        None => None,
        Some(reasoning) => Some(reasoning.value()?["effort"].clone()).filter(Value::is_string),
    };
    let settings = Settings {
        effort,
        add_generation_prompt: !continues,
        continue_final_message: continues,
        add_special_tokens: true,
        ..Settings::default()
    };
    Ok(Given { field: "input", messages, tools: tools(body)?, order: CallOrder::Given, settings })
}

/// Whether the engine is to go on with this item instead of answering it.
fn is_unfinished(item: &Value) -> bool {
    let kind = item.get("type").map_or(Some("message"), Value::as_str);
    matches!(kind, Some("message" | "reasoning"))
        && matches!(item["status"].as_str(), Some("in_progress" | "incomplete"))
}

/// Appends an item's message, or adds the item to the assistant's message before it.
fn add(mut item: Value, messages: &mut Vec<Value>, first: usize) -> Result<(), BodyError> {
    let kind = item["type"].as_str().map(str::to_owned);
    let before = messages[first..]
        .last_mut()
        .filter(|message| message["role"] == "assistant")
        .and_then(Value::as_object_mut);
    let (field, value) = match kind.as_deref() {
        Some("function_call" | "custom_tool_call") => {
            let call = call(&item)?;
            if let Some(Value::Array(calls)) =
                before.map(|message| message.entry("tool_calls").or_insert_with(|| json!([])))
            {
                calls.push(call);
            } else {
                messages.push(json!({"role": "assistant", "tool_calls": [call]}));
            }
            return Ok(());
        }
        Some("function_call_output" | "custom_tool_call_output") => {
            let [output, id] = ["output", "call_id"].map(|field| item[field].take());
            messages.push(json!({"role": "tool", "content": output, "tool_call_id": id}));
            return Ok(());
        }
        Some("reasoning") => ("reasoning", reasoning(&item)?),
        None | Some("message") if item["role"] == "assistant" => ("content", answer(&item)?),
        None | Some("message") if item.get("role").is_some() => {
            messages.push(item);
            return Ok(());
        }
        kind => return Err(unknown(&format!("an input of type {}", kind.unwrap_or("none")))),
    };
    match before {
        Some(message) if message.get(field).is_none_or(Value::is_null) => {
            message.insert(field.to_owned(), value);
        }
        _ => messages.push(json!({"role": "assistant", field: value})),
    }
    Ok(())
}

fn call(item: &Value) -> Result<Value, BodyError> {
    let text = |field: &str| item[field].as_str();
    let (Some(name), Some(id)) = (text("name"), text("call_id")) else {
        return Err(unknown("a call without name or call_id"));
    };
    let (name, arguments) = if item["type"] == "custom_tool_call" {
        (name.to_owned(), json!({"input": text("input").unwrap_or_default()}))
    } else {
        let Some(arguments) = text("arguments") else { return Err(unknown("a call without arguments")) };
        (in_namespace(text("namespace"), name), json!(arguments))
    };
    Ok(json!({"id": id, "function": {"name": name, "arguments": arguments}, "type": "function"}))
}

fn reasoning(item: &Value) -> Result<Value, BodyError> {
    if item["encrypted_content"].as_str().is_some_and(|content| !content.is_empty()) {
        return Err(unknown("encrypted reasoning"));
    }
    let first = |list: &str| item[list].get(0).map(|part| part["text"].clone());
    Ok(first("content").or_else(|| first("summary")).filter(Value::is_string).unwrap_or_else(|| json!("")))
}

/// What the assistant said: of a list the first text.
fn answer(item: &Value) -> Result<Value, BodyError> {
    match &item["content"] {
        text @ Value::String(_) => Ok(text.clone()),
        content => match content.get(0).map(|part| &part["text"]) {
            Some(text @ Value::String(_)) => Ok(text.clone()),
            _ => Err(unknown("an answer that does not begin with a text")),
        },
    }
}

/// The tools that the model is shown: functions, those of namespaces, and custom ones as functions of one text.
fn tools(body: &Body) -> Result<Option<Value>, BodyError> {
    let Some(raw) = body.get(Field::Tools) else { return Ok(None) };
    let Value::Array(tools) = raw.value()? else { return Err(raw.wrong_type("an array of objects")) };
    let mut shown = Vec::new();
    for tool in &tools {
        match tool["type"].as_str() {
            Some("function") => shown.push(function(tool, None)),
            Some("namespace") => {
                let functions = tool["tools"].as_array().into_iter().flatten();
                let functions = functions.filter(|function| function["type"] == "function");
                shown.extend(functions.map(|function| self::function(function, tool["name"].as_str())));
            }
            Some("custom") => shown.push(custom(tool)),
            _ => {}
        }
    }
    Ok((!tools.is_empty()).then_some(Value::Array(shown)))
}

fn function(tool: &Value, namespace: Option<&str>) -> Value {
    let name = tool["name"].as_str().map(|name| in_namespace(namespace, name));
    json!({"type": "function", "function": {
        "name": name, "description": tool["description"], "parameters": tool["parameters"], "strict": tool["strict"],
        "defer_loading": tool["defer_loading"],
    }})
}

fn custom(tool: &Value) -> Value {
    json!({"type": "function", "function": {
        "name": tool["name"], "description": tool["description"], "parameters": {
            "type": "object",
            "properties": {"input": {"type": "string", "description": "The freeform text payload for this tool."}},
            "required": ["input"],
            "additionalProperties": false,
        },
    }})
}

fn in_namespace(namespace: Option<&str>, name: &str) -> String {
    match namespace.filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("{namespace}__{name}"),
        None => name.to_owned(),
    }
}
