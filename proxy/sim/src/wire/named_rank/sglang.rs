//! Where SGLang looks for a rank.

use serde_json::{Map, Value};

use super::super::refusal::Refused;

/// The rank that a request names, by header or by body, the header first; `None` where the engine is to choose.
pub(super) fn read(header: Option<&[u8]>, body: &[u8], ranks: usize) -> Result<Option<usize>, Refused> {
    let by_header = match header {
        Some(value) => {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
            Some(number.ok_or_else(|| Refused::body("X-Data-Parallel-Rank must be an integer"))?)
        }
        None => None,
    };
    // Of a field that is there twice the last counts, as in Python.
    let fields: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| Refused::body(&error.to_string()))?;
    let field = |name: &str| fields.get(name).and_then(Value::as_i64);
    let Some(asked) = by_header.or_else(|| field("routed_dp_rank")).or_else(|| field("data_parallel_rank"))
    else {
        return Ok(None);
    };
    match usize::try_from(asked) {
        Ok(rank) if rank < ranks => Ok(Some(rank)),
        _ => Err(Refused::body(&format!("routed_dp_rank={asked} out of range [0, {ranks})"))),
    }
}

#[cfg(test)]
mod tests;
