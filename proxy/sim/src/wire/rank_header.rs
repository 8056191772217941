//! The header that pins a dp rank, read as vLLM reads it: Python's `int()`, or ignored.

/// Its name.
pub(crate) const NAME: &str = "x-data-parallel-rank";

/// Longest integer that Python reads from text.
const PYTHON_DIGITS_MAX: usize = 4300;

/// What a header value asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RankAsk {
    /// No usable value: the engine's own balancer chooses.
    Any,
    /// This rank.
    Rank(u32),
    /// An integer that is no rank, as Python prints it.
    OutOfRange(String),
}

/// Reads a header value (`None`: absent) for a server of `ranks` ranks.
pub(crate) fn read(value: Option<&[u8]>, ranks: usize) -> RankAsk {
    let Some(integer) = value.and_then(python_int) else { return RankAsk::Any };
    match integer.parse::<u32>() {
        Ok(rank) if (rank as usize) < ranks => RankAsk::Rank(rank),
        _ => RankAsk::OutOfRange(integer),
    }
}

/// The integer in canonical decimal, if `int(value.decode("latin-1"))` would not raise.
fn python_int(value: &[u8]) -> Option<String> {
    // Bytes whose latin-1 characters Python's str.strip() takes for blanks.
    let blank = |byte: &u8| matches!(byte, b'\t'..=b'\r' | 0x1c..=0x20 | 0x85 | 0xa0);
    let start = value.iter().position(|byte| !blank(byte))?;
    let end = value.iter().rposition(|byte| !blank(byte))?;
    let (negative, digits) = match &value[start..=end] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut plain = String::with_capacity(digits.len());
    // Single underscores between digits are allowed.
    for group in digits.split(|&byte| byte == b'_') {
        if group.is_empty() || !group.iter().all(u8::is_ascii_digit) {
            return None;
        }
        plain.extend(group.iter().map(|&byte| char::from(byte)));
    }
    if plain.len() > PYTHON_DIGITS_MAX {
        return None;
    }
    let significant = plain.trim_start_matches('0');
    Some(match (significant, negative) {
        ("", _) => "0".to_owned(),
        (significant, true) => format!("-{significant}"),
        (significant, false) => significant.to_owned(),
    })
}

#[cfg(test)]
mod tests;
