//! A msgpack reader over a slice that takes any header size, never reads past the end and never recurses far.

use rmp::Marker;

use crate::error::Error;

/// Deepest nesting that is skipped over.
const DEPTH_MAX: u32 = 16;

/// One msgpack value; of arrays and maps only the head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Nil,
    Bool,
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// With its number of elements.
    Array(usize),
    /// With its number of pairs.
    Map(usize),
    Extension,
}

/// Reads values one after another.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    whole: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(whole: &'a [u8]) -> Self {
        Self { whole, at: 0 }
    }

    /// The error that something else should be here.
    pub(crate) fn expected(&self, expected: &'static str) -> Error {
        Error::Msgpack { at: self.at, expected }
    }

    /// The next value.
    pub(crate) fn token(&mut self) -> Result<Token<'a>, Error> {
        let marker = Marker::from_u8(self.fixed::<1>()?[0]);
        Ok(match marker {
            Marker::Null => Token::Nil,
            Marker::True | Marker::False => Token::Bool,
            Marker::FixPos(value) => Token::Unsigned(value.into()),
            Marker::U8 => Token::Unsigned(self.fixed::<1>()?[0].into()),
            Marker::U16 => Token::Unsigned(u16::from_be_bytes(self.fixed()?).into()),
            Marker::U32 => Token::Unsigned(u32::from_be_bytes(self.fixed()?).into()),
            Marker::U64 => Token::Unsigned(u64::from_be_bytes(self.fixed()?)),
            Marker::FixNeg(value) => signed(value.into()),
            Marker::I8 => signed(i8::from_be_bytes(self.fixed()?).into()),
            Marker::I16 => signed(i16::from_be_bytes(self.fixed()?).into()),
            Marker::I32 => signed(i32::from_be_bytes(self.fixed()?).into()),
            Marker::I64 => signed(i64::from_be_bytes(self.fixed()?)),
            Marker::F32 => Token::Float(f32::from_be_bytes(self.fixed()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.fixed()?)),
            Marker::FixStr(length) => Token::Text(self.take(length.into())?),
            Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let length = self.length(marker)?;
                Token::Text(self.take(length)?)
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                let length = self.length(marker)?;
                Token::Bytes(self.take(length)?)
            }
            Marker::FixArray(length) => self.array_of(length.into())?,
            Marker::Array16 | Marker::Array32 => {
                let length = self.length(marker)?;
                self.array_of(length)?
            }
            Marker::FixMap(length) => self.map_of(length.into())?,
            Marker::Map16 | Marker::Map32 => {
                let length = self.length(marker)?;
                self.map_of(length)?
            }
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 | Marker::Ext16 | Marker::Ext32 => {
                let length = self.length(marker)?;
                self.extension(length)?
            }
            Marker::Reserved => return Err(self.expected("a msgpack value")),
        })
    }

    /// The length of the array that must be next.
    pub(crate) fn array(&mut self, expected: &'static str) -> Result<usize, Error> {
        match self.token()? {
            Token::Array(length) => Ok(length),
            _ => Err(self.expected(expected)),
        }
    }

    /// Passes over one value with all that is in it.
    pub(crate) fn skip(&mut self) -> Result<(), Error> {
        self.skip_at(0)
    }

    /// Passes over `count` values.
    pub(crate) fn skip_many(&mut self, count: usize) -> Result<(), Error> {
        (0..count).try_for_each(|_| self.skip())
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.at == self.whole.len() { Ok(()) } else { Err(self.expected("the end")) }
    }

    fn skip_at(&mut self, depth: u32) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(Error::Bound { what: "msgpack, nesting", max: DEPTH_MAX as usize });
        }
        let inside = match self.token()? {
            Token::Array(length) => length,
            Token::Map(pairs) => pairs * 2,
            _ => 0,
        };
        (0..inside).try_for_each(|_| self.skip_at(depth + 1))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let taken = self.whole[self.at..].get(..length).ok_or_else(|| self.expected("more bytes"))?;
        self.at += length;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn length(&mut self, marker: Marker) -> Result<usize, Error> {
        Ok(match marker {
            Marker::Str8 | Marker::Bin8 | Marker::Ext8 => self.fixed::<1>()?[0].into(),
            Marker::Str16 | Marker::Bin16 | Marker::Ext16 | Marker::Array16 | Marker::Map16 => {
                u16::from_be_bytes(self.fixed()?).into()
            }
            _ => u32::from_be_bytes(self.fixed()?) as usize,
        })
    }

    /// An element takes a byte at least: a longer array cannot be there, whatever its head claims.
    fn array_of(&self, length: usize) -> Result<Token<'a>, Error> {
        if length > self.whole.len() - self.at {
            return Err(self.expected("more elements"));
        }
        Ok(Token::Array(length))
    }

    fn map_of(&self, pairs: usize) -> Result<Token<'a>, Error> {
        if pairs > (self.whole.len() - self.at) / 2 {
            return Err(self.expected("more pairs"));
        }
        Ok(Token::Map(pairs))
    }

    fn extension(&mut self, length: usize) -> Result<Token<'a>, Error> {
        self.take(1)?;
        self.take(length)?;
        Ok(Token::Extension)
    }
}

fn signed(value: i64) -> Token<'static> {
    u64::try_from(value).map_or(Token::Negative(value), Token::Unsigned)
}
