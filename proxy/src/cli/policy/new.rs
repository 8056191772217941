//! `rankwise policy new`.

mod project;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::cli::failure::UsageError;
use crate::cli::out;

/// Begin a policy: a folder with the source of one that works, its test, and how it is built
#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// Its name: lower-case letters, digits and -, beginning with a letter
    name: String,
    /// What it is written in
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
    /// The folder that it is made in; it may not exist yet. Default: NAME
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
}

/// What a policy may be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// Rust, with the SDK: the fastest
    Rust,
    /// JavaScript, with componentize-js
    Js,
    /// Python, with componentize-py
    Python,
}

const NAME_BYTES_MAX: usize = 64;

impl New {
    pub(super) fn run(self) -> anyhow::Result<()> {
        checked(&self.name).map_err(UsageError)?;
        let folder = self.path.unwrap_or_else(|| PathBuf::from(&self.name));
        write(&folder, &self.name, self.lang)?;
        let steps = match self.lang {
            Language::Rust => "cargo test, then ./build",
            Language::Js => "npm install, npm test, then npm run build",
            Language::Python => "python -m unittest, then ./build",
        };
        out::line(format_args!("{}: {steps}; README.md says more", folder.display()))
    }
}

fn checked(name: &str) -> Result<(), String> {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fine = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(known)
        && !name.ends_with('-')
        && name.len() <= NAME_BYTES_MAX;
    if fine {
        return Ok(());
    }
    Err(format!(
        "name `{name}`: expected lower-case letters, digits and -, beginning with a letter, at most {NAME_BYTES_MAX}"
    ))
}

/// Writes the project into a folder that is not there yet.
fn write(folder: &Path, name: &str, language: Language) -> anyhow::Result<()> {
    let shown = || folder.display().to_string();
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent).with_context(shown)?;
    }
    std::fs::create_dir(folder).with_context(shown)?;
    for file in project::files(language) {
        let path = folder.join(file.path);
        let shown = || path.display().to_string();
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(shown)?;
        }
        std::fs::write(&path, project::filled_in(file.text, name)).with_context(shown)?;
        if file.executable {
            executable(&path).with_context(shown)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests;
