//! A chat as SGLang shows it to the template (`OpenAIServingChat._process_messages`).
//!
//! What it refuses, and what only some models' own code makes of a request, is left to it. Anthropic's and OpenAI's newer APIs are
//! taken to become a chat as with vLLM, and that chat to be read as any other.

use serde_json::{Map, Value, json};

use super::{CUT, Given, Request, template_arguments, unknown, wrong};
use crate::api::Api;
use crate::body::{Body, Field, Raw, has_long_number};
use crate::dialect::Dialect;
use crate::error::BodyError;
use crate::ids::Keep;
use crate::template::{ContentFormat, Conversation, Template};

/// The efforts that have names.
const EFFORTS: [&str; 8] = ["none", "minimal", "low", "medium", "high", "xhigh", "ultra", "max"];

/// Roles besides the user's, which may be in capitals.
const ROLES: [&str; 7] = ["system", "assistant", "tool", "function", "developer", "latest_reminder", "root"];

/// Fields of a chat that decide over its prompt in ways that are not followed here.
pub(crate) const OTHER_FIELDS: [Field; 3] = [Field::Reasoning, Field::Thinking, Field::InputIds];

pub(super) fn request(body: &Body, given: Given, template: &Template) -> Result<Request, BodyError> {
    if body.api() == Api::ChatCompletions && OTHER_FIELDS.iter().any(|field| body.get(*field).is_some()) {
        return Err(unknown("the request says more of its prompt than is followed here"));
    }
    let choice = body.get(Field::ToolChoice).map(Raw::value).transpose()?;
    let tools = match given.tools {
        Some(tools) => tools_of(tools, choice.as_ref())?,
        None => None,
    };
    let format = template.content_format(Dialect::Sglang, tools.is_some());
    let mut cut = false;
    let read = |(position, message)| message_of(position, message, format, &mut cut);
    let mut messages: Vec<Value> =
        given.messages.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
    if cut && template.orders_tool_results() && messages.iter().any(|message| message["role"] == "tool") {
        return Err(unknown("what tools answered with media may be put in another order"));
    }
    let (mut rewritten, mut goes_on) = (false, false);
    if let Some(last) = messages.last_mut()
        && last["role"] == "assistant"
        && let Some(text) = last["content"].as_str()
    {
        rewritten = true;
        if given.settings.continue_final_message {
            // It is encoded apart, behind the rest.
            goes_on = !text.is_empty();
            messages.pop();
        } else {
            *last = json!({"role": "user", "content": text});
        }
    }
    let kwargs = with_effort(template_arguments(body)?, given.settings.effort)?;
    let conversation =
        Conversation { messages, tools, kwargs, cut, rewritten, goes_on, ..Conversation::default() };
    Ok(Request { conversation, add_special_tokens: false, keep: Keep::All })
}

/// `reasoning_effort` as it gets to the template, and the switches that follow from it.
fn with_effort(
    mut kwargs: Map<String, Value>,
    effort: Option<Value>,
) -> Result<Map<String, Value>, BodyError> {
    let Some(effort) = effort else { return Ok(kwargs) };
    if !effort.as_str().is_some_and(|effort| EFFORTS.contains(&effort)) {
        return Err(unknown("a reasoning effort that has no name"));
    }
    let thinks = json!(effort != "none");
    for (name, value) in [("thinking", &thinks), ("enable_thinking", &thinks), ("reasoning_effort", &effort)]
    {
        kwargs.entry(name).or_insert_with(|| value.clone());
    }
    Ok(kwargs)
}

/// One message: the fields that the engine knows, in its order.
pub(super) fn message_of(
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
    let content = given.remove("content").unwrap_or_default();
    if role == "user" {
        if content.is_null() {
            return Err(unknown("a user who says nothing"));
        }
        let content = content_of(&path("content"), content, &role, format, cut)?;
        return Ok(json!({"role": role, "content": content}));
    }
    let role = role.to_lowercase();
    if !ROLES.contains(&role.as_str()) {
        return Err(unknown("a role that the engine refuses"));
    }
    if ["tools", "prefix"].iter().any(|field| given.get(*field).is_some_and(|value| !value.is_null())) {
        return Err(unknown("a message with tools or a prefix of its own"));
    }
    let is_list = content.is_array();
    let content = content_of(&path("content"), content, &role, format, cut)?;
    let mut message = Map::from_iter([("role".to_owned(), json!(role)), ("content".to_owned(), content)]);
    for field in ["tool_call_id", "name", "phase", "reasoning_content"] {
        match given.remove(field) {
            None | Some(Value::Null) => {}
            Some(text @ Value::String(_)) => drop(message.insert(field.to_owned(), text)),
            Some(_) => return Err(unknown("a message's field of another type")),
        }
    }
    match given.remove("tool_calls") {
        None | Some(Value::Null) => {}
        Some(Value::Array(calls)) => {
            let calls = calls.into_iter().map(|call| call_of(call, role == "assistant"));
            message.insert("tool_calls".to_owned(), calls.collect::<Result<_, _>>()?);
        }
        Some(other) => return Err(wrong(path("tool_calls"), "an array of objects", &other)),
    }
    // A list that stays one is put back behind the others.
    if is_list
        && format == ContentFormat::Parts
        && let Some((name, content)) = message.shift_remove_entry("content")
    {
        message.insert(name, content);
    }
    Ok(Value::Object(message))
}

