//! Durations (`500ms`, `3s`) and sizes (`64Mi`), as serde `with` modules for plain `Duration` and `usize` fields.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The longest duration a config may ask for: 30 days. Keeps every `Instant + duration` in range.
const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

const DURATION_UNITS: [(&str, u64); 5] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];

const SIZE_UNITS: [(&str, u64); 4] = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("", 1)];

/// Reads `500us`, `20ms`, `3s`, `5m`, `1h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!("invalid duration `{text}`: expected a whole number and a unit, such as 500ms, 3s, 5m or 1h")
    };
    let (number, unit) = split_number(text);
    let micros_per_unit =
        DURATION_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, micros)| *micros).ok_or_else(wrong)?;
    let micros = number.parse::<u64>().ok().and_then(|n| n.checked_mul(micros_per_unit)).ok_or_else(wrong)?;
    match Duration::from_micros(micros) {
        Duration::ZERO => Err(format!("invalid duration `{text}`: expected more than 0")),
        long if long > DURATION_MAX => Err(format!("invalid duration `{text}`: expected at most 720h")),
        duration => Ok(duration),
    }
}

/// Reads `65536`, `64Ki`, `64Mi`, `1Gi`.
pub(crate) fn parse_byte_size(text: &str) -> Result<usize, String> {
    let wrong = || {
        format!(
            "invalid size `{text}`: expected a whole number of bytes, or one with Ki, Mi or Gi, such as 64Mi"
        )
    };
    let (number, unit) = split_number(text);
    let bytes_per_unit =
        SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes).ok_or_else(wrong)?;
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(bytes_per_unit)).ok_or_else(wrong)?;
    match usize::try_from(bytes).map_err(|_| wrong())? {
        0 => Err(format!("invalid size `{text}`: expected more than 0")),
        bytes => Ok(bytes),
    }
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// A duration in its largest whole unit.
pub(crate) struct WrittenDuration(pub(crate) Duration);

impl fmt::Display for WrittenDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let whole = DURATION_UNITS.iter().rev().find(|(_, unit)| micros.is_multiple_of(u128::from(*unit)));
        let (name, unit) = whole.unwrap_or(&DURATION_UNITS[0]);
        write!(f, "{}{name}", micros / u128::from(*unit))
    }
}

/// A size in its largest whole unit.
pub(crate) struct WrittenSize(pub(crate) usize);

impl fmt::Display for WrittenSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as u64;
        let whole = SIZE_UNITS[..3].iter().rev().find(|(_, unit)| bytes.is_multiple_of(*unit));
        let (name, unit) = whole.unwrap_or(&SIZE_UNITS[3]);
        write!(f, "{}{name}", bytes / unit)
    }
}

macro_rules! written {
    ($(#[$doc:meta])* $module:ident, $type:ty, $parse:ident, $written:ident, $schema:tt) => {
        $(#[$doc])*
        pub(crate) mod $module {
            use super::*;
            use serde::de::Error as _;
            use serde::{Deserialize, Deserializer, Serializer};

            /// The schema of such a field.
            pub(crate) struct Written;

            impl JsonSchema for Written {
                fn inline_schema() -> bool {
                    true
                }
                fn schema_name() -> Cow<'static, str> {
                    stringify!($module).into()
                }
                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                $parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
            }

            pub(crate) fn serialize<S: Serializer>(value: &$type, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&$written(*value))
            }
        }
    };
}

written! {
    /// For `#[serde(with)]` on a `Duration`.
    duration, Duration, parse_duration, WrittenDuration,
    { "type": "string", "format": "duration", "pattern": "^[0-9]+(us|ms|s|m|h)$" }
}
written! {
    /// For `#[serde(with)]` on a `usize` of bytes. YAML hands `65536` to a string reader as it is written.
    byte_size, usize, parse_byte_size, WrittenSize,
    { "type": ["string", "integer"], "format": "size", "pattern": "^[0-9]+(Ki|Mi|Gi)?$", "minimum": 1 }
}

/// For `#[serde(with)]` on an `Option<Duration>`.
pub(crate) mod optional_duration {
    use super::*;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    /// The schema of such a field.
    pub(crate) struct Written;

    impl JsonSchema for Written {
        fn inline_schema() -> bool {
            true
        }
        fn schema_name() -> Cow<'static, str> {
            "optional_duration".into()
        }
        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            let mut schema = duration::Written::json_schema(generator);
            schema.insert("type".to_owned(), serde_json::json!(["string", "null"]));
            schema
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| parse_duration(&text).map_err(D::Error::custom))
            .transpose()
    }

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(&WrittenDuration(*value)),
            None => serializer.serialize_none(),
        }
    }
}
