//! Numbers, texts and tables as bytes.

/// What is wrong with the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}")]
pub struct Malformed {
    /// Where.
    pub at: usize,
    /// What.
    pub what: String,
}

/// LEB128.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A length and the text.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// 0 for none, else the number plus 1.
pub(super) fn put_option(out: &mut Vec<u8>, number: Option<u64>) {
    put(out, number.map_or(0, |number| number.saturating_add(1)));
}

/// Figures as differences from what is expected. A difference of 0 is followed by how many more zeros come.
pub(super) fn put_differences(out: &mut Vec<u8>, differences: impl Iterator<Item = u32>) {
    let mut zeros = 0u64;
    for difference in differences {
        if difference == 0 {
            zeros += 1;
            continue;
        }
        end_zeros(out, &mut zeros);
        let signed = difference as i32;
        put(out, u64::from(((signed << 1) ^ (signed >> 31)) as u32));
    }
    end_zeros(out, &mut zeros);
}

fn end_zeros(out: &mut Vec<u8>, zeros: &mut u64) {
    if *zeros > 0 {
        out.push(0);
        put(out, *zeros - 1);
        *zeros = 0;
    }
}

/// Reads what the functions above wrote.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Of `bytes` within the file.
    offset: usize,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, offset, at: 0 }
    }

    pub(super) fn malformed(&self, what: impl Into<String>) -> Malformed {
        Malformed { at: self.offset + self.at, what: what.into() }
    }

    /// Bytes left.
    pub(super) fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.malformed("ends too early"))?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.malformed("ends too early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.malformed("a number of more than 64 bits"))
    }

    /// A number that is at most `max`.
    pub(super) fn bounded(&mut self, what: &str, max: u64) -> Result<u64, Malformed> {
        match self.number()? {
            number if number <= max => Ok(number),
            number => Err(self.malformed(format!("{number} {what}, and at most {max} are read"))),
        }
    }

    pub(super) fn small(&mut self, what: &str) -> Result<u32, Malformed> {
        Ok(self.bounded(what, u32::MAX.into())? as u32)
    }

    pub(super) fn text(&mut self, bytes_max: usize) -> Result<String, Malformed> {
        let length = self.bounded("bytes of text", bytes_max as u64)? as usize;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.malformed("text that is no UTF-8"))
    }

    pub(super) fn option(&mut self) -> Result<Option<u64>, Malformed> {
        Ok(self.number()?.checked_sub(1))
    }

    /// Exactly `count` differences.
    pub(super) fn differences(&mut self, count: usize) -> Result<Vec<u32>, Malformed> {
        let mut differences = Vec::with_capacity(count);
        while differences.len() < count {
            match self.number()? {
                0 => {
                    let room = (count - differences.len() - 1) as u64;
                    let more = self.bounded("zeros", room)? as usize;
                    differences.resize(differences.len() + more + 1, 0);
                }
                coded if coded <= u64::from(u32::MAX) => {
                    let coded = coded as u32;
                    differences.push((coded >> 1) ^ (coded & 1).wrapping_neg());
                }
                _ => return Err(self.malformed("a difference of more than 32 bits")),
            }
        }
        Ok(differences)
    }
}
