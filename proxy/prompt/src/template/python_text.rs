//! Python's ideas of whitespace, of `str()` and of `repr()`.

use minijinja::Value;
use minijinja::value::ValueKind;

/// What `str.strip()` removes: Unicode's whitespace and the four information separators.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

pub(super) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

pub(super) fn rstrip(text: &str) -> &str {
    text.trim_end_matches(is_space)
}

/// `repr(float)`: the shortest digits that read back as the same number.
pub(super) fn float_repr(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    // The shortest digits; where two are as short and as near, Rust takes the upper and Python the even one.
    let shortest = format!("{number:e}");
    let precision = shortest.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count() - 1;
    let even = format!("{number:.precision$e}");
    let scientific = if even.parse() == Ok(number) { even } else { shortest };
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let Ok(exponent) = exponent.parse::<i32>() else { return scientific };
    // repr changes to an exponent outside 1e-4 .. 1e16.
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits = digits.replace('.', "");
    let Ok(whole) = usize::try_from(exponent + 1) else {
        return format!("{sign}0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1));
    };
    match digits.split_at_checked(whole) {
        Some(("", fraction)) => format!("{sign}0.{fraction}"),
        Some((whole, "")) => format!("{sign}{whole}.0"),
        Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{digits:0<whole$}.0"),
    }
}

/// `str(value)`, as jinja2 prints it.
pub(super) fn str(value: &Value) -> String {
    match value.kind() {
        ValueKind::Undefined => String::new(),
        ValueKind::String => value.as_str().unwrap_or_default().to_owned(),
        _ => repr(value),
    }
}

/// `repr(value)` of what JSON can hold; anything else as minijinja prints it.
pub(super) fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value);
    out
}

fn write_repr(out: &mut String, value: &Value) {
    match value.kind() {
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => match f64::try_from(value.clone()) {
            Ok(number) if !value.is_integer() => out.push_str(&float_repr(number)),
            _ => out.push_str(&value.to_string()),
        },
        ValueKind::String => string_repr(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Map => {
            let is_map = value.kind() == ValueKind::Map;
            let Ok(items) = value.try_iter() else { return out.push_str(&value.to_string()) };
            out.push(if is_map { '{' } else { '[' });
            for (position, item) in items.enumerate() {
                if position > 0 {
                    out.push_str(", ");
                }
                write_repr(out, &item);
                if is_map {
                    out.push_str(": ");
                    write_repr(out, &value.get_item(&item).unwrap_or_default());
                }
            }
            out.push(if is_map { '}' } else { ']' });
        }
        _ => out.push_str(&value.to_string()),
    }
}

fn string_repr(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if character == quote => {
                out.push('\\');
                out.push(quote);
            }
            // What Python calls not printable, as far as it is told by whitespace and control characters.
            _ if character != ' ' && (character.is_control() || is_space(character)) => {
                let code = character as u32;
                out.push_str(&if code < 0x100 { format!("\\x{code:02x}") } else { format!("\\u{code:04x}") });
            }
            _ => out.push(character),
        }
    }
    out.push(quote);
}
