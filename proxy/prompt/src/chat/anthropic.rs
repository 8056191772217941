//! `POST /v1/messages` as vLLM turns it into a chat (`AnthropicServingMessages.to_chat_completion_request`).
//!
//! What is not known here: tools that change within the conversation, and what the engine would make up (a call's missing id).

use serde_json::{Map, Value, json};

use super::calls::CallOrder;
use super::content::BILLING_HEADER;
use super::{Given, Settings, list_of_messages, unknown};
use crate::body::{Body, Field};
use crate::error::BodyError;
use crate::template::Probed;

pub(super) fn read(body: &Body, probed: Probed) -> Result<Given, BodyError> {
    let given = list_of_messages(body)?;
    let mut messages = Vec::with_capacity(given.len() + 1);
    let mut system = match body.get(Field::System) {
        None => String::new(),
        Some(raw) => match raw.value()? {
            text @ (Value::String(_) | Value::Array(_)) => system_text(&text, false),
            _ => return Err(raw.wrong_type("a string or an array of objects")),
        },
    };
    let is_system = |message: &&Value| message["role"] == "system";
    if probed.merges_system {
        given.iter().filter(is_system).for_each(|message| system += &system_text(&message["content"], true));
    }
    if !system.is_empty() {
        messages.push(json!({"role": "system", "content": system}));
    }
    for message in given {
        if is_system(&&message) {
            let text = system_text(&message["content"], true);
            if !text.is_empty() && !probed.merges_system {
                messages.push(json!({"role": "system", "content": text}));
            }
            continue;
        }
        convert(message, &mut messages)?;
    }
    let tools = match body.get(Field::Tools) {
        None => None,
        Some(raw) => match raw.value()? {
            Value::Array(tools) => Some(tools.into_iter().map(tool).collect::<Result<_, _>>()?),
            _ => return Err(raw.wrong_type("an array of objects")),
        },
    };
    let settings = Settings { effort: effort(body, probed)?, ..Settings::default() };
    Ok(Given { field: "messages", messages, tools, order: CallOrder::Pydantic, settings })
}

/// The texts joined by nothing, without those that are Claude Code's billing header. `inline`: in a message, where a plain string may be one
/// too.
fn system_text(content: &Value, inline: bool) -> String {
    let counts = |text: &&str| !text.starts_with(BILLING_HEADER);
    match content {
        Value::String(text) if inline => Some(text.as_str()).filter(counts).unwrap_or_default().to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts = blocks.iter().filter(|block| block["type"] == "text");
            texts.filter_map(|block| block["text"].as_str()).filter(counts).collect()
        }
        _ => String::new(),
    }
}

/// Appends a message; before it what tools answered in it.
fn convert(message: Value, messages: &mut Vec<Value>) -> Result<(), BodyError> {
    let Value::Object(mut message) = message else {
        messages.push(message);
        return Ok(());
    };
    let content = message.remove("content").unwrap_or_default();
    let role = message.remove("role").unwrap_or_default();
    let mut converted = Map::from_iter([("role".to_owned(), role)]);
    match content {
        Value::Array(blocks) => {
            let is_user = converted["role"] == "user";
            let mut content = Content::default();
            for block in blocks {
                content.add(block, is_user, messages)?;
            }
            content.put(&mut converted);
        }
        text => drop(converted.insert("content".to_owned(), text)),
    }
    if converted["role"] != "user" || converted.contains_key("content") {
        messages.push(Value::Object(converted));
    }
    Ok(())
}

#[derive(Default)]
struct Content {
    parts: Vec<Value>,
    calls: Vec<Value>,
    reasoning: Option<String>,
}

