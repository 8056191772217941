//! A message's content: texts joined or listed, media cut off.

use serde_json::{Value, json};

use super::{CUT, ContentFormat, wrong};
use crate::error::BodyError;

enum Part {
    Text(String),
    /// The name of a tool whose definition was deferred.
    ToolReference(String),
    /// Its kind, as templates know it.
    Medium(&'static str),
}

/// What Claude Code begins its system prompts with: a line that is different in each request.
pub(super) const BILLING_HEADER: &str = "x-anthropic-billing-header";

/// Takes that line out of a system message, as vLLM does.
pub(super) fn strip_billing_header(content: &mut Value) {
    let strip = |text: &mut String| {
        if text.starts_with(BILLING_HEADER) {
            *text = text.split_once('\n').map_or("", |(_, rest)| rest).to_owned();
        }
        !text.is_empty()
    };
    match content {
        Value::String(text) => drop(strip(text)),
        Value::Array(parts) => parts.retain_mut(|part| {
            let is_text = part.get("type").is_some_and(|kind| kind == "text");
            match part {
                Value::String(text) if text.starts_with(BILLING_HEADER) => strip(text),
                Value::Object(part) if is_text => match part.get_mut("text") {
                    Some(Value::String(text)) if text.starts_with(BILLING_HEADER) => strip(text),
                    _ => true,
                },
                _ => true,
            }
        }),
        _ => {}
    }
}

/// What a tool answered is one text where it is nothing but texts: most templates take no list there.
pub(super) fn join_texts(content: &mut Value) {
    let Value::Array(parts) = &*content else { return };
    let text = |part: &Value| match part["type"].as_str() {
        Some("text") => part["text"].as_str().map(str::to_owned),
        _ => None,
    };
    if let Some(texts) = parts.iter().map(text).collect::<Option<Vec<_>>>() {
        *content = Value::String(texts.join("\n"));
    }
}

/// `content` in the form the template expects. Where it holds an image or the like, [`CUT`] is its beginning and `cut` is set: the engine
/// puts placeholders, whose number only it knows, at or after this place.
pub(super) fn normalise(
    path: &str,
    content: Value,
    format: ContentFormat,
    cut: &mut bool,
) -> Result<Value, BodyError> {
    let mut parts = match content {
        Value::Null => Vec::new(),
        Value::String(text) if format == ContentFormat::Text => return Ok(Value::String(text)),
        Value::String(text) => vec![Part::Text(text)],
        Value::Array(parts) => {
            let mut read = Vec::with_capacity(parts.len());
            for (position, part) in parts.into_iter().enumerate() {
                read.extend(self::part(&format!("{path}[{position}]"), part)?);
            }
            read
        }
        other => return Err(wrong(path.to_owned(), "a string or an array of objects", &other)),
    };
    if parts.iter().any(|part| matches!(part, Part::Medium(_))) {
        *cut = true;
        parts.insert(0, Part::Text(CUT.to_owned()));
    }
    Ok(match format {
        ContentFormat::Parts => parts
            .into_iter()
            .map(|part| match part {
                Part::Text(text) => json!({"type": "text", "text": text}),
                Part::ToolReference(name) => json!({"type": "tool_reference", "name": name}),
                Part::Medium(kind) => json!({"type": kind}),
            })
            .collect(),
        ContentFormat::Text => {
            let texts: Vec<String> = parts
                .into_iter()
                .filter_map(|part| match part {
                    Part::Text(text) | Part::ToolReference(text) => Some(text),
                    Part::Medium(_) => None,
                })
                .collect();
            Value::String(texts.join("\n"))
        }
    })
}

/// One element of a content array; `None` if the engine skips it.
fn part(path: &str, part: Value) -> Result<Option<Part>, BodyError> {
    let mut part = match part {
        Value::String(text) => return Ok(Some(Part::Text(text))),
        Value::Object(part) => part,
        other => return Err(wrong(path.to_owned(), "an object", &other)),
    };
    let kind = match part.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        // vLLM tells an untyped part by its key.
        None if part.contains_key("text") => "text".to_owned(),
        None => String::new(),
        Some(other) => return Err(wrong(format!("{path}.type"), "a string", other)),
    };
    let key = match kind.as_str() {
        "text" | "input_text" | "output_text" => "text",
        "refusal" => "refusal",
        "thinking" => "thinking",
        "tool_reference" => "name",
        "input_audio" | "audio_url" => return Ok(Some(Part::Medium("audio"))),
        "video_url" => return Ok(Some(Part::Medium("video"))),
        _ => return Ok(Some(Part::Medium("image"))),
    };
    match part.remove(key) {
        Some(Value::String(name)) if kind == "tool_reference" => Ok(Some(Part::ToolReference(name))),
        Some(Value::String(text)) => Ok(Some(Part::Text(text))),
        Some(Value::Null) => Ok(None),
        Some(other) => Err(wrong(format!("{path}.{key}"), "a string", &other)),
        None => Err(BodyError::Missing { field: format!("{path}.{key}") }),
    }
}
