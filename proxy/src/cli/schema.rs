//! `rankwise schema`.

use clap::Args;

use super::out;
use crate::config::{reference, schema};

/// Print the JSON schema of the config file
#[derive(Debug, Args)]
pub(super) struct PrintSchema {
    /// Print the config reference instead, in Markdown
    #[arg(long)]
    reference: bool,
}

impl PrintSchema {
    pub(super) fn run(self) -> anyhow::Result<()> {
        out::print(if self.reference { reference::markdown() } else { schema::schema_text() })
    }
}
