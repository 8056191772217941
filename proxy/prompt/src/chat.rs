//! A chat body as the engine shows it to the template: vLLM's request normalisation.

use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::body::{Body, Field, Raw, kind_of_value};
use crate::error::BodyError;
use crate::prompt::Keep;
use crate::template::{ContentFormat, Template};

mod anthropic;
mod content;
mod message;
mod responses;
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
    /// Of a body of an API that sends messages.
    pub(crate) fn parse(body: &Body, template: &Template) -> Result<Self, BodyError> {
        if body.get(Field::ChatTemplate).is_some() {
            // Engines refuse a client's template unless told to trust it.
            return Err(unknown("the request brings its own template"));
        }
        let given = match body.api() {
            Api::Responses => responses::read(body)?,
            Api::Messages => anthropic::read(body)?,
            _ => Given::read(body)?,
        };
        if given.messages.is_empty() {
            return Err(BodyError::EmptyArray { field: given.field.to_owned() });
        }
        let tools = given.tools.map(tools::normalise).transpose()?;
        let kwargs = match body.get(Field::ChatTemplateKwargs) {
            None => Map::new(),
            Some(raw) => match raw.value()? {
                Value::Object(kwargs) => kwargs,
                _ => return Err(raw.wrong_type("an object")),
            },
        };
        let flag = |field, default| body.get(field).map_or(Ok(default), Raw::boolean);

        let format = template.content_format(tools.is_some());
        let mut cut = false;
        let messages = given
            .messages
            .into_iter()
            .enumerate()
            .map(|(position, given)| message::normalise(position, given, format, &mut cut))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            messages,
            tools,
            documents: body.get(Field::Documents).map(Raw::value).transpose()?,
            add_generation_prompt: flag(Field::AddGenerationPrompt, true)?,
            continue_final_message: flag(Field::ContinueFinalMessage, false)?,
            kwargs: with_effort(kwargs, body)?,
            cut,
            add_special_tokens: flag(Field::AddSpecialTokens, false)?,
            keep: Keep::parse(body)?,
        })
    }
}

/// Messages and tools in the form of chat completions.
struct Given {
    /// What the client calls the messages.
    field: &'static str,
    messages: Vec<Value>,
    tools: Option<Value>,
}

impl Given {
    fn read(body: &Body) -> Result<Self, BodyError> {
        let missing = || BodyError::Missing { field: "messages".to_owned() };
        let messages = body.get(Field::Messages).ok_or_else(missing)?;
        let Value::Array(messages) = messages.value()? else {
            return Err(body
                .get(Field::Messages)
                .map_or_else(missing, |raw| raw.wrong_type("an array of objects")));
        };
        let tools = body.get(Field::Tools).map(Raw::value).transpose()?;
        Ok(Self { field: "messages", messages, tools })
    }
}

/// `reasoning_effort` as the engine passes it to the template.
fn with_effort(mut kwargs: Map<String, Value>, body: &Body) -> Result<Map<String, Value>, BodyError> {
    if let Some(effort) = body.get(Field::ReasoningEffort) {
        let effort = effort.value()?;
        if !kwargs.contains_key("enable_thinking") {
            kwargs.insert("enable_thinking".to_owned(), json!(effort != "none"));
        }
        kwargs.insert("reasoning_effort".to_owned(), effort);
    }
    Ok(kwargs)
}

/// A message that comes after others, normalised as in [`Request::parse`]. `None` if it is not one that is known to its end.
pub(crate) fn later_message(position: usize, raw: &[u8], format: ContentFormat) -> Option<Value> {
    // Within its list, so that the parser's bound of depth is the same.
    let list = [b"[", raw, b"]"].concat();
    let message = serde_json::from_slice::<Vec<Value>>(&list).ok()?.pop()?;
    let mut cut = false;
    let message = message::normalise(position, message, format, &mut cut).ok()?;
    (!cut).then_some(message)
}

/// The error of a request whose prompt only the engine can know.
fn unknown(message: &str) -> BodyError {
    BodyError::Template { message: message.to_owned() }
}

/// The error of a value of another type at `field`.
fn wrong(field: String, expected: &'static str, got: &Value) -> BodyError {
    BodyError::WrongType { field, expected, got: kind_of_value(got) }
}

#[cfg(test)]
mod tests;
