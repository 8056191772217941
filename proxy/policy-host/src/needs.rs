//! What a policy may ask for.

use rankwise_core::policy::{Column, Needs};

use crate::bindings;
use crate::failure::bounded;

/// Columns that a policy may ask for.
pub(crate) const COLUMNS_MAX: usize = 64;
/// Headers that a policy may ask for.
pub(crate) const HEADERS_MAX: usize = 16;
const HEADER_BYTES_MAX: usize = 128;

/// Headers that say who the client is allowed to be. No policy sees them, whatever the config says.
const CREDENTIALS: [&str; 14] = [
    "api-key",
    "authorization",
    "cookie",
    "openai-api-key",
    "proxy-authenticate",
    "proxy-authorization",
    "set-cookie",
    "www-authenticate",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-forwarded-client-cert",
    "x-goog-api-key",
];

/// Parts of names by which the others of their kind are told.
const CREDENTIAL_PARTS: [&str; 7] =
    ["api-key", "apikey", "authorization", "cookie", "credential", "password", "secret"];

/// Whether a header, its name in lower case, says who the client is allowed to be. No policy is given such a one.
pub fn is_credential(name: &str) -> bool {
    CREDENTIALS.contains(&name)
        || CREDENTIAL_PARTS.iter().any(|part| name.contains(part))
        || name.ends_with("-token")
}

/// Checks what `configure` returned; an error says what is wrong with it.
pub(crate) fn check(needs: &bindings::Needs) -> Result<Needs, String> {
    Ok(Needs { columns: columns(&needs.columns)?, headers: headers(&needs.headers)?, prompt: needs.prompt })
}

fn columns(ids: &[u32]) -> Result<Vec<Column>, String> {
    if ids.len() > COLUMNS_MAX {
        return Err(format!("{} columns, and at most {COLUMNS_MAX} are given", ids.len()));
    }
    let mut columns = Vec::with_capacity(ids.len());
    for &id in ids {
        let column = Column::from_id(id).ok_or_else(|| {
            let last = Column::ALL[Column::ALL.len() - 1];
            format!("column {id} is not known here (the last one is {}, {})", last.id(), last.name())
        })?;
        if columns.contains(&column) {
            return Err(format!("column {id} ({}) is asked for twice", column.name()));
        }
        columns.push(column);
    }
    Ok(columns)
}

fn headers(names: &[String]) -> Result<Vec<String>, String> {
    if names.len() > HEADERS_MAX {
        return Err(format!("{} headers, and at most {HEADERS_MAX} are given", names.len()));
    }
    for (i, name) in names.iter().enumerate() {
        let shown = bounded(name);
        if name.is_empty() || name.len() > HEADER_BYTES_MAX || !name.bytes().all(is_token) {
            return Err(format!("\"{shown}\" is not the name of a header"));
        }
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(format!("header \"{shown}\" has to be in lower case"));
        }
        if is_credential(name) {
            return Err(format!("header \"{shown}\" holds credentials, which no policy is given"));
        }
        if names[..i].contains(name) {
            return Err(format!("header \"{shown}\" is asked for twice"));
        }
    }
    Ok(names.to_vec())
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(columns: &[u32], headers: &[&str]) -> Result<Needs, String> {
        check(&bindings::Needs {
            columns: columns.to_vec(),
            headers: headers.iter().map(|&name| name.to_owned()).collect(),
            prompt: true,
        })
    }

    #[test]
    fn order_is_kept() {
        let needs = checked(&[5, 0, 24], &["x-session", "x-tenant"]).unwrap();
        assert_eq!(needs.columns, [Column::DeviceOverlap, Column::Worker, Column::Learned]);
        assert_eq!(needs.headers, ["x-session", "x-tenant"]);
        assert!(needs.prompt);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |columns: &[u32], headers: &[&str]| checked(columns, headers).unwrap_err();
        assert_eq!(wrong(&[0, 25], &[]), "column 25 is not known here (the last one is 24, learned)");
        assert_eq!(wrong(&[3, 0, 3], &[]), "column 3 (target-key) is asked for twice");
        assert_eq!(wrong(&[0; 65], &[]), "65 columns, and at most 64 are given");
        assert_eq!(wrong(&[], &["X-Session"]), "header \"X-Session\" has to be in lower case");
        assert_eq!(wrong(&[], &["a", "a"]), "header \"a\" is asked for twice");
        assert_eq!(wrong(&[], &["a b"]), "\"a b\" is not the name of a header");
        assert_eq!(wrong(&[], &[""]), "\"\" is not the name of a header");
        assert!(checked(&[], &["x-max-tokens", "x-session", "x-key"]).is_ok());
        let others =
            ["x-my-secret", "x-forwarded-authorization", "x-vendor-apikey", "x-id-token", "x-cookie-2"];
        for credential in CREDENTIALS.into_iter().chain(others) {
            assert!(wrong(&[], &[credential]).contains("credentials"), "{credential}");
        }
        assert!(wrong(&[], &["a"; 17]).contains("17 headers"));
    }
}
