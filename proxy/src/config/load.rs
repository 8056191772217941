//! Reading a config: file, YAML, resolving.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_saphyr::{DefaultMessageFormatter, MessageFormatter as _};

use super::error::{ConfigError, Diagnostic};
use super::file::{self, Document, WorkersFile};
use super::located::{Located, Position};
use super::named::one_of;
use super::resolve::{Problem, resolve};
use super::resolved::{Config, Worker};

/// The largest config file, in bytes. A thousand workers with every field set take half of it.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// A document and where it came from, which is what its errors are shown with.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// As it is called in errors; empty when there is no document, only flags.
    pub name: String,
    /// The folder that relative paths start from; empty: the working directory.
    pub folder: PathBuf,
    /// The YAML.
    pub text: String,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is no UTF-8, or is larger than [`FILE_BYTES_MAX`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let read_error = |source| ConfigError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(read_error)?;
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(read_error)?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(ConfigError::TooLarge { path: path.to_owned(), bytes_max: FILE_BYTES_MAX });
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| read_error(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Self { name: path.display().to_string(), folder, text })
    }

    /// Parses the document as written.
    ///
    /// # Errors
    /// With the place: not YAML, an unknown field, a value of the wrong kind.
    pub fn parse(&self) -> Result<Document, ConfigError> {
        self.parse_as()
    }

    fn parse_as<T: serde::de::DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_documents: 1, max_nodes: 100_000, max_aliases: 1_000 },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
            strict_booleans: true,
            with_snippet: false,
        };
        serde_saphyr::from_str_with_options(&self.text, options).map_err(|error| {
            let at = error.location().map_or(Position { line: 1, column: 1 }, Position::from);
            self.invalid(at, in_words(&error))
        })
    }

    /// Fills in the defaults and checks what one field alone does not show.
    ///
    /// # Errors
    /// With the place.
    pub fn resolve(&self, document: Document) -> Result<Config, ConfigError> {
        resolve(document, &self.folder).map_err(|Problem { at, message }| self.invalid(at, message))
    }

    fn invalid(&self, at: Position, message: String) -> ConfigError {
        // Without a document nothing has a place in it.
        let at = if self.name.is_empty() { Position::default() } else { at };
        ConfigError::Invalid(Diagnostic::new(&self.name, &self.text, at, message))
    }
}

/// The parser's message, in our words where it speaks of Rust or of its own options.
fn in_words(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error.without_snippet() {
        Error::AliasError { error, .. } => in_words(error),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("duplicate field `{key}`: expected it once")
        }
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("unknown field `{field}`: expected {}", one_of(expected.iter().copied()))
        }
        Error::SerdeMissingField { field, .. } => format!("missing field `{field}`"),
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("found {unexpected}: expected {}", plain(expected))
        }
        Error::InvalidScalar { ty, .. } => format!("expected {}", plain(ty)),
        Error::Unexpected { expected, .. } => format!("expected {}", plain(expected)),
        Error::NullIntoString { .. } => "found nothing: expected a text".to_owned(),
        other => DefaultMessageFormatter.format_message(other).into_owned(),
    }
}

/// What was expected, without the names of Rust's types or of the parser's events.
fn plain(expected: &str) -> &str {
    match expected {
        "sequence start" => "a list",
        "mapping start" => "a group of fields",
        "string scalar" => "a text",
        "a nonzero usize" | "a nonzero u32" => "a number from 1",
        "usize" | "u32" | "u16" => "a number from 0",
        "boolean" | "a boolean" => "true or false",
        other => other,
    }
}

/// The config in a file.
///
/// # Errors
/// As [`Source::read`], [`Source::parse`] and [`Source::resolve`].
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let source = Source::read(path)?;
    source.resolve(source.parse()?)
}

/// The config in a string; relative paths start from the working directory.
///
/// # Errors
/// As [`Source::parse`] and [`Source::resolve`].
pub fn parse(name: &str, text: &str) -> Result<Config, ConfigError> {
    let source = Source { name: name.to_owned(), text: text.to_owned(), ..Source::default() };
    source.resolve(source.parse()?)
}

/// The workers in a string: what a pool's `discovery.file` holds, a document with the field `workers`.
///
/// # Errors
/// As [`parse`], with the place.
pub fn parse_workers(name: &str, text: &str) -> Result<Vec<Worker>, ConfigError> {
    let source = Source { name: name.to_owned(), text: text.to_owned(), ..Source::default() };
    let workers = source.parse_as::<WorkersFile>()?.workers;
    let pool = file::Pool { workers, ..file::Pool::default() };
    let document = Document { pools: vec![Located::nowhere(pool)], ..Document::default() };
    let resolved = resolve(document, Path::new(""));
    let config = resolved.map_err(|Problem { at, message }| {
        source.invalid(at, message.strip_prefix("pools[0].").unwrap_or(&message).to_owned())
    })?;
    Ok(config.pools.into_iter().flat_map(|pool| pool.workers).collect())
}

/// One worker in the words of the config, as JSON: what the admin API takes. JSON is YAML, so that one parser reads both.
///
/// # Errors
/// With the place, as [`parse`]; also for what is no JSON.
pub fn parse_worker(json: &[u8]) -> Result<Worker, ConfigError> {
    const NAME: &str = "worker";
    let worker: serde_json::Value = serde_json::from_slice(json).map_err(|error| {
        let at = Position { line: error.line(), column: error.column() };
        let text = String::from_utf8_lossy(json);
        ConfigError::Invalid(Diagnostic::new(NAME, &text, at, error.to_string()))
    })?;
    let document = serde_json::json!({ "pools": [{ "name": "any", "workers": [worker] }] }).to_string();
    let config = parse(NAME, &document)?;
    let worker = config.pools.into_iter().flat_map(|pool| pool.workers).next();
    worker.ok_or_else(|| {
        let at = Position { line: 1, column: 1 };
        ConfigError::Invalid(Diagnostic::new(NAME, &document, at, "expected a worker".to_owned()))
    })
}
