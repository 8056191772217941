//! Why a component is not taken. Shown to whoever brought it.

use crate::failure::PolicyFailure;

/// What stops a policy from being compiled or activated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The compiler or its memory pool cannot be set up.
    #[error("policy host: {0}")]
    Setup(String),
    /// This policy is not taken, and nothing changed.
    #[error("policy {policy}: {refusal}")]
    Refused {
        /// Its name.
        policy: String,
        /// Why.
        refusal: Refusal,
    },
}

/// Why a policy is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Longer than the limit.
    #[error("{bytes} bytes, and at most {max} are taken")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Something else than WebAssembly in binary form: what it looks like.
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// A core module.
    #[error("is a core module, not a component")]
    CoreModule,
    /// A component that is malformed or that needs what is switched off.
    #[error("does not compile: {0}")]
    Compile(String),
    /// It wants something from the host: the names.
    #[error("imports {}: a policy may import nothing", .0.join(", "))]
    Imports(Vec<String>),
    /// An export of the world is missing.
    #[error("exports no {wanted} (it exports {})", list(.found))]
    Export {
        /// What is missing.
        wanted: String,
        /// What is there instead.
        found: Vec<String>,
    },
    /// Its exports have the right names and other types.
    #[error("does not fit rankwise:policy@0.1.0: {0}")]
    Types(String),
    /// No instance could be made.
    #[error("instantiate: {0}")]
    Instantiate(PolicyFailure),
    /// `configure` failed or refused the settings.
    #[error("configure: {0}")]
    Configure(PolicyFailure),
    /// It asks for what it cannot have.
    #[error("needs: {0}")]
    Needs(String),
    /// Its first picks failed.
    #[error("smoke pick: {0}")]
    Smoke(PolicyFailure),
}

impl Refusal {
    pub(crate) fn of(self, policy: &str) -> HostError {
        HostError::Refused { policy: policy.to_owned(), refusal: self }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
