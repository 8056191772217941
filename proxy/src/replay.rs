//! `rankwise replay`: decides again what was recorded, with other policies or the same, and shows what differs.
//!
//! A policy is a pure function of what was recorded, so the same component answers the same. Another one is asked
//! about the states that the recorded one brought about: what its own choices would have led to is not known from it.

mod candidate;
mod report;

use std::path::Path;

use anyhow::{Context as _, bail};
use rankwise_core::policy::Decision;
use rankwise_policy_host::{HostConfig, PolicyHost, PolicyVersion};

use crate::decisions::recording::{Decoder, Event, RecordedPolicy};
use crate::decisions::{Answer, Record, Truth};
pub use candidate::{Asked, Candidate};
pub use report::{Difference, Report, Tally};

/// The largest recording that is read.
const FILE_BYTES_MAX: u64 = 4 << 30;
/// Of CPU time for one pick: whatever the machine, a sound policy keeps it.
const PICK_BUDGET: std::time::Duration = std::time::Duration::from_secs(1);

/// Decides again.
///
/// # Errors
/// When the recording cannot be read, or a policy does not fit.
pub fn run(recording: &Path, asked: &[Asked], differences_max: usize) -> anyhow::Result<Report> {
    let name = recording.display().to_string();
    let metadata = std::fs::metadata(recording).with_context(|| name.clone())?;
    if metadata.len() > FILE_BYTES_MAX {
        bail!("{name}: larger than {FILE_BYTES_MAX} bytes");
    }
    let bytes = std::fs::read(recording).with_context(|| name.clone())?;
    let host = PolicyHost::new(HostConfig { cpu_budget: PICK_BUDGET, ..HostConfig::default() })?;
    let mut decoder = Decoder::new(&bytes).with_context(|| name.clone())?;
    let mut candidates = Vec::new();
    for asked in asked {
        candidates.push(Candidate::load(&host, asked)?);
    }
    let mut report = Report::new(&candidates, differences_max);
    let mut policies: Vec<RecordedPolicy> = Vec::new();
    for event in &mut decoder {
        match event.with_context(|| name.clone())? {
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
