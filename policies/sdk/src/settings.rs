//! Settings: from the pool's JSON to a policy's own type, with errors that name the field.

use serde::de::DeserializeOwned;

mod error;
mod json;
#[cfg(test)]
mod tests;

/// Reads a policy's settings from JSON. The error names the field that is wrong.
pub fn parse<Settings: DeserializeOwned>(json: &str) -> Result<Settings, String> {
    let mut reader = json::Reader::new(json);
    let settings = Settings::deserialize(&mut reader).and_then(|settings| reader.finish().map(|()| settings));
    settings.map_err(|error| error.to_string())
}

/// The value, if it is at least 0 and at most `max`; else an error that names the field.
pub fn finite(field: &str, value: f64, max: u32) -> Result<f64, String> {
    if (0.0..=f64::from(max)).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{field}: must be a number from 0 to {max}"))
    }
}
