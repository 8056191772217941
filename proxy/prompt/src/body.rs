//! One pass over a body: where its known fields are, everything else checked and skipped.

use std::fmt;

use bytes::Bytes;

use crate::api::Api;
use crate::dialect::Dialect;
use crate::error::BodyError;

mod beginning;
mod cursor;
mod field;
mod raw;

pub use beginning::Beginning;
pub(crate) use beginning::{Known, Mark, STRETCH};
use cursor::Cursor;
pub(crate) use cursor::Span;
pub(crate) use field::Field;
pub(crate) use raw::{Raw, has_long_number, kind_of_value};

/// A request body whose JSON has been checked, with the places of its fields. Cheap to clone: it shares the bytes.
#[derive(Clone)]
pub struct Body {
    api: Api,
    dialect: Dialect,
    bytes: Bytes,
    fields: [Span; Field::COUNT],
    list: Option<List>,
    /// The names of its beginnings ([`Beginning`]); empty without a cache.
    chain: Vec<u128>,
}

/// The elements of `messages`, one by one.
#[derive(Clone, Debug)]
struct List {
    /// Where its bracket is.
    start: usize,
    /// Elements before the first of `elements`, known from an earlier body with the same beginning.
    known: usize,
    /// The name of the body up to there.
    known_by: Option<u128>,
    elements: Vec<Span>,
}

/// Spans are 32 bits wide.
const BYTES_MAX: usize = u32::MAX as usize;

impl Body {
    /// Reads a body of `api`.
    ///
    /// # Errors
    /// [`BodyError::Json`].
    pub fn read(api: Api, bytes: Bytes) -> Result<Self, BodyError> {
        Self::read_from(api, bytes, Beginning::default())
    }

    /// Reads a body of `api` but for the beginning that a cache has recognised in the same bytes.
    ///
    /// # Errors
    /// [`BodyError::Json`].
    pub fn read_from(api: Api, bytes: Bytes, beginning: Beginning) -> Result<Self, BodyError> {
        if bytes.len() > BYTES_MAX {
            return Err(BodyError::Json { offset: BYTES_MAX, message: "the body is too long".to_owned() });
        }
        let Beginning { chain, mark } = beginning;
        let mut body = Self {
            api,
            dialect: Dialect::default(),
            bytes,
            fields: [Span::default(); Field::COUNT],
            list: None,
            chain,
        };
        if let Some((mark, name)) = mark
            && body.go_on(&mark, name).is_ok()
        {
            return Ok(body);
        }
        body.read_whole()?;
        Ok(body)
    }

    /// Forgets what was known before and reads the beginning too.
    pub(crate) fn read_whole(&mut self) -> Result<(), BodyError> {
        self.fields = [Span::default(); Field::COUNT];
        self.list = None;
        let bytes = self.bytes.clone();
        let mut cursor = Cursor::new(&bytes, 0);
        cursor.expect(b'{', "an object")?;
        if !cursor.take(b'}') {
            self.read_members(&mut cursor)?;
        }
        ended(&mut cursor)
    }

    /// Reads what follows `mark`. An error may also mean that the mark does not serve for this body.
    fn go_on(&mut self, mark: &Mark, name: u128) -> Result<(), BodyError> {
        for (field, span) in &mark.fields {
            self.fields[*field as usize] = *span;
        }
        let bytes = self.bytes.clone();
        let mut cursor = Cursor::new(&bytes, mark.offset);
        let mut list =
            List { start: mark.start, known: mark.messages, known_by: Some(name), elements: Vec::new() };
        while !cursor.take(b']') {
            cursor.expect(b',', "`,` or `]`")?;
            list.elements.push(cursor.value()?);
        }
        self.set(Field::Messages, Span::new(mark.start, cursor.at()));
        self.list = Some(list);
        if !cursor.take(b'}') {
            cursor.expect(b',', "`,` or `}`")?;
            self.read_members(&mut cursor)?;
        }
        ended(&mut cursor)?;
        // A second `messages` further on replaces those that the mark stands for.
        if self.list.is_some() { Ok(()) } else { Err(cursor.error("no other messages")) }
    }

    /// Members of the top level, up to its closing brace.
    fn read_members(&mut self, cursor: &mut Cursor<'_>) -> Result<(), BodyError> {
        loop {
            let key = cursor.key()?;
            match Field::named(&key) {
                Some(Field::Messages) => self.read_messages(cursor)?,
                Some(field) => {
                    let span = cursor.value()?;
                    self.set(field, span);
                }
                None => {
                    cursor.value()?;
                }
            }
            if cursor.take(b'}') {
                return Ok(());
            }
            cursor.expect(b',', "`,` or `}`")?;
        }
    }

