//! The document as written. The rustdoc of each field is its entry in the JSON schema and in the reference.

mod pool;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decisions::Decisions;
use super::host::PolicyHost;
use super::limits::Limits;
use super::located::Located;
use super::named::AccessLog;
use super::value::{Address, Secret, duration};

pub use pool::{
    Discovery, EventSource, Policy, Pool, PoolLimits, Responses, Room, Sessions, Worker, WorkersFile,
};

/// The configuration of rankwise. Relative paths are relative to the folder of the file they are written in.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "rankwise configuration")]
pub struct Document {
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// Where `/healthz`, `/readyz` and `/metrics` are served: read only, so that anyone may scrape it.
    pub status: Status,
    /// Where the admin API is served.
    pub admin: Admin,
    /// Which workers serve which models, and what chooses among them. At least one.
    pub pools: Vec<Located<Pool>>,
    /// Bounds and times.
    pub limits: Limits,
    /// Bounds of the policies' host.
    pub policy_host: PolicyHost,
    /// What is kept of decisions.
    pub decisions: Decisions,
    /// Whether each request leaves a line: `off`, or `stderr` for a JSON object.
    pub access_log: AccessLog,
    /// Whether replies say which worker and rank served them, by which policy and with what overlap. Overlap tells a
    /// tenant what others have cached.
    pub expose_decision: bool,
    /// Threads that serve requests. Default: one per core.
    pub threads: Option<Located<NonZeroUsize>>,
    /// How the proxy ends.
    pub shutdown: Shutdown,
    /// Folder, made if need be and readable by nobody else, that keeps uploaded policies and what was activated over the
    /// admin API. What was activated so is in force again after a restart, until the pool's `policy` entry or the file
    /// that it names changes. What the KV index knows is kept there too, with the secret that its hashes are made with.
    /// Default: nothing is kept.
    pub state_dir: Option<PathBuf>,
}

impl Default for Document {
    fn default() -> Self {
        Self {
            listeners: vec![Listener::default()],
            status: Status::default(),
            admin: Admin::default(),
            pools: Vec::new(),
            limits: Limits::default(),
            policy_host: PolicyHost::default(),
            decisions: Decisions::default(),
            access_log: AccessLog::default(),
            expose_decision: false,
            threads: None,
            shutdown: Shutdown::default(),
            state_dir: None,
        }
    }
}

fn local(port: u16) -> Located<Address> {
    Located::nowhere(Address((std::net::Ipv4Addr::LOCALHOST, port).into()))
}

/// A place where clients connect, HTTP/1.1 and HTTP/2.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// IP and port.
    pub address: Located<Address>,
    /// Not supported yet: refused.
    pub tls: Option<Tls>,
    /// Whether clients are trusted to choose. If so, `x-rankwise-worker`, and with it `x-rankwise-dp-rank`, are obeyed in
    /// place of the policy, or answered 4xx; if not, they are ignored.
    pub trust_pins: bool,
}

impl Default for Listener {
    fn default() -> Self {
        Self { address: local(8080), tls: None, trust_pins: false }
    }
}

/// A certificate and its key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file: the certificate, then its intermediates.
    pub certificate: Located<PathBuf>,
    /// PEM file: the private key.
    pub key: Located<PathBuf>,
}

/// The status listener.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Status {
    /// IP and port.
    pub address: Located<Address>,
}

impl Default for Status {
    fn default() -> Self {
        Self { address: local(9090) }
    }
}

/// The admin listener.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// IP and port, on a loopback address: TLS, without which it must not be elsewhere, is not supported yet.
    pub address: Located<Address>,
    /// What a caller must present as `Authorization: Bearer`. Default: nothing.
    pub token: Option<Secret>,
    /// Not supported yet: refused.
    pub tls: Option<Tls>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: local(9091), token: None, tls: None }
    }
}

/// How the proxy ends.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// Time that requests in flight have to end after the first signal. Then, or at the second signal, they are cut.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub drain_timeout: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { drain_timeout: Duration::from_secs(30) }
    }
}
