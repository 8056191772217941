//! Names: how they are written, and that none is there twice.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::located::{Located, Position};
use super::Problem;

/// A name of so many bytes at most, of letters, digits and these marks.
pub(super) fn name(
    path: &str,
    name: &Located<String>,
    bytes_max: usize,
    marks: &str,
) -> Result<Arc<str>, Problem> {
    let known = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    if name.is_empty() || name.len() > bytes_max || !name.chars().all(known) {
        let message = format!(
            "{path}: invalid name `{}`: expected 1 to {bytes_max} letters, digits and {marks}",
            name.value
        );
        return Err(Problem::new(name.at, message));
    }
    Ok(Arc::from(name.as_str()))
}

/// Refuses what was there before, and says where.
#[derive(Default)]
pub(super) struct Unique {
    owners: HashMap<String, String>,
}

impl Unique {
    /// Takes it for this one, and says who had it before.
    pub(super) fn claim(&mut self, path: &str, value: &str) -> Option<String> {
        self.owners.insert(value.to_owned(), path.to_owned())
    }

    pub(super) fn add(&mut self, path: &str, value: &str, at: Position) -> Result<(), Problem> {
        match self.claim(path, value) {
            Some(owner) => {
                Err(Problem::new(at, format!("{path}: `{value}` is already {owner}: expected another")))
            }
            None => Ok(()),
        }
    }
}
