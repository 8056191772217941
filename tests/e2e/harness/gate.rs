//! A port in front of another, which can be shut while what is behind goes on.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Carries connections to a server until it is shut; then they are refused, and those that exist are cut.
pub struct Gate {
    address: SocketAddr,
    behind: SocketAddr,
    tasks: JoinSet<()>,
    full: Option<Full>,
}

/// A listener that takes nobody, and whoever fills its queue.
struct Full {
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

/// Longer than the system takes to connect to a queue with room.
const QUEUED: Duration = Duration::from_millis(500);

impl Gate {
    /// An open one.
    pub async fn before(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut gate = Self { address, behind, tasks: JoinSet::new(), full: None };
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

    /// Answers nobody from now on, as a host that is gone without a word: whoever connects waits in vain. Connections that exist are cut.
    pub async fn swallow(&mut self) {
        self.shut().await;
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        socket.bind(self.address).expect("the same port");
        let listener = socket.listen(0).expect("a listener");
        let mut waiting = Vec::new();
        // What connects when the queue is full is not even refused.
        while let Ok(queued) = timeout(QUEUED, TcpStream::connect(self.address)).await {
            waiting.push(queued.expect("a place in the queue"));
        }
        self.full = Some(Full { _listener: listener, _waiting: waiting });
    }

    /// Carries connections to another server from now on, on the same port. Those that exist are cut.
    pub async fn lead_to(&mut self, behind: SocketAddr) {
        self.shut().await;
        self.behind = behind;
        self.open().await;
    }

    /// Takes connections again, on the same port.
    pub async fn open(&mut self) {
        self.full = None;
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
