//! Scalars of the config, parsed once: each says in its error what it expected.

mod amount;
mod digest;
mod endpoint;

pub(crate) use amount::{byte_size, duration, optional_duration, parse_duration};
pub use digest::Digest;
pub(crate) use endpoint::Address;
pub use endpoint::{BaseUrl, EventEndpoint, Secret};

/// Deserialize, Serialize and JsonSchema of a type that is written as a string.
macro_rules! as_string {
    ($type:ident, $schema:tt) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}
use as_string;

#[cfg(test)]
mod tests;
