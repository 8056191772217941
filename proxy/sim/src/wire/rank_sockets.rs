//! A rank's sockets: open while the rank lives.

use std::sync::Arc;

use bytes::Bytes;
use zeromq::{PubSocket, RouterSocket};

use super::faults::Active;
use super::load_publisher;
use super::ports::RankListeners;
use super::sockets;
use super::worker::Worker;
use crate::error::SimError;

/// The sockets of one rank.
pub(super) struct RankSockets {
    worker: Arc<Worker>,
    rank: usize,
    publisher: PubSocket,
    replayer: RouterSocket,
    load: Option<PubSocket>,
}

impl RankSockets {
    pub(super) async fn open(
        worker: &Arc<Worker>,
        rank: usize,
        listeners: RankListeners,
    ) -> Result<Self, SimError> {
        let what = what(worker, rank);
        Ok(Self {
            worker: Arc::clone(worker),
            rank,
            publisher: sockets::publisher(listeners.events, &what).await?,
            replayer: sockets::replayer(listeners.replay, &what).await?,
            load: match listeners.load {
                Some(load) => Some(sockets::publisher(load, &what).await?),
                None => None,
            },
        })
    }

    /// Sends what there is to send, and answers. Closed while the rank is dead, open again on the same ports after that.
    pub(super) async fn keep(self) {
        let (worker, rank) = (Arc::clone(&self.worker), self.rank);
        let mut faults = worker.faults.watch();
        let is_dead = |active: &Active| active.is_gone(rank);
        let mut open = self;
        loop {
            tokio::select! {
                () = open.serve() => return,
                () = async { drop(faults.wait_for(is_dead).await) } => {}
            }
            if faults.wait_for(|active| !is_dead(active)).await.is_err() {
                return;
            }
            open = match Self::reopen(&worker, rank).await {
                Ok(sockets) => sockets,
                Err(error) => {
                    tracing::warn!(%error, "event sockets not opened again");
                    return;
                }
            };
        }
    }

    async fn reopen(worker: &Arc<Worker>, rank: usize) -> Result<Self, SimError> {
        let listeners = worker.ports().listen_rank(rank, &what(worker, rank)).await?;
        Self::open(worker, rank, listeners).await
    }

    async fn serve(self) {
        let Some(feed) = self.worker.feeds.get(self.rank) else { return };
        let topic = Bytes::from(self.worker.site.spec.topic.clone());
        let faults = Arc::clone(&self.worker.faults);
        let tell_load = async {
            if let Some(socket) = self.load {
                load_publisher::publish(socket, Arc::clone(&self.worker), self.rank).await;
            }
        };
        tokio::join!(
            sockets::publish(self.publisher, feed.connect(), Arc::clone(&faults), topic.clone()),
            sockets::replay(self.replayer, Arc::clone(feed), faults, topic),
            tell_load,
        );
    }
}

fn what(worker: &Worker, rank: usize) -> String {
    format!("worker {} rank {rank}", worker.site.index)
}
