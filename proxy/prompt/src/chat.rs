//! A chat body as the engine shows it to the template: vLLM's request normalisation.

use serde_json::{Map, Value, json};

use crate::body::{boolean, fields, kind_of_value, value, wrong_type};
use crate::error::BodyError;
use crate::prompt::Keep;
use crate::template::{ContentFormat, Template};

mod content;
mod message;
mod tools;

/// Stands where the first image or other medium is: what is rendered before it is the known beginning of the prompt. Should a client
/// write it too, less of its prompt is known.
pub(crate) const CUT: &str = "\u{f8ff}rankwise-cut\u{f8ff}";

/// What the template is rendered with.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) messages: Vec<Value>,
    pub(crate) tools: Option<Value>,
    pub(crate) documents: Option<Value>,
    pub(crate) add_generation_prompt: bool,
    pub(crate) continue_final_message: bool,
    /// `chat_template_kwargs` and what the engine adds to them.
    pub(crate) kwargs: Map<String, Value>,
    /// Whether [`CUT`] stands in some message.
    pub(crate) cut: bool,
    pub(crate) add_special_tokens: bool,
    pub(crate) keep: Keep,
}

impl Request {
    pub(crate) fn parse(body: &[u8], template: &Template) -> Result<Self, BodyError> {
        let [
            messages,
            tools,
            documents,
            add_generation_prompt,
            continue_final_message,
            kwargs,
            reasoning_effort,
            chat_template,
            add_special_tokens,
            truncate,
            side,
        ] = fields(
            body,
            &[
                "messages",
                "tools",
                "documents",
                "add_generation_prompt",
                "continue_final_message",
                "chat_template_kwargs",
                "reasoning_effort",
                "chat_template",
                "add_special_tokens",
                "truncate_prompt_tokens",
                "truncation_side",
            ],
        )?;
        if chat_template.is_some() {
            // Engines refuse a client's template unless told to trust it.
            return Err(BodyError::Template { message: "the request brings its own template".to_owned() });
        }
        let messages = messages.ok_or_else(|| BodyError::Missing { field: "messages".to_owned() })?;
        let Value::Array(messages) = value("messages", messages)? else {
            return Err(wrong_type("messages", "an array of objects", messages));
        };
        if messages.is_empty() {
            return Err(BodyError::EmptyArray { field: "messages".to_owned() });
        }
        let tools = match tools.map(|raw| value("tools", raw)).transpose()? {
            Some(given) => Some(tools::normalise(given)?),
            None => None,
        };
        let documents = documents.map(|raw| value("documents", raw)).transpose()?;
        let mut kwargs = match kwargs.map(|raw| (raw, value("chat_template_kwargs", raw))) {
            None => Map::new(),
            Some((_, Ok(Value::Object(kwargs)))) => kwargs,
            Some((raw, Ok(_))) => return Err(wrong_type("chat_template_kwargs", "an object", raw)),
            Some((_, Err(error))) => return Err(error),
        };
        if let Some(effort) = reasoning_effort {
            let effort = value("reasoning_effort", effort)?;
            if !kwargs.contains_key("enable_thinking") {
                kwargs.insert("enable_thinking".to_owned(), json!(effort != "none"));
            }
            kwargs.insert("reasoning_effort".to_owned(), effort);
        }
        let flag = |field, raw: Option<_>, default| raw.map_or(Ok(default), |raw| boolean(field, raw));

        let format = template.content_format(tools.is_some());
        let mut cut = false;
        let messages = messages
            .into_iter()
            .enumerate()
            .map(|(position, given)| message::normalise(position, given, format, &mut cut))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            messages,
            tools,
            documents,
            add_generation_prompt: flag("add_generation_prompt", add_generation_prompt, true)?,
            continue_final_message: flag("continue_final_message", continue_final_message, false)?,
            kwargs,
            cut,
            add_special_tokens: flag("add_special_tokens", add_special_tokens, false)?,
            keep: Keep::parse(truncate, side)?,
        })
    }
}

/// The error of a value of another type at `field`.
fn wrong(field: String, expected: &'static str, got: &Value) -> BodyError {
    BodyError::WrongType { field, expected, got: kind_of_value(got) }
}

#[cfg(test)]
mod tests;
