//! The id of a response, by which later requests refer to what its server keeps. Engines write it first, so the beginning of the
//! JSON is enough, and no more than that is read.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::RESPONSE_ID_BYTES_MAX;

/// The `id` of the object that `json` begins with.
pub(super) fn of_body(json: &[u8]) -> Option<String> {
    find(json, &["id"])
}

/// The `id` in the `response` of the event that `json` begins with.
pub(super) fn of_event(json: &[u8]) -> Option<String> {
    find(json, &["response", "id"])
}

fn find(json: &[u8], path: &[&str]) -> Option<String> {
    let mut found = None;
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    // What follows is not read, and may be cut off: that it is no JSON by itself says nothing.
    let _ = At { path, found: &mut found }.deserialize(&mut deserializer);
    found.filter(|id: &String| !id.is_empty() && id.len() <= RESPONSE_ID_BYTES_MAX)
}

/// The string at `path`; reading ends there.
struct At<'a> {
    path: &'a [&'a str],
    found: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            deserializer.deserialize_str(self)
        } else {
            deserializer.deserialize_map(self)
        }
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an id")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((name, path)) = self.path.split_first() else { return Ok(()) };
        while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            if key == *name {
                map.next_value_seed(At { path, found: self.found })?;
                return Err(A::Error::custom("found"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, id: &str) -> Result<(), E> {
        *self.found = Some(id.to_owned());
        Ok(())
    }
}
