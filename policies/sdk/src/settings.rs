//! Settings: from the pool's JSON to a policy's own type, with errors that name the field.

use serde::de::DeserializeOwned;

#[cfg(test)]
mod tests;

/// Reads a policy's settings from JSON. The error names the field that is wrong.
pub fn parse<Settings: DeserializeOwned>(json: &str) -> Result<Settings, String> {
    serde_json::from_str(json).map_err(|error| {
        let text = error.to_string();
        // serde_json counts from the start of the text it was given, which means nothing to a YAML config.
        let text = text.split(" at line ").next().unwrap_or_default();
        match field_before(json, error.line(), error.column()) {
            Some(field) if error.is_data() && !text.starts_with("unknown field") => {
                format!("{field}: {text}")
            }
            _ => text.to_owned(),
        }
    })
}

/// A number that must be at least 0 and at most `max`.
pub fn finite(field: &str, value: f64, max: f64) -> Result<f64, String> {
    if (0.0..=max).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{field}: must be from 0 to {max}, not {value}"))
    }
}

/// The outermost key whose value a position (both from 1) lies in.
fn field_before(json: &str, line: usize, column: usize) -> Option<&str> {
    let line_start: usize = json.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut depth = 0;
    let mut field = None;
    let mut string_start = None;
    let mut last_string = None;
    let mut escaped = false;
    for (at, byte) in json.bytes().enumerate().take(line_start + column) {
        match (string_start, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(start), b'"') => {
                last_string = json.get(start..at);
                string_start = None;
            }
            (Some(_), _) => {}
            (None, b'"') => string_start = Some(at + 1),
            (None, b':') if depth == 1 => field = last_string,
            (None, b'{' | b'[') => depth += 1,
            (None, b'}' | b']') => depth -= 1,
            (None, _) => {}
        }
    }
    field
}