/// A call with all fields that it may have. Arguments of the assistant's are an object, or refused.
fn call_of(call: Value, is_assistants: bool) -> Result<Value, BodyError> {
    let Value::Object(mut call) = call else { return Err(unknown("a tool call that is no object")) };
    let Some(Value::Object(mut function)) = call.remove("function") else {
        return Err(unknown("a tool call without a function"));
    };
    let arguments = match function.remove("arguments").unwrap_or_default() {
        Value::String(text) if is_assistants => match serde_json::from_str(&text) {
            Ok(parsed @ Value::Object(_)) => parsed,
            _ => return Err(unknown("a tool call's arguments are no object")),
        },
        given @ (Value::String(_) | Value::Object(_) | Value::Null) => given,
        _ => return Err(unknown("a tool call's arguments are no object")),
    };
    if has_long_number(&arguments) {
        return Err(unknown(
            "a tool call's arguments hold a number that may be an integer of more than 64 bits",
        ));
    }
    let mut field = |name: &str| call.remove(name).unwrap_or_default();
    let (id, index, kind) = (field("id"), field("index"), field("type"));
    if !(kind.is_null() || kind == "function")
        || !(id.is_null() || id.is_string())
        || !(index.is_null() || index.is_i64())
    {
        return Err(unknown("a tool call that the engine refuses"));
    }
    let name = function.remove("name").unwrap_or_default();
    Ok(json!({
        "id": id, "index": index, "type": "function", "function": {"name": name, "arguments": arguments},
    }))
}

/// A text, or the parts that the template is to be shown. [`CUT`] stands before media.
fn content_of(
    path: &str,
    content: Value,
    role: &str,
    format: ContentFormat,
    cut: &mut bool,
) -> Result<Value, BodyError> {
    let parts = match content {
        Value::Null => return Ok(json!("")),
        Value::String(text) => return Ok(Value::String(text)),
        Value::Array(parts) => parts,
        other => return Err(wrong(path.to_owned(), "a string or an array of objects", &other)),
    };
    let mut shown = Vec::with_capacity(parts.len());
    let mut has_media = false;
    for part in parts {
        match (part["type"].as_str().unwrap_or_default(), part["text"].as_str()) {
            ("text", Some(text)) => shown.push(json!({"type": "text", "text": text})),
            ("thinking" | "reasoning", _) if role == "assistant" => {}
            ("tool_reference", _) if part["name"].is_string() => {
                shown.push(json!({"type": "tool_reference", "name": part["name"]}));
            }
            (kind @ ("image_url" | "video_url" | "audio_url" | "input_audio"), _) => {
                has_media = true;
                let kind = kind.trim_end_matches("_url").trim_start_matches("input_");
                shown.push(json!({"type": kind}));
            }
            _ => return Err(unknown("a part that the engine refuses")),
        }
    }
    if has_media {
        *cut = true;
        shown.insert(0, json!({"type": "text", "text": CUT}));
    }
    let all_texts = shown.iter().all(|part| part["type"] == "text");
    if format == ContentFormat::Text || (role == "tool" && all_texts) {
        let texts: Vec<&str> = shown.iter().filter_map(|part| part["text"].as_str()).collect();
        return Ok(Value::String(texts.join(" ")));
    }
    Ok(Value::Array(shown))
}

/// Tools as the engine dumps them: empty fields too, a function's in the client's order. `None`: none is shown.
fn tools_of(tools: Value, choice: Option<&Value>) -> Result<Option<Value>, BodyError> {
    let Value::Array(tools) = tools else {
        return Err(wrong("tools".to_owned(), "an array of objects", &tools));
    };
    let named = match choice {
        None => None,
        Some(Value::String(choice)) => match choice.as_str() {
            "none" => return Ok(None),
            "auto" | "required" => None,
            _ => return Err(unknown("a tool choice that the engine refuses")),
        },
        Some(choice) => match choice["function"]["name"].as_str() {
            Some(name) => Some(name),
            None => return Err(unknown("a tool choice that the engine refuses")),
        },
    };
    let mut shown: Vec<Value> =
        tools.into_iter().enumerate().map(|(at, tool)| tool_of(at, tool)).collect::<Result<_, _>>()?;
    if let Some(name) = named {
        shown.retain(|tool| tool["function"]["name"] == name);
    }
    Ok((!shown.is_empty()).then_some(Value::Array(shown)))
}

fn tool_of(position: usize, tool: Value) -> Result<Value, BodyError> {
    let path = format!("tools[{position}]");
    let Value::Object(mut tool) = tool else { return Err(wrong(path, "an object", &tool)) };
    let Some(Value::Object(given)) = tool.remove("function") else {
        return Err(BodyError::Missing { field: format!("{path}.function") });
    };
    if !given.get("name").is_some_and(Value::is_string) {
        return Err(BodyError::Missing { field: format!("{path}.function.name") });
    }
    let deferred = tool.remove("defer_loading").unwrap_or_default();
    let mut function = Map::new();
    for (name, value) in given {
        let kept_if_null = matches!(name.as_str(), "description" | "name" | "parameters");
        if kept_if_null || (matches!(name.as_str(), "strict" | "defer_loading") && !value.is_null()) {
            function.insert(name, value);
        }
    }
    for name in ["description", "parameters"] {
        function.entry(name).or_insert(Value::Null);
    }
    if !deferred.is_null() {
        function.entry("defer_loading").or_insert_with(|| deferred.clone());
    }
    let kind = tool.remove("type").unwrap_or_else(|| json!("function"));
    Ok(json!({"type": kind, "function": function, "defer_loading": deferred}))
}
