//! Where a worker listens, and the listeners there.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use crate::EngineWire;
use crate::error::SimError;
use crate::spec::FleetSpec;

/// How long a restarted worker tries to get its ports back.
const REBIND_ATTEMPTS: u32 = 200;
pub(super) const REBIND_PAUSE: Duration = Duration::from_millis(10);

/// A worker's ports; 0 before its first start if any will do.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    pub(super) http: u16,
    /// Per rank.
    pub(super) events: Vec<u16>,
    /// Per rank.
    pub(super) replays: Vec<u16>,
    /// Per rank; empty where load is not published.
    pub(super) loads: Vec<u16>,
}

/// The listeners of one rank.
pub(super) struct RankListeners {
    pub(super) events: TcpListener,
    pub(super) replay: TcpListener,
    pub(super) load: Option<TcpListener>,
}

impl Ports {
    /// Those of the worker `index`, as far as the spec says.
    pub(super) fn of(spec: &FleetSpec, index: usize) -> Self {
        let first = spec.ports.map(|first| usize::from(first) + index * spec.ports_per_worker());
        // In range: the spec was checked.
        let port = |at: usize| first.map_or(0, |first| (first + at) as u16);
        Self {
            http: port(0),
            events: (0..spec.ranks).map(|rank| port(1 + rank)).collect(),
            replays: (0..spec.ranks).map(|rank| port(1 + spec.ranks + rank)).collect(),
            loads: (0..if spec.publishes_load() { spec.ranks } else { 0 })
                .map(|rank| port(1 + 2 * spec.ranks + rank))
                .collect(),
        }
    }

    pub(super) async fn listen_http(&mut self, what: &str) -> Result<TcpListener, SimError> {
        listen_again(&mut self.http, what).await
    }

    /// A rank's listeners, where it had them before.
    pub(super) async fn listen_rank(&mut self, rank: usize, what: &str) -> Result<RankListeners, SimError> {
        Ok(RankListeners {
            events: listen_again(&mut self.events[rank], what).await?,
            replay: listen_again(&mut self.replays[rank], what).await?,
            load: match self.loads.get_mut(rank) {
                Some(port) => Some(listen_again(port, what).await?),
                None => None,
            },
        })
    }

    /// Per rank its listeners.
    pub(super) async fn listen_events(
        &mut self,
        engine: EngineWire,
        what: &str,
    ) -> Result<Vec<RankListeners>, SimError> {
        let ranks = self.events.len();
        if engine != EngineWire::Vllm && self.events.contains(&0) {
            // They tell the first port of each kind: the others follow.
            let (mut events, first) = listen_in_a_row(2 * ranks + self.loads.len(), what)?;
            let all = self.events.iter_mut().chain(&mut self.replays).chain(&mut self.loads);
            all.zip(first..).for_each(|(port, number)| *port = number);
            let mut replays = events.split_off(ranks);
            let mut loads = replays.split_off(ranks).into_iter();
            let listeners = events.into_iter().zip(replays);
            return Ok(listeners
                .map(|(events, replay)| RankListeners { events, replay, load: loads.next() })
                .collect());
        }
        let mut listeners = Vec::with_capacity(ranks);
        for rank in 0..ranks {
            listeners.push(self.listen_rank(rank, what).await?);
        }
        Ok(listeners)
    }
}

/// Listens on a port, waiting for a socket of a former life to let go of it; port 0 becomes the one that was free.
async fn listen_again(port: &mut u16, what: &str) -> Result<std::net::TcpListener, SimError> {
    let mut attempts = 0;
    loop {
        match listen(*port, what) {
            Ok((listener, bound)) => {
                *port = bound;
                return Ok(listener);
            }
            Err(_) if attempts < REBIND_ATTEMPTS => {
                attempts += 1;
                tokio::time::sleep(REBIND_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Listens on loopback; port 0 takes a free one. Returns the port.
fn listen(port: u16, what: &str) -> Result<(TcpListener, u16), SimError> {
    let failed = |source| SimError::Io { what: format!("{what}: listen on port {port}"), source };
    // The standard library sets SO_REUSEADDR, so a restarted worker gets its port back.
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((listener, port))
}

/// Listens on so many ports that follow each other, and are free. Returns the first.
///
/// Below those that Linux gives to connections: among these a row is rarely free while much is connected.
fn listen_in_a_row(count: usize, what: &str) -> Result<(Vec<TcpListener>, u16), SimError> {
    const PORTS: std::ops::Range<u64> = 10_000..32_000;
    const ATTEMPTS: u64 = 100;
    // Somewhere else in every process and every time.
    let random = RandomState::new();
    let mut attempt = 0;
    loop {
        let first = PORTS.start + random.hash_one(attempt) % (PORTS.end - PORTS.start);
        let ports = (first..).take(count).map(|port| u16::try_from(port).unwrap_or(u16::MAX));
        match ports.map(|port| Ok(listen(port, what)?.0)).collect() {
            Ok(row) => return Ok((row, first as u16)),
            Err(_) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}
