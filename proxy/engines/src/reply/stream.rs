//! Server-sent events, whatever chunks they come in.

use super::body::HEAD_BYTES;
use super::{ReplySummary, event, response_id};

/// Reads an event stream as it passes.
///
/// Engines put each event's JSON on one `data:` line, and each such line is taken as an event. Comments, `event:` lines and
/// line ends of either kind are understood.
#[derive(Debug)]
pub struct StreamScanner {
    summary: ReplySummary,
    /// The beginning of a line whose end has not come.
    pub(super) line: Vec<u8>,
    line_bytes_max: usize,
    /// The line is too long; its rest is passed over.
    skipping: bool,
}

impl StreamScanner {
    /// A scanner that looks into lines of up to `line_bytes_max` bytes. Default of the proxy: 64 KiB.
    pub fn new(line_bytes_max: usize) -> Self {
        Self { summary: ReplySummary::default(), line: Vec::new(), line_bytes_max, skipping: false }
    }

    /// What is known so far.
    pub fn summary(&self) -> &ReplySummary {
        &self.summary
    }

    /// The next bytes of the stream.
    pub fn push(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line_end(&rest[..end]);
            rest = &rest[end + 1..];
        }
        if rest.is_empty() || self.skipping {
            return;
        }
        if self.line.len() + rest.len() > self.line_bytes_max {
            self.skip_line(rest);
            return;
        }
        self.line.extend_from_slice(rest);
    }

    /// The stream is over; a last line without an end counts.
    pub fn finish(mut self) -> ReplySummary {
        if !self.line.is_empty() {
            self.line_end(&[]);
        }
        self.summary
    }

    /// `rest` follows on what was kept of the line; together they are longer than the bound.
    fn skip_line(&mut self, rest: &[u8]) {
        if self.summary.response_id.is_none() {
            let bytes = HEAD_BYTES.min(self.line_bytes_max);
            let beginning: Vec<u8> = self.line.iter().chain(rest).take(bytes).copied().collect();
            if let Some(data) = data_of(&beginning) {
                self.summary.response_id = response_id::of_event(data);
            }
        }
        self.line.clear();
        self.skipping = true;
        self.summary.lines_skipped += 1;
    }

    /// `rest` completes the line.
    fn line_end(&mut self, rest: &[u8]) {
        if !self.skipping && self.line.len() + rest.len() > self.line_bytes_max {
            self.skip_line(rest);
        }
        if std::mem::take(&mut self.skipping) {
            return;
        }
        if self.line.is_empty() {
            take_line(rest, &mut self.summary);
        } else {
            self.line.extend_from_slice(rest);
            take_line(&self.line, &mut self.summary);
            self.line.clear();
        }
    }
}

fn take_line(line: &[u8], summary: &mut ReplySummary) {
    let Some(data) = data_of(line) else { return };
    if data == b"[DONE]" {
        summary.done = true;
    } else {
        event::take(data, summary);
    }
}

fn data_of(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"data:").map(<[u8]>::trim_ascii)
}
