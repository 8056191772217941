//! Workers in a file.

use std::path::PathBuf;

use crate::config::{self, FILE_BYTES_MAX, Worker};
use crate::file_watch::{FileWatch, read};

/// One file, looked at now and then.
pub(super) struct WorkersFile {
    watch: FileWatch,
    /// What is there at the start counts as it is; later content only once it has stopped changing.
    seen: bool,
    /// What is wrong with it, said once and not at every look.
    trouble: Option<String>,
}

impl WorkersFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { watch: FileWatch::new(path), seen: false, trouble: None }
    }

    /// Its workers, if they may be others than before.
    pub(super) async fn look(mut self) -> (Self, Option<Vec<Worker>>) {
        let looked = tokio::task::spawn_blocking(move || {
            let workers = self.workers();
            (self, workers)
        });
        match looked.await {
            Ok(looked) => looked,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    fn workers(&mut self) -> Option<Vec<Worker>> {
        let path = self.watch.path().display().to_string();
        let content = if std::mem::replace(&mut self.seen, true) {
            self.watch.look(FILE_BYTES_MAX)
        } else {
            read(self.watch.path(), FILE_BYTES_MAX).map(Some)
        };
        let parsed = match content {
            Ok(Some(content)) => config::parse_workers(&path, &String::from_utf8_lossy(&content))
                .map(Some)
                .map_err(|error| error.to_string()),
            Ok(None) => return None,
            Err(error) => Err(error.to_string()),
        };
        match parsed {
            Ok(workers) => {
                self.trouble = None;
                workers
            }
            Err(error) => {
                if self.trouble.as_ref() != Some(&error) {
                    tracing::warn!(path, error, "workers' file: nothing changed");
                    self.trouble = Some(error);
                }
                None
            }
        }
    }
}
