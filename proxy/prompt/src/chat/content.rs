//! A message's content: texts joined or listed, media cut off.

use serde_json::{Value, json};

use super::{CUT, ContentFormat, wrong};
use crate::error::BodyError;

enum Part {
    Text(String),
    /// Its kind, as templates know it.
    Medium(&'static str),
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
                Part::Medium(kind) => json!({"type": kind}),
            })
            .collect(),
        ContentFormat::Text => {
            let texts: Vec<String> = parts
                .into_iter()
                .filter_map(|part| match part {
                    Part::Text(text) => Some(text),
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
        "input_audio" | "audio_url" => return Ok(Some(Part::Medium("audio"))),
        "video_url" => return Ok(Some(Part::Medium("video"))),
        _ => return Ok(Some(Part::Medium("image"))),
    };
    match part.remove(key) {
        Some(Value::String(text)) => Ok(Some(Part::Text(text))),
        Some(Value::Null) => Ok(None),
        Some(other) => Err(wrong(format!("{path}.{key}"), "a string", &other)),
        None => Err(BodyError::Missing { field: format!("{path}.{key}") }),
    }
}
