//! Fields added to a JSON body without copying or parsing it.
//!
//! A field goes to the END of the object, in place of the closing brace. The engines' parsers take the last of duplicate keys, so
//! a client's own field of that name, however its key is escaped, never wins, and nothing has to be searched.

use bytes::{BufMut, Bytes, BytesMut};

/// A body in two frames, to be sent one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spliced {
    /// The client's bytes up to the closing brace: a slice of the original, not a copy.
    pub head: Bytes,
    /// The added fields and the closing brace.
    pub tail: Bytes,
}

impl Spliced {
    /// Bytes in both frames: the new content length.
    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Never true: there is always a closing brace.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Both frames as one buffer, which copies.
    pub fn to_bytes(&self) -> Bytes {
        let mut joined = BytesMut::with_capacity(self.len());
        joined.put_slice(&self.head);
        joined.put_slice(&self.tail);
        joined.freeze()
    }
}

/// The body is not a JSON object: it does not begin with `{` and end with `}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("body is not a JSON object")]
pub struct NotAnObject;

/// Adds one field to `body`, which must be a valid JSON object (only its ends are looked at). `value_json` must be valid JSON.
///
/// # Errors
/// [`NotAnObject`] if the ends of `body` are not braces.
pub fn append(body: &Bytes, key: &str, value_json: &str) -> Result<Spliced, NotAnObject> {
    append_all(body, &[(key, value_json)])
}

/// [`append`] for several fields, in order; with none the body is unchanged but for what follows its closing brace.
///
/// # Errors
/// [`NotAnObject`] if the ends of `body` are not braces.
pub fn append_all(body: &Bytes, fields: &[(&str, &str)]) -> Result<Spliced, NotAnObject> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let start = body.iter().position(|byte| !is_space(byte)).ok_or(NotAnObject)?;
    let end = body.iter().rposition(|byte| !is_space(byte)).ok_or(NotAnObject)?;
    if end <= start || body[start] != b'{' || body[end] != b'}' {
        return Err(NotAnObject);
    }
    let empty = body[start + 1..end].iter().all(is_space);
    let length: usize = fields.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
    let mut tail = BytesMut::with_capacity(length + 1);
    for (position, (key, value)) in fields.iter().enumerate() {
        if position > 0 || !empty {
            tail.put_u8(b',');
        }
        put_string(&mut tail, key);
        tail.put_u8(b':');
        tail.put_slice(value.as_bytes());
    }
    tail.put_u8(b'}');
    Ok(Spliced { head: body.slice(..end), tail: tail.freeze() })
}

/// `text` as a JSON string.
fn put_string(out: &mut BytesMut, text: &str) {
    out.put_u8(b'"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.put_u8(b'\\');
                out.put_u8(character as u8);
            }
            '\0'..='\u{1f}' => out.put_slice(format!("\\u{:04x}", character as u32).as_bytes()),
            _ => out.put_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests;
