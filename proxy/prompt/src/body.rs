//! The top level of a body: chosen fields as spans, everything else skipped.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::BodyError;

/// The values of `names` in the object `body`, each as its own bytes. The last of duplicates wins, as in the engines' parsers; null
/// is absent.
pub(crate) fn fields<'a, const N: usize>(
    body: &'a [u8],
    names: &[&str; N],
) -> Result<[Option<&'a RawValue>; N], BodyError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let found = reader
        .deserialize_map(TopLevel { names })
        .and_then(|found| reader.end().map(|()| found))
        .map_err(|error| json_error(body, &error))?;
    Ok(found.map(|value| value.filter(|value| value.get() != "null")))
}

/// Whether the object `body` has this field at its top level, whatever its value; null is absent.
///
/// # Errors
/// A [`BodyError`] where it is no JSON object.
pub fn has_field(body: &[u8], name: &str) -> Result<bool, BodyError> {
    fields(body, &[name]).map(|[value]| value.is_some())
}

/// A parser's complaint, its line and column turned into a byte offset.
pub(crate) fn json_error(body: &[u8], error: &serde_json::Error) -> BodyError {
    let line_start: usize = body
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    let offset = (line_start + error.column().saturating_sub(1)).min(body.len());
    // The parser appends its own position, which counts differently.
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    BodyError::Json { offset, message: message.to_owned() }
}

/// What kind of JSON value this is, with its article, for error messages.
pub(crate) fn kind_of(raw: &str) -> &'static str {
    match raw.bytes().next() {
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ if raw.contains(['.', 'e', 'E']) => "a decimal",
        _ => "an integer",
    }
}

/// [`kind_of`] a parsed value.
pub(crate) fn kind_of_value(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a boolean",
        serde_json::Value::Number(number) if number.is_f64() => "a decimal",
        serde_json::Value::Number(_) => "an integer",
        serde_json::Value::String(_) => "a string",
        serde_json::Value::Array(_) => "an array",
        serde_json::Value::Object(_) => "an object",
    }
}

struct TopLevel<'n, const N: usize> {
    names: &'n [&'n str; N],
}

impl<'de, const N: usize> Visitor<'de> for TopLevel<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(position) = map.next_key_seed(Name { names: self.names })? {
            match position {
                Some(position) => found[position] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Reads a key, escapes resolved, as its position in `names`.
struct Name<'n> {
    names: &'n [&'n str],
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.names.iter().position(|name| *name == key))
    }
}

/// A string field's text.
pub(crate) fn string<'a>(field: &str, raw: &'a RawValue) -> Result<Cow<'a, str>, BodyError> {
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    if !raw.get().starts_with('"') {
        return Err(wrong_type(field, "a string", raw));
    }
    match serde_json::from_str::<Text<'a>>(raw.get()) {
        Ok(Text(text)) => Ok(text),
        Err(_) => Err(BodyError::Value {
            field: field.to_owned(),
            message: "not a valid unicode string".to_owned(),
        }),
    }
}

/// A boolean field.
pub(crate) fn boolean(field: &str, raw: &RawValue) -> Result<bool, BodyError> {
    match raw.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(wrong_type(field, "a boolean", raw)),
    }
}

/// An integer field; a decimal that is whole will do, as it does for the engines. Saturates at the ends of i64.
pub(crate) fn integer(field: &str, raw: &RawValue) -> Result<i64, BodyError> {
    let text = raw.get();
    if let Ok(number) = text.parse::<i64>() {
        return Ok(number);
    }
    match serde_json::from_str::<f64>(text) {
        // `as` saturates.
        Ok(number) if number.fract() == 0.0 => Ok(number as i64),
        _ => Err(wrong_type(field, "an integer", raw)),
    }
}

/// The error of a field of another type.
pub(crate) fn wrong_type(field: &str, expected: &'static str, raw: &RawValue) -> BodyError {
    BodyError::WrongType { field: field.to_owned(), expected, got: kind_of(raw.get()) }
}

/// A field parsed whole. Depth is bounded by the parser (127).
pub(crate) fn value(field: &str, raw: &RawValue) -> Result<serde_json::Value, BodyError> {
    serde_json::from_str(raw.get())
        .map_err(|error| BodyError::Value { field: field.to_owned(), message: error.to_string() })
}

#[cfg(test)]
mod tests;
