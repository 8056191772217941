//! From the document as written to what the proxy runs on.

mod names;
mod pool;
mod worker;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::decisions::Decisions;
use super::file;
use super::located::{Located, Position};
use super::resolved::{Admin, Config, Listener, PolicySource, Shutdown, Status};
use super::value::Address;

/// Most pools of one config.
pub const POOLS_MAX: usize = 64;

/// Most threads: what hands out connections is written for tens.
const THREADS_MAX: usize = 512;

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) at: Position,
    pub(super) message: String,
}

impl Problem {
    fn new(at: Position, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// The place of what the document as a whole lacks.
const DOCUMENT: Position = Position { line: 1, column: 1 };

/// Fills in the defaults and checks what one field alone does not show. Relative paths start from `folder`.
pub(super) fn resolve(document: file::Document, folder: &Path) -> Result<Config, Problem> {
    let file::Document { listeners, status, admin, pools, limits, policy_host, .. } = document;
    let paths = Paths { folder };
    check_addresses(&listeners, &status, &admin)?;
    if limits.index.pending_grace_min > limits.index.pending_grace_max {
        return Err(Problem::new(
            DOCUMENT,
            "limits.index: pending_grace_min is longer than pending_grace_max",
        ));
    }
    if limits.request.body_bytes_max > limits.request.bodies_bytes_max {
        return Err(Problem::new(DOCUMENT, "limits.request: body_bytes_max is larger than bodies_bytes_max"));
    }
    let pools = pool::resolve(pools, &limits, &paths)?;
    if document.state_dir.is_none()
        && let Some(pool) = pools.iter().find(|pool| pool.policy.source == PolicySource::Kept)
    {
        let message =
            format!("pool {}: policy.digest alone: expected `state_dir`, where it is kept", pool.name);
        return Err(Problem::new(DOCUMENT, message));
    }
    Ok(Config {
        listeners: listeners
            .into_iter()
            .map(|listener| {
                no_tls("listeners", listener.tls.as_ref())?;
                Ok(Listener { address: listener.address.0, trust_pins: listener.trust_pins })
            })
            .collect::<Result<_, Problem>>()?,
        status: Status { address: status.address.0 },
        admin: resolve_admin(admin)?,
        pools,
        limits,
        policy_host,
        decisions: resolve_decisions(document.decisions, &paths)?,
        access_log: document.access_log,
        expose_decision: document.expose_decision,
        threads: resolve_threads(document.threads)?,
        shutdown: Shutdown { drain_timeout: document.shutdown.drain_timeout },
        state_dir: document.state_dir.map(|folder| paths.in_folder(&folder)),
    })
}

fn check_addresses(
    listeners: &[file::Listener],
    status: &file::Status,
    admin: &file::Admin,
) -> Result<(), Problem> {
    if listeners.is_empty() {
        return Err(Problem::new(DOCUMENT, "listeners: expected at least one"));
    }
    let named = listeners
        .iter()
        .enumerate()
        .map(|(index, listener)| (format!("listeners[{index}].address"), listener.address))
        .chain([("status.address".to_owned(), status.address), ("admin.address".to_owned(), admin.address)]);
    let mut seen: Vec<(String, Located<Address>)> = Vec::new();
    for (name, address) in named {
        let same = |other: SocketAddr| other == address.0 && other.port() != 0;
        if let Some((other, earlier)) = seen.iter().find(|(_, other)| same(other.0)) {
            // A default has no place: then the other of the two was written.
            let at = if address.at.line == 0 { earlier.at } else { address.at };
            return Err(Problem::new(
                at,
                format!("{name}: {} is also {other}: expected another port", address.0),
            ));
        }
        seen.push((name, address));
    }
    Ok(())
}

fn resolve_admin(admin: file::Admin) -> Result<Admin, Problem> {
    no_tls("admin", admin.tls.as_ref())?;
    let address = admin.address.0;
    if !address.ip().is_loopback() {
        return Err(Problem::new(
            admin.address.at,
            format!("admin.address: {address} is not a loopback address: expected 127.0.0.1 or [::1]"),
        ));
    }
    Ok(Admin { address, token: admin.token })
}

/// Better no proxy than one that speaks plain text where TLS was asked for.
fn no_tls(what: &str, tls: Option<&file::Tls>) -> Result<(), Problem> {
    match tls {
        Some(tls) => Err(Problem::new(tls.certificate.at, format!("{what}.tls: TLS is not supported yet"))),
        None => Ok(()),
    }
}

fn resolve_decisions(mut decisions: Decisions, paths: &Paths<'_>) -> Result<Decisions, Problem> {
    if decisions.sample_permille > 1000 {
        let message = format!(
            "decisions.sample_permille: {} is too many: expected at most 1000",
            decisions.sample_permille
        );
        return Err(Problem::new(DOCUMENT, message));
    }
    if let Some(recording) = &mut decisions.recording {
        recording.folder = paths.in_folder(&recording.folder);
    }
    Ok(decisions)
}

fn resolve_threads(threads: Option<Located<NonZeroUsize>>) -> Result<NonZeroUsize, Problem> {
    match threads {
        None => Ok(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)),
        Some(threads) if threads.get() > THREADS_MAX => Err(Problem::new(
            threads.at,
            format!("threads: {} is too many: expected at most {THREADS_MAX}", threads.value),
        )),
        Some(threads) => Ok(threads.value),
    }
}

/// Paths of the document, as seen from where it stands.
struct Paths<'a> {
    folder: &'a Path,
}

impl Paths<'_> {
    fn in_folder(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    fn file(&self, what: &str, path: &Located<PathBuf>) -> Result<PathBuf, Problem> {
        let full = self.in_folder(path);
        match std::fs::metadata(&full) {
            Ok(metadata) if metadata.is_file() => Ok(full),
            Ok(_) => Err(Problem::new(path.at, format!("{what}: {} is not a file", full.display()))),
            Err(error) => {
                Err(Problem::new(path.at, format!("{what}: {}: {}", full.display(), in_words(&error))))
            }
        }
    }
}

/// The same words on every system, where there are some.
fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