    fn read_messages(&mut self, cursor: &mut Cursor<'_>) -> Result<(), BodyError> {
        let again = !self.fields[Field::Messages as usize].is_absent();
        self.list = None;
        if again || self.chain.is_empty() || cursor.peek() != Some(b'[') {
            let span = cursor.value()?;
            self.set(Field::Messages, span);
            return Ok(());
        }
        let start = cursor.at();
        cursor.take(b'[');
        let mut elements = Vec::new();
        if !cursor.take(b']') {
            loop {
                elements.push(cursor.value()?);
                if cursor.take(b']') {
                    break;
                }
                cursor.expect(b',', "`,` or `]`")?;
            }
        }
        self.set(Field::Messages, Span::new(start, cursor.at()));
        self.list = Some(List { start, known: 0, known_by: None, elements });
        Ok(())
    }

    /// The last of duplicates wins, as in the engines' parsers; null is absent.
    fn set(&mut self, field: Field, span: Span) {
        self.fields[field as usize] = if span.of(&self.bytes) == b"null" { Span::default() } else { span };
    }

    /// The API it was sent to.
    pub fn api(&self) -> Api {
        self.api
    }

    /// The same for an engine that reads chats in this way.
    pub fn for_engine(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// How the engine that it goes to reads chats.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The client's bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many of its bytes no earlier body had: what reading its prompt costs depends on them.
    pub fn new_bytes(&self) -> usize {
        let known = self.list.as_ref().filter(|list| list.known > 0);
        let messages_end = self.fields[Field::Messages as usize].end();
        let new = |list: &List| list.elements.first().map_or(messages_end, |next| next.start());
        self.bytes.len() - known.map_or(0, new)
    }

    /// A field's value, if there.
    pub(crate) fn get(&self, field: Field) -> Option<Raw<'_>> {
        let span = self.fields[field as usize];
        (!span.is_absent()).then(|| Raw::new(field.name(), span.of(&self.bytes)))
    }

    /// Whether messages were known before it was read, and which.
    pub(crate) fn known(&self) -> Option<Known> {
        let list = self.list.as_ref()?;
        Some(Known { count: list.known, chain: list.known_by? })
    }

    /// The messages that are not known already, each with its place among all.
    pub(crate) fn new_messages(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let list = self.list.as_ref();
        let known = list.map_or(0, |list| list.known);
        let elements = list.map_or(&[][..], |list| &list.elements);
        elements.iter().enumerate().map(move |(at, span)| (known + at, span.of(&self.bytes)))
    }

    /// The names of its beginnings after each whole stretch; empty without a cache.
    pub(crate) fn chain(&self) -> &[u128] {
        &self.chain
    }

    /// Where a later body could go on, as the messages up to there and the offset: for each stretch of the body the last message that ends in it,
    /// and the first of all, which is what conversations have in common.
    pub(crate) fn message_ends(&self) -> Vec<(usize, usize)> {
        let Some(list) = &self.list else { return Vec::new() };
        let mut found: Vec<(usize, usize)> = Vec::new();
        for (at, element) in list.elements.iter().enumerate() {
            let (messages, end) = (list.known + at + 1, element.end());
            match found.last_mut() {
                Some(last) if last.0 > 1 && last.1 / STRETCH == end / STRETCH => *last = (messages, end),
                _ => found.push((messages, end)),
            }
        }
        found
    }

    /// What reading on behind so many messages takes. `None` if the last of them was not read.
    pub(crate) fn mark(&self, messages: usize) -> Option<Mark> {
        let list = self.list.as_ref()?;
        let last = list.elements.get(messages.checked_sub(list.known + 1)?)?;
        let before = |span: &Span| !span.is_absent() && span.end() <= list.start;
        let fields = Field::all().map(|field| (field, self.fields[field as usize]));
        Some(Mark {
            start: list.start,
            offset: last.end(),
            messages,
            fields: fields.filter(|(_, span)| before(span)).collect(),
        })
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("api", &self.api)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Whether the object `body` has this field at its top level, whatever its value; null is absent.
///
/// # Errors
/// A [`BodyError`] where it is no JSON object.
pub fn has_field(body: &[u8], name: &str) -> Result<bool, BodyError> {
    Raw::new("body", body.trim_ascii()).members([(name, name)]).map(|[value]| value.is_some())
}

fn ended(cursor: &mut Cursor<'_>) -> Result<(), BodyError> {
    match cursor.peek() {
        None => Ok(()),
        Some(_) => Err(cursor.error("the end")),
    }
}

/// A parser's complaint about `bytes[start..]`, its line and column turned into an offset in `bytes`.
fn json_error(bytes: &[u8], start: usize, error: &serde_json::Error) -> BodyError {
    let line_start: usize = bytes[start..]
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    let offset = (start + line_start + error.column().saturating_sub(1)).min(bytes.len());
    // The parser appends its own position, which counts differently.
    BodyError::Json { offset, message: without_position(error) }
}

/// A parser's complaint without its position, which counts from the beginning of a part.
pub(crate) fn without_position(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message).to_owned()
}

#[cfg(test)]
mod tests;
