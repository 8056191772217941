//! A chat body as the engine shows it to the template: vLLM's request normalisation, and SGLang's in [`sglang`].

use serde_json::{Map, Value, json};

use self::calls::CallOrder;
use crate::api::Api;
use crate::body::{Body, Field, Raw, has_long_number, kind_of_value};
use crate::dialect::Dialect;
use crate::error::BodyError;
use crate::ids::Keep;
use crate::template::{CUT, ContentFormat, Conversation, Template};

mod anthropic;
mod calls;
mod content;
mod message;
mod plain;
mod responses;
pub(crate) mod sglang;
mod tools;

pub(crate) use plain::PlainMessage;

/// What a body asks the template for, and the tokenizer.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) conversation: Conversation,
    pub(crate) add_special_tokens: bool,
    pub(crate) keep: Keep,
}

impl Request {
    /// Of a body of an API that sends messages.
    pub(crate) fn parse(body: &Body, template: &Template) -> Result<Self, BodyError> {
        if body.get(Field::ChatTemplate).is_some() && body.dialect() == Dialect::Vllm {
            // Engines refuse a client's template unless told to trust it.
            return Err(unknown("the request brings its own template"));
        }
        let given = match body.api() {
            Api::Responses => responses::read(body)?,
            Api::Messages => anthropic::read(body, template.probed())?,
            _ => Given::chat(body)?,
        };
        if given.messages.is_empty() {
            return Err(BodyError::EmptyArray { field: given.field.to_owned() });
        }
        if body.dialect() == Dialect::Sglang {
            return sglang::request(body, given, template);
        }
        let tools = given.tools.map(tools::normalise).transpose()?;
        let kwargs = template_arguments(body)?;
        let format = template.content_format(Dialect::Vllm, tools.is_some());
        let mut cut = false;
        let messages = given
            .messages
            .into_iter()
            .enumerate()
            .map(|(position, message)| message::normalise(position, message, format, given.order, &mut cut))
            .collect::<Result<_, _>>()?;
        let Settings { documents, effort, add_generation_prompt, continue_final_message, .. } =
            given.settings;
        Ok(Self {
            conversation: Conversation {
                messages,
                tools,
                documents,
                add_generation_prompt,
                continue_final_message,
                kwargs: with_effort(kwargs, effort),
                cut,
                ..Conversation::default()
            },
            add_special_tokens: given.settings.add_special_tokens,
            keep: given.settings.keep,
        })
    }
}

/// A request in the form of chat completions.
struct Given {
    /// What the client calls the messages.
    field: &'static str,
    messages: Vec<Value>,
    tools: Option<Value>,
    order: CallOrder,
    settings: Settings,
}

struct Settings {
    documents: Option<Value>,
    /// `reasoning_effort`.
    effort: Option<Value>,
    add_generation_prompt: bool,
    continue_final_message: bool,
    add_special_tokens: bool,
    keep: Keep,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            documents: None,
            effort: None,
            add_generation_prompt: true,
            continue_final_message: false,
            add_special_tokens: false,
            keep: Keep::All,
        }
    }
}

impl Given {
    fn chat(body: &Body) -> Result<Self, BodyError> {
        let flag = |field, default| body.get(field).map_or(Ok(default), Raw::boolean);
        let value = |field| body.get(field).map(Raw::value).transpose();
        Ok(Self {
            field: "messages",
            messages: list_of_messages(body)?,
            tools: value(Field::Tools)?,
            order: CallOrder::Pydantic,
            settings: Settings {
                documents: value(Field::Documents)?,
                effort: value(Field::ReasoningEffort)?,
                add_generation_prompt: flag(Field::AddGenerationPrompt, true)?,
                continue_final_message: flag(Field::ContinueFinalMessage, false)?,
                add_special_tokens: flag(Field::AddSpecialTokens, false)?,
                keep: Keep::parse(body)?,
            },
        })
    }
}

/// `chat_template_kwargs`.
fn template_arguments(body: &Body) -> Result<Map<String, Value>, BodyError> {
    let Some(raw) = body.get(Field::ChatTemplateKwargs) else { return Ok(Map::new()) };
    match raw.value()? {
        Value::Object(kwargs) => Ok(kwargs),
        _ => Err(raw.wrong_type("an object")),
    }
}

fn list_of_messages(body: &Body) -> Result<Vec<Value>, BodyError> {
    let Some(raw) = body.get(Field::Messages) else {
        return Err(BodyError::Missing { field: "messages".to_owned() });
    };
    match raw.value()? {
        Value::Array(messages) => Ok(messages),
        _ => Err(raw.wrong_type("an array of objects")),
    }
}

/// `reasoning_effort` as the engine passes it to the template.
fn with_effort(mut kwargs: Map<String, Value>, effort: Option<Value>) -> Map<String, Value> {
    if let Some(effort) = effort {
        if !kwargs.contains_key("enable_thinking") {
            kwargs.insert("enable_thinking".to_owned(), json!(effort != "none"));
        }
        kwargs.insert("reasoning_effort".to_owned(), effort);
    }
    kwargs
}

/// A message that comes after others, normalised as in [`Request::parse`]. `None` if it is not one that is known to its end.
pub(crate) fn later_message(
    dialect: Dialect,
    position: usize,
    raw: &[u8],
    format: ContentFormat,
) -> Option<Value> {
    // Within its list, so that the parser's bound of depth is the same.
    let list = [b"[", raw, b"]"].concat();
    let message = serde_json::from_slice::<Vec<Value>>(&list).ok()?.pop()?;
    if has_long_number(&message) {
        return None;
    }
    let mut cut = false;
    let message = match dialect {
        Dialect::Vllm => message::normalise(position, message, format, CallOrder::Pydantic, &mut cut),
        Dialect::Sglang => sglang::message_of(position, message, format, &mut cut),
    };
    message.ok().filter(|_| !cut)
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
