//! Parameters of a query.

use super::Refused;

/// A parameter of a query, decoded.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let raw = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        let escaped = || {
            let digits = [rest.clone().next()?, rest.clone().nth(1)?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
        };
        match (byte, (byte == b'%').then(escaped).flatten()) {
            (_, Some(decoded)) => {
                bytes.push(decoded);
                rest.nth(1);
            }
            (b'+', None) => bytes.push(b' '),
            (byte, None) => bytes.push(byte),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A number of things to answer with, if the query says how many.
///
/// # Errors
/// 400 if it is no number.
pub(super) fn limit(query: &str) -> Result<Option<usize>, Refused> {
    let limit = parameter(query, "limit").map(|text| text.parse());
    limit.transpose().map_err(|_| Refused::bad("?limit= must be a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = "name=a-b&reason=fewer%20spills%2C+we+hope&bad=100%&half=%f";
        let read = |name| parameter(query, name);
        assert_eq!(read("name").as_deref(), Some("a-b"));
        assert_eq!(read("reason").as_deref(), Some("fewer spills, we hope"));
        assert_eq!(read("bad").as_deref(), Some("100%"));
        assert_eq!(read("half").as_deref(), Some("%f"));
        assert_eq!(read("who"), None);
    }
}
