//! `rankwise replay`: decides again what was recorded, or what a trace of requests would have brought about.
//!
//! A policy is a pure function of what was recorded, so the same component answers the same. Another one is asked
//! about the states that the recorded one brought about: what its own choices would have led to is not known from it. A
//! trace is only requests: there each policy is followed, on simulated engines in simulated time.

mod candidate;
mod report;
pub mod simulate;
pub mod trace;

use std::path::Path;

use anyhow::{Context as _, bail};
use rankwise_core::policy::Decision;
use rankwise_policy_host::{HostConfig, HostError, PolicyHost, PolicyVersion};

use crate::decisions::recording::{Decoder, Event, MAGIC, RecordedPolicy};
use crate::decisions::{Answer, Record, Truth};
pub use candidate::{Asked, Candidate};
pub use report::{Difference, Report, Tally};
pub use simulate::simulate;
use trace::Trace;

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 30;
/// Of CPU time for one pick: whatever the machine, a sound policy keeps it.
const PICK_BUDGET: std::time::Duration = std::time::Duration::from_secs(1);

/// What there is to replay.
pub enum Input {
    /// The bytes of a recording.
    Recording(Vec<u8>),
    /// Requests.
    Trace(Trace),
}

impl Input {
    /// Reads a file of either kind.
    ///
    /// # Errors
    /// When it cannot be read, or is a trace that is malformed; a recording is looked at by [`run`].
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = || path.display().to_string();
        let metadata = std::fs::metadata(path).with_context(name)?;
        if metadata.len() > FILE_BYTES_MAX {
            bail!("{}: larger than {FILE_BYTES_MAX} bytes", name());
        }
        let bytes = std::fs::read(path).with_context(name)?;
        let is_text = bytes.trim_ascii_start().starts_with(b"{");
        if is_text && !bytes.starts_with(MAGIC) {
            return Ok(Self::Trace(Trace::parse(&bytes).with_context(name)?));
        }
        Ok(Self::Recording(bytes))
    }
}

fn host() -> Result<PolicyHost, HostError> {
    // Decided by the same code throughout.
    let baseline_bytes_min = usize::MAX;
    PolicyHost::new(HostConfig { cpu_budget: PICK_BUDGET, baseline_bytes_min, ..HostConfig::default() })
}

/// Decides again what was recorded.
///
/// # Errors
/// When the recording is malformed, or a policy does not fit.
pub fn run(recording: &[u8], asked: &[Asked], differences_max: usize) -> anyhow::Result<Report> {
    let mut decoder = Decoder::new(recording)?;
    let host = host()?;
    let mut candidates = Vec::new();
    for asked in asked {
        candidates.push(Candidate::load(&host, asked)?);
    }
    let mut report = Report::new(&candidates, differences_max);
    let mut policies: Vec<RecordedPolicy> = Vec::new();
    for event in &mut decoder {
        match event? {
            Event::Policy(policy) => policies.push(policy),
            Event::Truth(_, truth) => report.truth(&truth),
            Event::Decision(record, policy) => {
                let policy = policy.and_then(|number| policies.get(number));
                decide(&host, &mut candidates, &mut report, &record, policy)?;
            }
        }
    }
    Ok(report)
}

fn decide(
    host: &PolicyHost,
    candidates: &mut [Candidate],
    report: &mut Report,
    record: &Record,
    policy: Option<&RecordedPolicy>,
) -> anyhow::Result<()> {
    // Without a policy there is no block size, and nothing that was asked.
    let Some(policy) = policy else {
        report.not_asked();
        return Ok(());
    };
    let mut answers = Vec::with_capacity(candidates.len());
    for candidate in candidates.iter_mut() {
        let answer = candidate.pick(host, policy, record)?;
        answers.push((answer, candidate.is(policy)));
    }
    report.decision(record, policy, answers);
    Ok(())
}

/// How a policy is called in a report.
fn label(version: &PolicyVersion) -> String {
    format!("{} sha256:{}", version.name, version.digest.get(..12).unwrap_or_default())
}

#[cfg(test)]
mod tests;
