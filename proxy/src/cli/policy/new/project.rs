//! What a new project consists of. The SDK goes along as source, so that the project needs nothing of this repository and
//! fits the proxy that made it.

use super::Language;

/// A file of the project.
#[derive(Clone, Copy)]
pub(super) struct File {
    /// Where, from the project's folder.
    pub(super) path: &'static str,
    /// Its text, with the name still to be filled in.
    pub(super) text: &'static str,
    /// Whether it is run.
    pub(super) executable: bool,
}

macro_rules! template {
    ($language:literal, $path:literal) => {
        template!($language, $path, false)
    };
    ($language:literal, $path:literal, $executable:literal) => {
        File {
            path: $path,
            text: include_str!(concat!("../../../../../policies/templates/", $language, "/", $path)),
            executable: $executable,
        }
    };
}

macro_rules! sdk {
    ($path:literal) => {
        File {
            path: concat!("vendor/rankwise-policy/", $path),
            text: include_str!(concat!("../../../../../policies/sdk/", $path)),
            executable: false,
        }
    };
}

/// The interface, in every project.
const WIT: File =
    File { path: "wit/policy.wit", text: include_str!("../../../../../wit/policy.wit"), executable: false };

const RUST: &[File] = &[
    template!("rust", "README.md"),
    template!("rust", "Cargo.toml"),
    template!("rust", ".gitignore"),
    template!("rust", "build", true),
    template!("rust", "src/lib.rs"),
    template!("rust", "src/tests.rs"),
    template!("rust", "vendor/rankwise-policy/Cargo.toml"),
    sdk!("src/candidates.rs"),
    sdk!("src/column.rs"),
    sdk!("src/component.rs"),
    sdk!("src/component/allocator.rs"),
    sdk!("src/costs.rs"),
    sdk!("src/decision.rs"),
    sdk!("src/draw.rs"),
    sdk!("src/lanes.rs"),
    sdk!("src/lib.rs"),
    sdk!("src/load_bound.rs"),
    sdk!("src/pin.rs"),
    sdk!("src/policy.rs"),
    sdk!("src/ranks.rs"),
    sdk!("src/ranks/builder.rs"),
    sdk!("src/rendezvous.rs"),
    sdk!("src/request.rs"),
    sdk!("src/settings.rs"),
    sdk!("src/settings/error.rs"),
    sdk!("src/settings/json.rs"),
    sdk!("src/testing.rs"),
    WIT,
];

const JAVASCRIPT: &[File] = &[
    template!("javascript", "README.md"),
    template!("javascript", "package.json"),
    template!("javascript", ".gitignore"),
    template!("javascript", "build.js"),
    template!("javascript", "policy.js"),
    template!("javascript", "policy.test.js"),
    WIT,
];

const PYTHON: &[File] = &[
    template!("python", "README.md"),
    template!("python", "requirements.txt"),
    template!("python", ".gitignore"),
    template!("python", "build", true),
    template!("python", "app.py"),
    template!("python", "policy.py"),
    template!("python", "test_policy.py"),
    WIT,
];

/// The files of a project in this language.
pub(super) fn files(language: Language) -> &'static [File] {
    match language {
        Language::Rust => RUST,
        Language::Js => JAVASCRIPT,
        Language::Python => PYTHON,
    }
}

/// A template with the policy's name in it.
pub(super) fn filled_in(text: &str, name: &str) -> String {
    let in_code = name.replace('-', "_");
    text.replace("{{name}}", name)
        .replace("{{crate}}", &in_code)
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
}
