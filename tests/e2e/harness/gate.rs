//! A port in front of another, which can be shut while what is behind goes on.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Carries connections to a server until it is shut; then they are refused, and those that exist are cut.
pub struct Gate {
    address: SocketAddr,
    behind: SocketAddr,
    tasks: JoinSet<()>,
}

impl Gate {
    /// An open one.
    pub async fn before(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut gate = Self { address, behind, tasks: JoinSet::new() };
        gate.carry(listener);
        gate
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses from now on.
    pub async fn shut(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Carries connections to another server from now on, on the same port. Those that exist are cut.
    pub async fn lead_to(&mut self, behind: SocketAddr) {
        self.shut().await;
        self.behind = behind;
        self.open().await;
    }

    /// Takes connections again, on the same port.
    pub async fn open(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the same port");
        self.carry(listener);
    }

    fn carry(&mut self, listener: TcpListener) {
        let behind = self.behind;
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut outer, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut inner) = TcpStream::connect(behind).await {
                        // Either side may break off: that is what gates are for.
                        let _ = copy_bidirectional(&mut outer, &mut inner).await;
                    }
                });
            }
        });
    }
}
