//! `rankwise serve`.

use std::path::PathBuf;

use clap::Args;

use super::failure::UsageError;
use super::launch;
use super::overrides::Overrides;
use crate::config::file::Document;
use crate::config::{Config, Source};

/// Route requests until a signal
///
/// A first run needs no config file: `rankwise serve --worker http://127.0.0.1:8000`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Config file, YAML; `rankwise schema` prints its schema
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<()> {
        launch::serve(self.resolve()?)
    }

    /// The config that file and flags make together.
    pub(super) fn resolve(self) -> anyhow::Result<Config> {
        let (source, mut document) = match &self.config {
            Some(path) => {
                let source = Source::read(path)?;
                let document = source.parse()?;
                (source, document)
            }
            None if self.overrides.workers.is_empty() => {
                return Err(UsageError(
                    "serve: nothing to route to: expected -c FILE or --worker URL".into(),
                )
                .into());
            }
            None => (Source::default(), Document::default()),
        };
        self.overrides.apply(&mut document)?;
        Ok(source.resolve(document)?)
    }
}
