//! Printing, tests, filters and methods as jinja2 has them, where minijinja differs.

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, State, Value};
use minijinja_contrib::pycompat;

use super::python_text::{self, is_space};

pub(super) fn install(environment: &mut Environment<'static>) {
    environment.set_formatter(|out, _state, value| {
        match value.as_str() {
            Some(text) => out.write_str(text),
            None => out.write_str(&python_text::str(value)),
        }
        .map_err(Error::from)
    });
    environment.set_unknown_method_callback(method);
    environment.add_filter("trim", |value: &Value, characters: Option<String>| {
        let text = python_text::str(value);
        strip(&text, characters.as_deref(), true, true).to_owned()
    });
    environment.add_filter("string", python_text::str);
    // In Python a boolean is a number.
    environment
        .add_test("number", |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    // In Python a string is a sequence too, and so is whatever has a length.
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String)
    });
    environment.add_test("iterable", |value: &Value| {
        value.kind() == ValueKind::String
            || value.kind() == ValueKind::Undefined
            || value.try_iter().is_ok_and(|_| !value.is_none())
    });
}

fn method(state: &State<'_, '_>, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (start, end) = match name {
        "strip" => (true, true),
        "lstrip" => (true, false),
        "rstrip" => (false, true),
        _ => return pycompat::unknown_method_callback(state, value, name, arguments),
    };
    let Some(text) = value.as_str() else {
        return pycompat::unknown_method_callback(state, value, name, arguments);
    };
    let (rest,): (Rest<Option<String>>,) = minijinja::value::from_args(arguments)?;
    let characters = rest.first().cloned().flatten();
    Ok(strip(text, characters.as_deref(), start, end).into())
}

/// `str.strip(characters)` at the chosen ends.
pub(super) fn strip<'t>(mut text: &'t str, characters: Option<&str>, start: bool, end: bool) -> &'t str {
    let matches =
        |character: char| characters.map_or_else(|| is_space(character), |set| set.contains(character));
    if start {
        text = text.trim_start_matches(matches);
    }
    if end {
        text = text.trim_end_matches(matches);
    }
    text
}
