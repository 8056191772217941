//! Workers behind a name that has several addresses.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::config::{BaseUrl, Worker};

/// For one lookup.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One name, looked up now and then.
pub(super) struct DnsName {
    /// What its workers are like.
    entry: Worker,
    /// Whether the entry has a name of its own.
    named: bool,
    /// At the last look.
    addresses: BTreeSet<SocketAddr>,
    /// Those that the last look lacked for the first time.
    missed: BTreeSet<SocketAddr>,
    trouble: Option<String>,
}

impl DnsName {
    pub(super) fn new(entry: Worker) -> Self {
        let named = *entry.name != *entry.url.authority();
        Self { entry, named, addresses: BTreeSet::new(), missed: BTreeSet::new(), trouble: None }
    }

    /// Its workers, if they are others than before.
    pub(super) async fn look(&mut self) -> Option<Vec<Worker>> {
        let name = (self.entry.url.host().to_owned(), self.entry.url.port());
        let found = match timeout(TIMEOUT, tokio::net::lookup_host(name)).await {
            Ok(found) => found.map(Iterator::collect),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        self.found(found)
    }

    /// What a lookup found. One that fails, or finds nothing, says nothing of the workers.
    fn found(&mut self, found: io::Result<BTreeSet<SocketAddr>>) -> Option<Vec<Worker>> {
        let found = match found {
            Ok(found) if !found.is_empty() => found,
            Ok(_) => return self.complain("no address"),
            Err(error) => return self.complain(&error.to_string()),
        };
        self.trouble = None;
        // Some servers answer with a part of what there is.
        let missed: BTreeSet<_> = self.addresses.difference(&found).copied().collect();
        let kept = missed.difference(&self.missed).copied();
        let addresses: BTreeSet<_> = found.iter().copied().chain(kept).collect();
        self.missed = missed;
        if addresses == self.addresses {
            return None;
        }
        self.addresses = addresses;
        Some(self.addresses.iter().map(|address| self.worker(*address)).collect())
    }

    fn worker(&self, address: SocketAddr) -> Worker {
        let url = BaseUrl::at(address);
        let name: Arc<str> = if self.named {
            format!("{}-{}", self.entry.name, url.authority()).into()
        } else {
            url.authority().into()
        };
        Worker { name, url, ..self.entry.clone() }
    }

    fn complain(&mut self, trouble: &str) -> Option<Vec<Worker>> {
        if self.trouble.as_deref() != Some(trouble) {
            let host = self.entry.url.host();
            tracing::warn!(host, error = trouble, "lookup of workers: nothing changed");
            self.trouble = Some(trouble.to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(json: &str) -> DnsName {
        DnsName::new(crate::config::parse_worker(json.as_bytes()).unwrap())
    }

    fn addresses(texts: &[&str]) -> io::Result<BTreeSet<SocketAddr>> {
        Ok(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn names(workers: Option<Vec<Worker>>) -> Option<Vec<String>> {
        workers.map(|workers| workers.iter().map(|worker| worker.name.to_string()).collect())
    }

    const A: &str = "10.0.0.1:8000";
    const B: &str = "10.0.0.2:8000";
    const C: &str = "[fd00::3]:8000";

    #[test]
    fn every_address_is_a_worker_like_the_entry() {
        let mut dns = name(r#"{"url":"http://vllm.local:8000","engine":"vllm","ranks":4}"#);
        let workers = dns.found(addresses(&[B, A, C])).unwrap();
        let shown: Vec<_> =
            workers.iter().map(|worker| (worker.name.to_string(), worker.url.authority())).collect();
        assert_eq!(shown, [A, B, C].map(|address| (address.to_owned(), address.to_owned())));
        assert!(workers.iter().all(|worker| worker.ranks.is_some_and(|ranks| ranks.get() == 4)));
        let mut dns = name(r#"{"url":"http://vllm.local:8000","name":"blue"}"#);
        assert_eq!(names(dns.found(addresses(&[A]))), Some(vec![format!("blue-{A}")]));
    }

    #[test]
    fn an_address_is_gone_when_two_lookups_lack_it() {
        let mut dns = name(r#"{"url":"http://vllm.local:8000"}"#);
        assert_eq!(names(dns.found(addresses(&[A, B]))), Some(vec![A.to_owned(), B.to_owned()]));
        assert_eq!(names(dns.found(addresses(&[A, B]))), None);
        assert_eq!(names(dns.found(addresses(&[A]))), None, "once may be chance");
        assert_eq!(names(dns.found(addresses(&[A, B]))), None);
        assert_eq!(names(dns.found(addresses(&[A]))), None);
        assert_eq!(names(dns.found(addresses(&[A]))), Some(vec![A.to_owned()]));
        assert_eq!(
            names(dns.found(addresses(&[B]))),
            Some(vec![A.to_owned(), B.to_owned()]),
            "a new one at once"
        );
        assert_eq!(names(dns.found(addresses(&[B]))), Some(vec![B.to_owned()]));
    }

    #[test]
    fn a_lookup_that_fails_changes_nothing() {
        let mut dns = name(r#"{"url":"http://vllm.local:8000"}"#);
        assert!(dns.found(addresses(&[A])).is_some());
        for _ in 0..3 {
            assert!(dns.found(Err(io::ErrorKind::NotFound.into())).is_none());
            assert!(dns.found(addresses(&[])).is_none());
        }
        assert_eq!(names(dns.found(addresses(&[A]))), None);
    }
}
