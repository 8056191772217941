//! The JSON schema of the document.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::file::Document;

/// JSON schema, draft 2020-12, of a config file.
pub fn schema() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Document>().to_value()
}

/// The schema as text, as `rankwise schema` prints it.
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}
