//! The files of a pool's recording: rotated, bounded in bytes, number and rate.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rankwise_policy_host::Activation;

use super::super::record::{Record, Truth};
use super::encode::{Encoder, RecordedPolicy, RecordedPool};
use crate::clock;

/// After a file could not be written, so long until the next try.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Written out when so much has gathered.
const BUFFER_BYTES: usize = 256 << 10;
const EXTENSION: &str = "rwdec";

/// Bounds of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingLimits {
    /// Bytes of one file.
    pub file_bytes_max: usize,
    /// Files of one pool; the oldest go.
    pub files_max: usize,
    /// Decisions in a second.
    pub per_second_max: u32,
}

/// Writes the recording of one pool.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    pool: String,
    limits: RecordingLimits,
    open: Option<Open>,
    /// Begin of the second that is counted, and decisions in it.
    second: (Instant, u32),
    broken: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    file: File,
    encoder: Encoder,
    /// What the file's first line says.
    about: RecordedPool,
    /// Activations that have a number in the file, by that number.
    policies: Vec<u64>,
    buffer: Vec<u8>,
    written: usize,
}

impl Recorder {
    /// Into this folder, which is made with the first decision.
    pub fn new(folder: PathBuf, pool: String, limits: RecordingLimits) -> Self {
        Self { folder, pool, limits, open: None, second: (Instant::now(), 0), broken: None }
    }

    /// Records a decision. Whether it did: there may be too many, or no room.
    pub fn decision(&mut self, record: &Record, activation: Option<&Activation>) -> bool {
        if self.is_too_fast() || self.broken.is_some_and(|since| since.elapsed() < RETRY_AFTER) {
            return false;
        }
        let done = self.try_decision(record, activation);
        self.note(done)
    }

    /// Records what became of a decision.
    pub fn truth(&mut self, id: u64, truth: &Truth) {
        let Some(open) = &mut self.open else { return };
        open.encoder.truth(id, truth, &mut open.buffer);
        let done = open.write_if(BUFFER_BYTES);
        self.note(done);
    }

    /// Writes out what has gathered.
    pub fn flush(&mut self) {
        let done = self.open.as_mut().map_or(Ok(()), |open| open.write_if(0));
        self.note(done);
    }

    fn try_decision(&mut self, record: &Record, activation: Option<&Activation>) -> io::Result<()> {
        let info = activation.map(Activation::pool).cloned();
        let (model, block_size) = info.map_or_else(Default::default, |info| (info.model, info.block_size));
        let about = RecordedPool::new(self.pool.clone(), model, block_size);
        let full = |open: &Open| open.written + open.buffer.len() >= self.limits.file_bytes_max;
        if let Some(open) = self.open.take_if(|open| full(open) || open.about != about) {
            open.close()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let file = self.new_file()?;
                self.open.insert(Open::begin(file, about))
            }
        };
        let policy = activation.map(|activation| open.policy(activation));
        open.encoder.decision(record, policy, &mut open.buffer);
        open.write_if(BUFFER_BYTES)
    }

    /// Makes room for one more file, and makes it.
    fn new_file(&self) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let prefix = format!("{}-", self.pool);
        let mut files: Vec<PathBuf> = fs::read_dir(&self.folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                let stamp = name.as_deref().and_then(|name| name.strip_prefix(&prefix));
                let stamp = stamp.and_then(|stamp| stamp.strip_suffix(&format!(".{EXTENSION}")));
                stamp.is_some_and(|stamp| stamp.len() == 16 && stamp.bytes().all(|b| b.is_ascii_digit()))
            })
            .collect();
        files.sort();
        let over = (files.len() + 1).saturating_sub(self.limits.files_max.max(1));
        for old in files.iter().take(over) {
            fs::remove_file(old)?;
        }
        // Two files of one millisecond are numbered on.
        let mut stamp = clock::unix_ms();
        loop {
            let path = self.folder.join(format!("{prefix}{stamp:016}.{EXTENSION}"));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => stamp += 1,
                file => return file,
            }
        }
    }

    fn is_too_fast(&mut self) -> bool {
        if self.second.0.elapsed() >= Duration::from_secs(1) {
            self.second = (Instant::now(), 0);
        }
        self.second.1 = self.second.1.saturating_add(1);
        self.second.1 > self.limits.per_second_max
    }

    fn note(&mut self, done: io::Result<()>) -> bool {
        match done {
            Ok(()) => {
                self.broken = None;
                true
            }
            Err(error) => {
                let folder = self.folder.display();
                tracing::error!(pool = self.pool, %folder, %error, "decisions are not recorded");
                (self.open, self.broken) = (None, Some(Instant::now()));
                false
            }
        }
    }
}

impl Open {
    fn begin(file: File, about: RecordedPool) -> Self {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        let encoder = Encoder::begin(&about, &mut buffer);
        Self { file, encoder, about, policies: Vec::new(), buffer, written: 0 }
    }

    /// The policy's number within the file.
    fn policy(&mut self, activation: &Activation) -> u64 {
        if let Some(number) = self.policies.iter().position(|id| *id == activation.id()) {
            return number as u64;
        }
        let version = activation.version();
        let policy = RecordedPolicy {
            name: version.name.clone(),
            version: version.number,
            digest: version.digest.clone(),
            settings: serde_json::from_str(activation.settings_json()).unwrap_or_default(),
            model: activation.pool().model.clone(),
            block_size: activation.pool().block_size,
        };
        self.policies.push(activation.id());
        self.encoder.policy(&policy, &mut self.buffer)
    }

    fn write_if(&mut self, bytes_min: usize) -> io::Result<()> {
        if self.buffer.len() >= bytes_min.max(1) {
            self.file.write_all(&self.buffer)?;
            self.written += self.buffer.len();
            self.buffer.clear();
        }
        Ok(())
    }

    fn close(mut self) -> io::Result<()> {
        self.write_if(0)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.flush();
    }
}
