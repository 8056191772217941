//! `rankwise policy push`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use http::Method;

use super::admin::{Admin, By, encoded};

/// Upload a component; nothing changes until it is activated
#[derive(Debug, Args)]
pub(in crate::cli) struct Push {
    /// The component, a .wasm file
    file: PathBuf,
    /// What it is called there; default: the file's name without extension
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    admin: Admin,
}

impl Push {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let wasm = std::fs::read(&self.file).with_context(|| self.file.display().to_string())?;
        let stem = self.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = self.name.or(stem).unwrap_or_default();
        let mut path = format!("/v1/policies?name={}", encoded(&name));
        for (key, text) in [("who", &self.by.who), ("reason", &self.by.reason)] {
            if let Some(text) = text {
                path += &format!("&{key}={}", encoded(text));
            }
        }
        let answer = self.admin.ask(Method::POST, &path, wasm)?;
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        self.admin.print(&answer, &format!("{} sha256:{}", text("policy"), text("digest")))
    }
}
