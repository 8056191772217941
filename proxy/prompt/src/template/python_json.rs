//! `tojson` as transformers defines it: Python's `json.dumps` with `ensure_ascii=False` and no HTML escapes.

use minijinja::value::{Kwargs, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, Value};

use super::python_text::float_repr;

pub(super) fn install(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", to_json);
}

struct Style {
    /// What one level is indented by.
    indent: Option<String>,
    between_items: String,
    after_key: String,
    ensure_ascii: bool,
    sort_keys: bool,
}

/// `tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
fn to_json(value: &Value, arguments: Rest<Value>) -> Result<String, Error> {
    let (positional, named): (&[Value], Kwargs) = from_args(&arguments)?;
    let argument = |position: usize, name: &str| -> Result<Option<Value>, Error> {
        let given = match positional.get(position) {
            Some(value) => Some(value.clone()),
            None => named.get::<Option<Value>>(name)?,
        };
        Ok(given.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let indent = match argument(1, "indent")? {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(usize::try_from(indent.clone())?.min(64)),
        }),
    };
    let (between_items, after_key) = match argument(2, "separators")? {
        Some(pair) => {
            let text = |position: usize| -> Result<String, Error> {
                Ok(pair.get_item(&Value::from(position))?.as_str().unwrap_or_default().to_owned())
            };
            (text(0)?, text(1)?)
        }
        None => ((if indent.is_some() { "," } else { ", " }).to_owned(), ": ".to_owned()),
    };
    let style = Style {
        indent,
        between_items,
        after_key,
        ensure_ascii: argument(0, "ensure_ascii")?.is_some_and(|value| value.is_true()),
        sort_keys: argument(3, "sort_keys")?.is_some_and(|value| value.is_true()),
    };
    named.assert_all_used()?;
    let mut out = String::new();
    write(&mut out, value, &style, 0)?;
    Ok(out)
}

fn write(out: &mut String, value: &Value, style: &Style, depth: usize) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String => write_string(out, value.as_str().unwrap_or_default(), style),
        ValueKind::Seq => {
            let items = value.try_iter()?.map(|item| (None, item));
            write_container(out, ['[', ']'], items, style, depth)?;
        }
        ValueKind::Map => {
            let mut items = Vec::new();
            for key in value.try_iter()? {
                let item = value.get_item(&key)?;
                items.push((Some(key_text(&key)?), item));
            }
            if style.sort_keys {
                items.sort_by(|(left, _), (right, _)| left.cmp(right));
            }
            write_container(out, ['{', '}'], items.into_iter(), style, depth)?;
        }
        kind => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("Object of type {kind} is not JSON serializable"),
            ));
        }
    }
    Ok(())
}

fn write_container(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl Iterator<Item = (Option<String>, Value)>,
    style: &Style,
    depth: usize,
) -> Result<(), Error> {
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = &style.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    };
    out.push(open);
    let mut any = false;
    for (key, item) in items {
        if any {
            out.push_str(&style.between_items);
        }
        any = true;
        line(out, depth + 1);
        if let Some(key) = key {
            write_string(out, &key, style);
            out.push_str(&style.after_key);
        }
        write(out, &item, style, depth + 1)?;
    }
    if any {
        line(out, depth);
    }
    out.push(close);
    Ok(())
}

/// What Python makes of a key that is no string.
fn key_text(key: &Value) -> Result<String, Error> {
    Ok(match key.kind() {
        ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
        ValueKind::None => "null".to_owned(),
        ValueKind::Bool => key.is_true().to_string(),
        ValueKind::Number => number(key),
        kind => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("keys must be str, int, float, bool or None, not {kind}"),
            ));
        }
    })
}

fn number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(number) if !value.is_integer() => match float_repr(number).as_str() {
            "nan" => "NaN".to_owned(),
            "inf" => "Infinity".to_owned(),
            "-inf" => "-Infinity".to_owned(),
            finite => finite.to_owned(),
        },
        _ => value.to_string(),
    }
}

fn write_string(out: &mut String, text: &str, style: &Style) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' => escape(out, character),
            // DEL is left as it is otherwise.
            '\u{7f}'.. if style.ensure_ascii => escape(out, character),
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn escape(out: &mut String, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}
