//! Replies that are not streamed.

use super::{ReplySummary, event, response_id};

/// Reads a plain JSON reply as it passes. A reply larger than the bound is judged by its tail, where engines put the
/// usage, and by its first bytes, where they put the id.
#[derive(Debug)]
pub struct BodyScanner {
    pub(super) kept: Vec<u8>,
    bytes_max: usize,
    /// The first bytes, once they are no longer in `kept`.
    head: Option<Vec<u8>>,
}

/// Bytes from the beginning within which an id is looked for.
pub(super) const HEAD_BYTES: usize = 1024;

impl BodyScanner {
    /// A scanner that keeps the last `bytes_max` bytes, and up to as many again for a moment. Default of the proxy: 64 KiB.
    pub fn new(bytes_max: usize) -> Self {
        Self { kept: Vec::new(), bytes_max: bytes_max.max(1), head: None }
    }

    /// The next bytes of the body.
    pub fn push(&mut self, chunk: &[u8]) {
        let tail = &chunk[chunk.len().saturating_sub(self.bytes_max)..];
        if tail.len() < chunk.len() {
            self.keep_head(chunk);
        }
        if self.kept.len() + tail.len() > self.bytes_max.saturating_mul(2) {
            self.trim(self.bytes_max - tail.len());
        }
        self.kept.extend_from_slice(tail);
    }

    /// The body is over.
    pub fn finish(mut self) -> ReplySummary {
        self.trim(self.bytes_max);
        match self.head {
            None => body_summary(&self.kept),
            Some(head) => {
                ReplySummary { response_id: response_id::of_body(&head), ..tail_summary(&self.kept) }
            }
        }
    }

    fn trim(&mut self, keep: usize) {
        let over = self.kept.len().saturating_sub(keep);
        if over > 0 {
            self.keep_head(&[]);
            self.kept.drain(..over);
        }
    }

    /// Before the body is cut for the first time; `next` is what follows on what was kept of it so far.
    fn keep_head(&mut self, next: &[u8]) {
        let (kept, bytes) = (&self.kept, HEAD_BYTES.min(self.bytes_max));
        self.head.get_or_insert_with(|| kept.iter().chain(next).take(bytes).copied().collect());
    }
}

/// What a whole JSON reply tells.
pub fn body_summary(body: &[u8]) -> ReplySummary {
    let mut summary = ReplySummary::default();
    event::take(body, &mut summary);
    summary.response_id = response_id::of_body(body);
    if summary.usage.is_some() {
        summary.started = true;
    }
    summary.done = summary.error.is_none() && summary.started;
    summary
}

/// What the end of a JSON reply tells: its usage. Inside a JSON string the quotes of `"usage":` would be escaped, so it is
/// never found in what the model said.
fn tail_summary(tail: &[u8]) -> ReplySummary {
    let mut summary = ReplySummary::default();
    let usage = || event::usage_at(after_last(tail, b"\"usage\":")?);
    let of_sglang = || event::meta_usage_at(after_last(tail, b"\"meta_info\":")?);
    summary.usage = usage().or_else(of_sglang);
    summary.started = summary.usage.is_some();
    summary.done = summary.started;
    summary
}

/// What follows a key where it stands last.
fn after_last<'a>(tail: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut ends = (0..tail.len().saturating_sub(key.len())).rev();
    let at = ends.find(|at| tail[*at..].starts_with(key) && (*at == 0 || tail[at - 1] != b'\\'))?;
    Some(&tail[at + key.len()..])
}
