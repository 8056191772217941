//! One value of a body, and the types it may be asked to have.

use std::borrow::Cow;

use serde::Deserialize;

use super::cursor::Cursor;
use super::without_position;
use crate::error::BodyError;

/// A value as the client wrote it: valid JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    /// Where it stands, for errors.
    name: &'a str,
    bytes: &'a [u8],
}

impl<'a> Raw<'a> {
    /// `bytes` must be one JSON value without white space around it.
    pub(crate) fn new(name: &'a str, bytes: &'a [u8]) -> Self {
        Self { name, bytes }
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn is_string(self) -> bool {
        self.bytes.first() == Some(&b'"')
    }

    pub(crate) fn is_array(self) -> bool {
        self.bytes.first() == Some(&b'[')
    }

    pub(crate) fn is_empty_array(self) -> bool {
        self.first_inside() == Some(b']')
    }

    /// What an array's first element begins with, or the bracket that closes it; none for anything else.
    pub(crate) fn first_inside(self) -> Option<u8> {
        self.bytes.strip_prefix(b"[")?.trim_ascii_start().first().copied()
    }

    /// A string's text.
    pub(crate) fn string(self) -> Result<Cow<'a, str>, BodyError> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        if !self.is_string() {
            return Err(self.wrong_type("a string"));
        }
        match serde_json::from_slice::<Text<'a>>(self.bytes) {
            Ok(Text(text)) => Ok(text),
            Err(_) => Err(self.invalid("not a valid unicode string".to_owned())),
        }
    }

    pub(crate) fn boolean(self) -> Result<bool, BodyError> {
        match self.bytes {
            b"true" => Ok(true),
            b"false" => Ok(false),
            _ => Err(self.wrong_type("a boolean")),
        }
    }

    /// An integer; a decimal that is whole will do, as it does for the engines. Saturates at the ends of i64.
    pub(crate) fn integer(self) -> Result<i64, BodyError> {
        if let Ok(number) = serde_json::from_slice::<i64>(self.bytes) {
            return Ok(number);
        }
        match serde_json::from_slice::<f64>(self.bytes) {
            // `as` saturates.
            Ok(number) if number.fract() == 0.0 => Ok(number as i64),
            _ => Err(self.wrong_type("an integer")),
        }
    }

    /// Parsed whole. Depth is bounded by the parser (127).
    pub(crate) fn value(self) -> Result<serde_json::Value, BodyError> {
        let value = self.parse()?;
        if has_long_number(&value) {
            // As an integer Python would print all its digits, as a decimal it would not: here they look the same.
            let message = format!("{}: a number that may be an integer of more than 64 bits", self.name);
            return Err(BodyError::Template { message });
        }
        Ok(value)
    }

    /// Parsed into a type of its own.
    pub(crate) fn parse<T: Deserialize<'a>>(self) -> Result<T, BodyError> {
        serde_json::from_slice(self.bytes).map_err(|error| self.invalid(without_position(&error)))
    }

    /// The values of these members of an object, each a key and what errors call it; absent ones and nulls are none.
    pub(crate) fn members<const N: usize>(
        self,
        members: [(&str, &'a str); N],
    ) -> Result<[Option<Self>; N], BodyError> {
        let mut found = [None; N];
        let mut cursor = Cursor::new(self.bytes, 0);
        if !cursor.take(b'{') {
            return Err(self.wrong_type("an object"));
        }
        if cursor.take(b'}') {
            return Ok(found);
        }
        loop {
            let key = cursor.key()?;
            let bytes = cursor.value()?.of(self.bytes);
            if let Some(at) = members.iter().position(|(name, _)| *name == key) {
                found[at] = (bytes != b"null").then(|| Self::new(members[at].1, bytes));
            }
            if cursor.take(b'}') {
                return Ok(found);
            }
            cursor.expect(b',', "`,` or `}`")?;
        }
    }

    /// The error of a value of another type.
    pub(crate) fn wrong_type(self, expected: &'static str) -> BodyError {
        BodyError::WrongType { field: self.name.to_owned(), expected, got: self.kind() }
    }

    /// The error of a value that cannot be.
    pub(crate) fn invalid(self, message: String) -> BodyError {
        BodyError::Value { field: self.name.to_owned(), message }
    }

    /// The error of an array that must not be empty.
    pub(crate) fn empty_array(self) -> BodyError {
        BodyError::EmptyArray { field: self.name.to_owned() }
    }

    /// What kind of JSON value this is, with its article, for error messages.
    fn kind(self) -> &'static str {
        match self.bytes.first() {
            Some(b'"') => "a string",
            Some(b'[') => "an array",
            Some(b'{') => "an object",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ if self.bytes.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) => "a decimal",
            _ => "an integer",
        }
    }
}

/// Whether a number in it is whole and beyond 64 bits.
pub(crate) fn has_long_number(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Number(number) if number.is_f64() => {
            number.as_f64().is_some_and(|number| number.abs() >= i64::MAX as f64)
        }
        serde_json::Value::Array(items) => items.iter().any(has_long_number),
        serde_json::Value::Object(members) => members.values().any(has_long_number),
        _ => false,
    }
}

/// What kind of JSON value this is, with its article, for error messages.
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
