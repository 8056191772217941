//! Chat templates, rendered as transformers renders them with Python's jinja2.

use minijinja::{Environment, Error, ErrorKind, Value};
use serde_json::json;

use crate::cuts::Cuts;
use crate::dialect::Dialect;
use crate::error::{BodyError, LoadError};
use crate::files::Config;

mod content_format;
mod conversation;
mod depth;
mod framing;
mod generation;
mod probe;
mod python_json;
mod python_text;
mod python_values;

pub(crate) use content_format::ContentFormat;
pub(crate) use conversation::{CUT, Conversation};
pub(crate) use framing::{Framing, Plain};
pub(crate) use probe::Probed;

/// The template that transformers prefers for a request with tools.
const WITH_TOOLS: &str = "tool_use";
const DEFAULT: &str = "default";

pub(crate) struct Template {
    environment: Environment<'static>,
    default: Option<Kind>,
    with_tools: Option<Kind>,
    special_tokens: Vec<(String, Value)>,
    probed: Probed,
}

/// What is known of one template.
struct Kind {
    format: ContentFormat,
    /// In SGLang's eyes.
    format_in_sglang: ContentFormat,
    /// Whether SGLang may put what tools answered in the order of their calls.
    orders_tool_results: bool,
    /// Or why there is none.
    framing: Result<Framing, String>,
}

/// A rendered prompt.
pub(crate) struct Rendered {
    pub(crate) text: String,
    /// Only its beginning is known.
    pub(crate) truncated: bool,
}

impl Template {
    /// `cuts`: where the tokenizer's texts may be cut.
    pub(crate) fn new(config: Config, cuts: Option<&Cuts>) -> Result<Self, LoadError> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        python_values::install(&mut environment);
        python_json::install(&mut environment);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", strftime_now);

        let mut default = None;
        let mut with_tools = None;
        let mut sources = Vec::new();
        for (name, source) in config.templates {
            let kind = match name.as_str() {
                DEFAULT => &mut default,
                WITH_TOOLS => &mut with_tools,
                _ => continue,
            };
            depth::check(&source).map_err(LoadError::Template)?;
            let format = ContentFormat::detect(&source);
            let format_in_sglang = ContentFormat::detect_as_sglang(&source);
            let orders_tool_results = source.contains("tool_call_id");
            let source = generation::strip(&source);
            let framing = match (cuts, format) {
                (None, _) => Err("the tokenizer's texts must not be cut".to_owned()),
                (Some(_), ContentFormat::Parts) => Err("the template takes contents in parts".to_owned()),
                (Some(cuts), ContentFormat::Text) => Framing::of(&source, cuts),
            };
            *kind = Some(Kind { format, format_in_sglang, orders_tool_results, framing });
            environment
                .add_template_owned(name, source.clone())
                .map_err(|error| LoadError::Template(format!("{error:#}")))?;
            sources.push(source);
        }
        let special_tokens = config
            .special_tokens
            .into_iter()
            .map(|(name, value)| (name, Value::from_serialize(value)))
            .collect();
        let mut template =
            Self { environment, default, with_tools, special_tokens, probed: Probed::default() };
        template.probed = Probed::of(&template, &sources);
        template.try_framings();
        Ok(template)
    }

    /// Drops framings that do not hold when they are tried.
    fn try_framings(&mut self) {
        let tools =
            json!([{"type": "function", "function": {"name": "f", "description": null, "parameters": null}}]);
        let tried = |kind: &Option<Kind>, tools: &[Option<&serde_json::Value>]| {
            let framing = kind.as_ref().and_then(|kind| kind.framing.as_ref().ok())?;
            tools.iter().find_map(|tools| framing::trial::disagreement(framing, self, *tools))
        };
        let of_default = tried(&self.default, &[None, Some(&tools)]);
        let of_tools = tried(&self.with_tools, &[Some(&tools)]);
        for (kind, disagreement) in [(&mut self.default, of_default), (&mut self.with_tools, of_tools)] {
            if let (Some(kind), Some(messages)) = (kind, disagreement) {
                tracing::warn!(
                    messages,
                    "a chat template does what its syntax does not show; chats are rendered whole"
                );
                kind.framing = Err("the template does otherwise than was proven of it".to_owned());
            }
        }
    }

    /// What an engine finds out about it by trying.
    pub(crate) fn probed(&self) -> Probed {
        self.probed
    }

    /// The form in which the template for such a request wants contents.
    pub(crate) fn content_format(&self, dialect: Dialect, tools: bool) -> ContentFormat {
        self.kind(tools).map_or(ContentFormat::Text, |kind| match dialect {
            Dialect::Vllm => kind.format,
            Dialect::Sglang => kind.format_in_sglang,
        })
    }

    /// Whether there is another one for requests with tools.
    pub(crate) fn is_double(&self) -> bool {
        self.with_tools.is_some()
    }

    /// Whether SGLang may put what tools answered in the order of their calls.
    pub(crate) fn orders_tool_results(&self) -> bool {
        [&self.default, &self.with_tools].into_iter().flatten().any(|kind| kind.orders_tool_results)
    }

    /// What a plain message adds at the end, if that is known of the template for such a request.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn framing(&self, tools: bool) -> Result<&Framing, &str> {
        match self.kind(tools) {
            Some(kind) => kind.framing.as_ref().map_err(String::as_str),
            None => Err("the tokenizer has no chat template"),
        }
    }

    fn kind(&self, tools: bool) -> Option<&Kind> {
        self.with_tools.as_ref().filter(|_| tools).or(self.default.as_ref())
    }

    /// What the template prints behind the messages of conversations with these settings. It is the same behind all of those that
    /// `framing` speaks of, so it is taken from one that is short: of two messages, as frames are not made for the first.
    pub(crate) fn ending(&self, framing: &Framing, settings: &Conversation) -> Option<String> {
        let message = Plain::of("user", CUT)?;
        let conversation = Conversation {
            messages: ["a", CUT].map(|content| json!({"role": "user", "content": content})).into(),
            tools: settings.tools.clone(),
            documents: settings.documents.clone(),
            add_generation_prompt: settings.add_generation_prompt,
            kwargs: settings.kwargs.clone(),
            ..Conversation::default()
        };
        let mut framed = String::new();
        if !framing.may_end(Some(message)) || !framing.push(&mut framed, message) {
            return None;
        }
        let text = self.render(&conversation).ok()?.text;
        text.rsplit_once(&framed).map(|(_, ending)| ending.to_owned())
    }

    pub(crate) fn render(&self, request: &Conversation) -> Result<Rendered, BodyError> {
        let name = if request.tools.is_some() && self.with_tools.is_some() { WITH_TOOLS } else { DEFAULT };
        let template =
            self.environment.get_template(name).map_err(|_| refused("the tokenizer has no chat template"))?;
        if request.continue_final_message && request.add_generation_prompt {
            return Err(refused("continue_final_message and add_generation_prompt exclude each other"));
        }
        // What follows a cut is not used, so there is nothing to continue.
        let continued = request.continue_final_message && !request.cut;
        let (messages, last_text);
        let shown = if continued {
            (messages, last_text) = with_tag(&request.messages)?;
            &messages
        } else {
            last_text = String::new();
            &request.messages
        };
        // Later names win, as in transformers: its own arguments cannot be overridden.
        let context: Value = self
            .special_tokens
            .iter()
            .cloned()
            .chain(request.kwargs.iter().map(|(name, value)| (name.clone(), Value::from_serialize(value))))
            .chain([
                ("messages".to_owned(), Value::from_serialize(shown)),
                // None, not undefined: transformers always passes them.
                ("tools".to_owned(), Value::from_serialize(&request.tools)),
                ("documents".to_owned(), Value::from_serialize(&request.documents)),
                ("add_generation_prompt".to_owned(), request.add_generation_prompt.into()),
            ])
            .collect();
        let mut text = template.render(context).map_err(|error| refused(&message(&error)))?;
        if request.cut {
            let known = text.find(CUT).unwrap_or(0);
            text.truncate(known);
        } else if continued {
            text = cut_at_tag(text, &last_text)?;
        }
        Ok(Rendered { text, truncated: request.cut || request.goes_on })
    }
}

