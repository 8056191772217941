//! Walking through JSON value by value, from any place where a value may begin.
//!
//! Values are skipped by serde_json, which checks them whole (syntax, UTF-8); only what stands between them is read here.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::error::BodyError;

use super::json_error;

/// A range of bytes of a body. Bodies are shorter than 4 GiB ([`super::BYTES_MAX`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Whether it is nothing: no value is empty.
    pub(crate) fn is_absent(self) -> bool {
        self.end == self.start
    }

    /// Cannot truncate: bodies are measured before they are read.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The place that was read up to.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is not white space, without taking it.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    /// Takes `byte` if it comes next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, byte: u8, expected: &str) -> Result<(), BodyError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(expected)) }
    }

    /// The error of something else in this place.
    pub(super) fn error(&mut self, expected: &str) -> BodyError {
        let message = match self.peek() {
            None => format!("expected {expected}, found the end"),
            Some(_) => format!("expected {expected}"),
        };
        BodyError::Json { offset: self.at, message }
    }

    /// One value, checked and skipped.
    pub(super) fn value(&mut self) -> Result<Span, BodyError> {
        self.peek();
        let start = self.at;
        let mut values = serde_json::Deserializer::from_slice(&self.bytes[start..]).into_iter::<&RawValue>();
        match values.next() {
            Some(Ok(_)) => {
                self.at = start + values.byte_offset();
                Ok(Span::new(start, self.at))
            }
            Some(Err(error)) => Err(json_error(self.bytes, start, &error)),
            None => Err(self.error("a value")),
        }
    }

    /// A key of an object, escapes resolved, and the colon behind it.
    pub(super) fn key(&mut self) -> Result<Cow<'a, str>, BodyError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("a key"));
        }
        let bytes = self.bytes;
        let inside = &bytes[self.at + 1..];
        let plain = inside.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        let key = match plain {
            Some(end) if inside[end] == b'"' => {
                let key = std::str::from_utf8(&inside[..end]).map_err(|_| BodyError::Json {
                    offset: self.at,
                    message: "a key is not UTF-8".to_owned(),
                })?;
                self.at += end + 2;
                Cow::Borrowed(key)
            }
            _ => {
                let start = self.at;
                let mut keys = serde_json::Deserializer::from_slice(&bytes[start..]).into_iter::<String>();
                match keys.next() {
                    Some(Ok(key)) => {
                        self.at = start + keys.byte_offset();
                        Cow::Owned(key)
                    }
                    Some(Err(error)) => return Err(json_error(bytes, start, &error)),
                    None => return Err(self.error("a key")),
                }
            }
        };
        self.expect(b':', "`:`")?;
        Ok(key)
    }
}