impl Content {
    fn add(&mut self, block: Value, is_user: bool, messages: &mut Vec<Value>) -> Result<(), BodyError> {
        let text = |field: &str| block[field].as_str().filter(|text| !text.is_empty());
        match block["type"].as_str().unwrap_or_default() {
            "text" => self.parts.extend(text("text").map(|text| json!({"type": "text", "text": text}))),
            "image" => self.parts.push(json!({"type": "image_url"})),
            "thinking" => {
                if let Some(thought) = block["thinking"].as_str() {
                    self.reasoning.get_or_insert_default().push_str(thought);
                }
            }
            "redacted_thinking" | "tool_reference" => {}
            "tool_use" => {
                let Some(id) = text("id") else { return Err(unknown("a tool_use block without an id")) };
                let name = block["name"].as_str().unwrap_or_default();
                let arguments = Some(&block["input"]).filter(|input| input.is_object());
                let function =
                    json!({"name": name, "arguments": arguments.cloned().unwrap_or_else(|| json!({}))});
                self.calls.push(json!({"id": id, "type": "function", "function": function}));
            }
            "tool_result" if is_user => tool_result(&block, messages),
            "tool_result" => {
                let Some(text) = text("content") else {
                    return Err(unknown("a tool_result of the assistant that is no text"));
                };
                self.parts.push(json!({"type": "text", "text": format!("Tool result: {text}")}));
            }
            other => return Err(unknown(&format!("a content block of type {other:?}"))),
        }
        Ok(())
    }

    /// One text stands for itself; several stay a list.
    fn put(mut self, message: &mut Map<String, Value>) {
        if let Some(reasoning) = self.reasoning.filter(|reasoning| !reasoning.is_empty()) {
            message.insert("reasoning".to_owned(), json!(reasoning));
        }
        if !self.calls.is_empty() {
            message.insert("tool_calls".to_owned(), json!(self.calls));
        }
        let content = match self.parts.as_mut_slice() {
            [] => return,
            [only] if only["type"] == "text" => only["text"].take(),
            _ => json!(self.parts),
        };
        message.insert("content".to_owned(), content);
    }
}

/// What a tool answered: a message of its own, its images another, and one for tools that it names.
fn tool_result(block: &Value, messages: &mut Vec<Value>) {
    let id = block["tool_use_id"].as_str().unwrap_or_default();
    let items = block["content"].as_array().map_or(&[][..], Vec::as_slice);
    let of = |kind: &'static str| items.iter().filter(move |item| item["type"] == kind);
    let text = match &block["content"] {
        Value::String(text) => text.clone(),
        _ => of("text").map(|item| item["text"].as_str().unwrap_or_default()).collect::<Vec<_>>().join("\n"),
    };
    messages.push(json!({"role": "tool", "tool_call_id": id, "content": text}));
    let images: Vec<Value> = of("image").map(|_| json!({"type": "image_url"})).collect();
    if !images.is_empty() {
        messages.push(json!({"role": "user", "content": images}));
    }
    let name = |item: &Value| {
        let name = [&item["tool_name"], &item["name"]].into_iter().find_map(Value::as_str);
        name.map(|name| json!({"type": "tool_reference", "name": name}))
    };
    let references: Vec<Value> = of("tool_reference").filter_map(name).collect();
    if !references.is_empty() {
        messages.push(json!({"role": "tool", "tool_call_id": id, "content": references}));
    }
}

fn tool(mut tool: Value) -> Result<Value, BodyError> {
    let Some(Value::Object(mut schema)) = tool.get_mut("input_schema").map(Value::take) else {
        return Err(unknown("a tool without an input_schema"));
    };
    schema.entry("type").or_insert_with(|| json!("object"));
    Ok(json!({"type": "function", "function": {
        "name": tool["name"], "description": tool["description"], "parameters": schema, "strict": tool["strict"],
        "defer_loading": tool["defer_loading"],
    }}))
}

fn effort(body: &Body, probed: Probed) -> Result<Option<Value>, BodyError> {
    let mut effort = None;
    if let Some(raw) = body.get(Field::OutputConfig) {
        effort = Some(raw.value()?["effort"].clone()).filter(Value::is_string);
    }
    if let Some(raw) = body.get(Field::Thinking)
        && raw.value()?["type"] == "disabled"
    {
        effort = Some(json!(probed.disabled_effort));
    }
    Ok(effort)
}
