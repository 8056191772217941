//! JSON as far as settings need it: a tenth of a general parser's size, and errors that know their path.

use std::borrow::Cow;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::error::Error;

/// How deep lists and maps may be nested.
const DEPTH_MAX: u32 = 32;
/// Largest power of ten that a float holds exactly.
const EXACT_POWER_MAX: u32 = 22;

enum Number {
    Whole(u64),
    Negative(i64),
    Fraction(f64),
}

pub(crate) struct Reader<'de> {
    text: &'de str,
    at: usize,
    depth: u32,
}

impl<'de> Reader<'de> {
    pub(crate) fn new(text: &'de str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Nothing may follow the value.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(Error::new("not JSON: something follows the value")),
        }
    }

    /// The next byte that is not white space.
    #[inline(never)]
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        match self.take(byte) {
            true => Ok(()),
            false => Err(Error::custom_expected(byte)),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Error> {
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        if !found {
            return Err(Error::new("not JSON: expected a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'de, str>, Error> {
        self.expect(b'"')?;
        let mut owned = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(stop) = rest.find(['"', '\\']) else {
                return Err(Error::new("not JSON: a string does not end"));
            };
            let plain = &rest[..stop];
            self.at += stop + 1;
            if rest.as_bytes()[stop] == b'"' {
                return Ok(match owned.is_empty() {
                    true => Cow::Borrowed(plain),
                    false => Cow::Owned(owned + plain),
                });
            }
            owned.push_str(plain);
            owned.push(self.escaped()?);
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> Result<char, Error> {
        let invalid = || Error::new("not JSON: an escape that there is not");
        let letter = *self.text.as_bytes().get(self.at).ok_or_else(invalid)?;
        self.at += 1;
        Ok(match letter {
            b'"' | b'\\' | b'/' => letter.into(),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex().ok_or_else(invalid)?;
                let code = if (0xd800..0xdc00).contains(&high) {
                    self.word("\\u")?;
                    let low = self.hex().ok_or_else(invalid)?;
                    0x1_0000 + ((high - 0xd800) << 10) + low.checked_sub(0xdc00).ok_or_else(invalid)?
                } else {
                    high
                };
                char::from_u32(code).ok_or_else(invalid)?
            }
            _ => return Err(invalid()),
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }

    fn digits(&mut self) -> &'de str {
        let rest = &self.text[self.at..];
        let count = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.at += count;
        &rest[..count]
    }

    /// A whole number as such, any other as a float: exact for up to 15 digits and exponents within 22.
    #[inline(never)]
    fn number(&mut self) -> Result<Number, Error> {
        let invalid = || Error::new("not JSON: expected a value");
        let negative = self.take(b'-');
        let whole = self.digits();
        let fraction = if self.text[self.at..].starts_with('.') {
            self.at += 1;
            Some(self.digits()).filter(|digits| !digits.is_empty()).ok_or_else(invalid)?
        } else {
            ""
        };
        let has_exponent = self.text[self.at..].starts_with(['e', 'E']);
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(invalid());
        }
        if fraction.is_empty() && !has_exponent {
            match (whole.parse::<u64>(), negative) {
                (Ok(value), false) => return Ok(Number::Whole(value)),
                (Ok(value), true) if value <= 1 << 63 => {
                    return Ok(Number::Negative((value as i64).wrapping_neg()));
                }
                _ => {}
            }
        }
        let mut exponent = -(fraction.len() as i64);
        if has_exponent {
            self.at += 1;
            let below_one = self.text[self.at..].starts_with('-');
            self.at += usize::from(below_one || self.text[self.at..].starts_with('+'));
            let digits = Some(self.digits()).filter(|digits| !digits.is_empty()).ok_or_else(invalid)?;
            let size = digits.parse::<i64>().unwrap_or(0xffff_ffff);
            exponent += if below_one { -size } else { size };
        }
        let digits = whole.bytes().chain(fraction.bytes());
        let mut value = digits.fold(0.0, |value, digit| value * 10.0 + f64::from(digit - b'0'));
        let mut left = exponent.unsigned_abs().min(800) as u32;
        while left > 0 && value != 0.0 && value.is_finite() {
            let step = left.min(EXACT_POWER_MAX);
            let power = (0..step).fold(1.0, |power, _| power * 10.0);
            value = if exponent < 0 { value / power } else { value * power };
            left -= step;
        }
        if !value.is_finite() {
            return Err(Error::new("a number too large"));
        }
        Ok(Number::Fraction(if negative { -value } else { value }))
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::new("nested too deep"));
        }
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }
}

impl Error {
    fn custom_expected(byte: u8) -> Self {
        Self::new(match byte {
            b'"' => "not JSON: expected a string",
            b':' => "not JSON: expected a colon",
            b']' => "not JSON: expected a comma or the end of the list",
            _ => "not JSON: expected a comma or the end of the map",
        })
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'{') => self.nested(|reader| {
                let value = visitor.visit_map(Items { reader, first: true, position: 0, key: "" })?;
                reader.expect(b'}').map(|()| value)
            }),
            Some(b'[') => self.nested(|reader| {
                let value = visitor.visit_seq(Items { reader, first: true, position: 0, key: "" })?;
                reader.expect(b']').map(|()| value)
            }),
            Some(b'"') => match self.string()? {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            },
            Some(b't') => self.word("true").and_then(|()| visitor.visit_bool(true)),
            Some(b'f') => self.word("false").and_then(|()| visitor.visit_bool(false)),
            Some(b'n') => self.word("null").and_then(|()| visitor.visit_unit()),
            Some(_) => match self.number()? {
                Number::Whole(value) => visitor.visit_u64(value),
                Number::Negative(value) => visitor.visit_i64(value),
                Number::Fraction(value) => visitor.visit_f64(value),
            },
            None => Err(Error::new("not JSON: it ends too early")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'n') => self.word("null").and_then(|()| visitor.visit_none()),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// By name alone; a variant with values inside is not supported.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.peek();
        match self.string()? {
            Cow::Borrowed(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
            Cow::Owned(text) => visitor.visit_enum(text.into_deserializer()),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// The items of a list, or the entries of a map.
struct Items<'reader, 'de> {
    reader: &'reader mut Reader<'de>,
    first: bool,
    position: usize,
    key: &'de str,
}

impl Items<'_, '_> {
    /// Whether another one follows, past its comma.
    fn more(&mut self, end: u8) -> Result<bool, Error> {
        let first = std::mem::replace(&mut self.first, false);
        if self.reader.peek() == Some(end) {
            return Ok(false);
        }
        if !first && !self.reader.take(b',') {
            return Err(Error::custom_expected(end));
        }
        Ok(true)
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.more(b']')? {
            return Ok(None);
        }
        let position = self.position;
        self.position += 1;
        seed.deserialize(&mut *self.reader).map(Some).map_err(|error| error.inside(&format!("[{position}]")))
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if !self.more(b'}')? {
            return Ok(None);
        }
        if self.reader.peek() != Some(b'"') {
            return Err(Error::custom_expected(b'"'));
        }
        let start = self.reader.at + 1;
        let key = seed.deserialize(&mut *self.reader)?;
        self.key = self.reader.text.get(start..self.reader.at - 1).unwrap_or_default();
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let key = self.key;
        self.reader.expect(b':')?;
        seed.deserialize(&mut *self.reader).map_err(|error| error.inside(key))
    }
}