/// What transformers puts after the final message to find its end in the rendered text.
const TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// `messages` with [`TAG`] at the end of the last text, and that text.
fn with_tag(messages: &[serde_json::Value]) -> Result<(Vec<serde_json::Value>, String), BodyError> {
    let mut messages = messages.to_vec();
    let content = messages.last_mut().and_then(|last| last.get_mut("content"));
    let text = match content {
        Some(text @ serde_json::Value::String(_)) => Some(text),
        Some(serde_json::Value::Array(parts)) => parts.iter_mut().rev().find_map(|part| part.get_mut("text")),
        _ => None,
    };
    let Some(serde_json::Value::String(text)) = text else {
        return Err(refused("continue_final_message is set but the final message has no text"));
    };
    let last = text.clone();
    text.push_str(TAG);
    Ok((messages, last))
}

/// The rendered text up to [`TAG`]; without trailing space if the template trims messages.
fn cut_at_tag(mut text: String, last: &str) -> Result<String, BodyError> {
    let tag = TAG.trim_end();
    let at = text.rfind(tag).filter(|_| text.contains(python_text::strip(last)));
    let Some(at) = at else {
        return Err(refused(
            "continue_final_message is set but the final message is not in the rendered chat",
        ));
    };
    let preserved = text[at..].starts_with(TAG);
    text.truncate(at);
    if !preserved {
        text.truncate(python_text::rstrip(&text).len());
    }
    Ok(text)
}

fn strftime_now(format: String) -> Result<String, Error> {
    jiff::fmt::strtime::format(format.as_bytes(), &jiff::Zoned::now())
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {error}")))
}

fn refused(message: &str) -> BodyError {
    BodyError::Template { message: message.to_owned() }
}

/// The template's own words if it raised an exception, else the engine's.
fn message(error: &Error) -> String {
    match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
