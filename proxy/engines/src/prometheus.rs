//! The Prometheus text format, as much of it as reading a few families takes.

use std::borrow::Cow;

/// Longest line that is read; longer ones are passed over.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Most labels of one sample; a sample with more is passed over. vLLM's `cache_config_info` has forty.
const LABELS_MAX: usize = 256;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// In the order of the page, escapes resolved.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// May be NaN or infinite.
    pub value: f64,
}

impl Sample<'_> {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_ref())
    }
}

/// The samples of these metrics, in the order of the page. What cannot be read is passed over.
pub fn samples<'a>(page: &'a [u8], wanted: &'a [&'a str]) -> impl Iterator<Item = Sample<'a>> {
    page.split(|byte| *byte == b'\n')
        .filter(|line| line.len() <= LINE_BYTES_MAX && !line.starts_with(b"#"))
        .filter_map(|line| std::str::from_utf8(line).ok())
        .filter_map(move |line| sample(line.trim(), wanted))
}

fn sample<'a>(line: &'a str, wanted: &[&str]) -> Option<Sample<'a>> {
    let end = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at(end);
    if !wanted.contains(&name) {
        return None;
    }
    let (labels, rest) = match rest.trim_start().strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    // A timestamp may follow.
    let value = rest.split_whitespace().next()?;
    // Rust reads NaN, inf and +Inf as Prometheus writes them.
    Some(Sample { name, labels, value: value.parse().ok()? })
}

type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Labels<'_>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        if labels.len() == LABELS_MAX {
            return None;
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.push((name.trim(), value));
        rest = after;
    }
}

/// A label value up to its closing quote, and what follows it. `\\`, `\"` and `\n` are escapes.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text[end..].starts_with('"') {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((Cow::Owned(value), &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests;
