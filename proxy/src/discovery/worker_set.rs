//! Who names workers: the config, the admin API, a file, DNS. Each names all that it knows at once, as a set.
//!
//! That is all there is between a source and the rest: a watch of Kubernetes' EndpointSlices would be a variant of [`Source`] and a task
//! beside those of `sources` that makes a [`config::Worker`](crate::config::Worker) of each ready endpoint, its template from the config as
//! for DNS, and hands the whole list to [`Roster::apply`](super::Roster::apply) whenever it changes. What is new, described otherwise or gone,
//! who waits for whom and what drains is found there, from one list to the next, so events that are missed or come twice do no harm.

use crate::config::Worker;

/// Who names a worker. What one names, no other takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The config's own list.
    Config,
    /// The admin API.
    Admin,
    /// The file that the config names.
    File,
    /// One of the names that the config has looked up, by its place there.
    Dns(usize),
}

impl Source {
    /// The name in the admin API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Admin => "admin",
            Self::File => "file",
            Self::Dns(_) => "dns",
        }
    }
}

/// All workers that a source names now.
#[derive(Clone, Debug)]
pub struct WorkerSet {
    /// Who names them.
    pub source: Source,
    /// As the config would.
    pub workers: Vec<Worker>,
}
