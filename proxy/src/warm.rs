//! Warm restart: what the index knows of each rank, kept in `state_dir` for the next process.
//!
//! A rank is kept together with its feed's checkpoint, and brought back only once the rank's engine has shown that it still has
//! the message of that checkpoint: then all that is missing is what came behind it. Hashes mean something only under the
//! process's key, so that is kept as well, in the same private file.

mod file;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rankwise_core::hash::HashKey;
use rankwise_core::image::Image;
use rankwise_core::state::RoutingState;
use rankwise_engines::feed::Checkpoint;

pub use file::{FileError, RankRecord, WarmFile};

use crate::policies::{StateDir, StateError};
use crate::workers::Workers;
use file::Writer;

/// What an earlier process knew, until its ranks are found again; and where this one keeps what it knows.
#[derive(Debug)]
pub struct WarmIndex {
    state_dir: Option<Arc<StateDir>>,
    secret: [u8; 32],
    /// By pool, worker and rank.
    kept: Mutex<HashMap<(String, String, u32), RankRecord>>,
    /// One save at a time.
    saving: Mutex<()>,
}

/// What was kept of one rank.
#[derive(Debug)]
pub struct Kept {
    /// Where its feed stood.
    pub checkpoint: Checkpoint,
    /// What it held then.
    pub image: Image,
}

/// A pool, as far as it is kept.
pub struct Keepable<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its workers, whose ranks know where their feeds stand.
    pub workers: &'a Workers,
    /// What their ranks hold.
    pub state: &'a RoutingState,
}

impl WarmIndex {
    /// With what an earlier process has kept, or else with `secret`. A file larger than `bytes_max`, or that this version did not
    /// write, or not to its end, is ignored, which the log says.
    pub fn open(state_dir: Option<Arc<StateDir>>, secret: [u8; 32], bytes_max: u64) -> Self {
        let kept = state_dir.as_ref().and_then(|folder| match folder.index(bytes_max) {
            Ok(None) => None,
            Ok(Some((path, bytes))) => match WarmFile::decode(&bytes) {
                Ok(file) => {
                    tracing::info!(file = %path.display(), ranks = file.ranks.len(), "the index of an earlier process is there");
                    Some(file)
                }
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "ignored in state_dir: the index begins empty");
                    None
                }
            },
            Err(error) => {
                tracing::warn!(%error, "ignored in state_dir: the index begins empty");
                None
            }
        });
        let WarmFile { secret, ranks } = kept.unwrap_or(WarmFile { secret, ranks: Vec::new() });
        let kept = ranks.into_iter().map(|rank| ((rank.pool.clone(), rank.worker.clone(), rank.rank), rank));
        Self { state_dir, secret, kept: Mutex::new(kept.collect()), saving: Mutex::new(()) }
    }

    /// The key of all hashes of this process.
    pub fn key(&self) -> HashKey {
        HashKey::new(self.secret)
    }

    /// Whether anything is kept at all.
    pub fn is_on(&self) -> bool {
        self.state_dir.is_some()
    }

    /// What was kept of a rank; once.
    pub fn take(&self, pool: &str, worker: &str, rank: u32) -> Option<Kept> {
        let record = self.kept.lock().remove(&(pool.to_owned(), worker.to_owned(), rank))?;
        match Image::decode(&record.image) {
            Ok(image) => Some(Kept { checkpoint: record.checkpoint, image }),
            Err(error) => {
                tracing::warn!(pool, worker, rank, %error, "what was kept of a rank is ignored");
                None
            }
        }
    }

    /// Keeps what is known of every rank now. What an earlier process kept of ranks that have not shown up is forgotten. Reads and
    /// writes files.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save<'a>(&self, pools: impl Iterator<Item = Keepable<'a>>) -> Result<(), StateError> {
        let Some(state_dir) = &self.state_dir else { return Ok(()) };
        let _one = self.saving.lock();
        *self.kept.lock() = HashMap::new();
        let mut ranks = 0;
        state_dir.keep_index(|out| {
            let mut writer = Writer::new(out, &self.secret)?;
            for pool in pools {
                ranks += save_pool(&pool, &mut writer)?;
            }
            writer.finish()
        })?;
        tracing::debug!(ranks, "the index is kept");
        Ok(())
    }
}

fn save_pool(pool: &Keepable<'_>, writer: &mut Writer<'_>) -> io::Result<usize> {
    let mut saved = 0;
    for worker in pool.workers.current().iter() {
        for rank in &worker.ranks {
            let Some(position) = &rank.position else { continue };
            // The rank's feed waits meanwhile, so that both are of one moment.
            let taken = position.with(|checkpoint| {
                checkpoint.and_then(|checkpoint| Some((checkpoint, pool.state.image(rank.target.id)?)))
            });
            let Some((checkpoint, image)) = taken else { continue };
            let mut bytes = Vec::new();
            image.encode(&mut bytes);
            writer.rank(&RankRecord {
                pool: pool.name.to_owned(),
                worker: worker.name().to_owned(),
                rank: rank.target.spec.rank.0,
                checkpoint,
                image: bytes,
            })?;
            saved += 1;
        }
    }
    Ok(saved)
}
