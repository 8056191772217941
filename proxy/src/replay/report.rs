//! What a replay found: a table for people, JSON for machines.

use std::fmt::Write as _;

use rankwise_core::policy::Fact;
use rankwise_policy_host::PolicyFailure;
use serde::Serialize;

use super::{Answer, Candidate, Decision, Record, RecordedPolicy, Truth};
use crate::decisions::Chosen;

/// One policy over the whole recording.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// The policy.
    pub policy: String,
    /// Decisions as recorded.
    pub same: u64,
    /// Other ones.
    pub different: u64,
    /// Of these, by the very component and settings that were recorded: there must be none.
    pub broken_promises: u64,
    /// Failed picks.
    pub failed: u64,
    /// Tokens that the targets named had cached, by the table.
    pub expected_cached_tokens: u64,
}

/// A decision that at least one policy makes otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Its number in the recording.
    pub id: u64,
    /// `x-request-id`.
    pub request_id: String,
    /// What was recorded.
    pub recorded: String,
    /// What each policy says, in their order.
    pub answers: Vec<String>,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Decisions recorded.
    pub decisions: u64,
    /// Of these, made by a fallback because no policy was in force or it failed: not compared.
    pub not_compared: u64,
    /// Prompt tokens over all decisions.
    pub prompt_tokens: u64,
    /// Cached tokens as expected by the recorded decisions.
    pub expected_cached_tokens: u64,
    /// Cached tokens as the engines told in the end.
    pub actual_cached_tokens: u64,
    /// By policy.
    pub policies: Vec<Tally>,
    /// The first ones that differ.
    pub differences: Vec<Difference>,
    #[serde(skip)]
    differences_max: usize,
}

impl Report {
    pub(super) fn new(candidates: &[Candidate], differences_max: usize) -> Self {
        let tally = |candidate: &Candidate| Tally { policy: candidate.label(), ..Tally::default() };
        Self { policies: candidates.iter().map(tally).collect(), differences_max, ..Self::default() }
    }

    pub(super) fn truth(&mut self, truth: &Truth) {
        self.actual_cached_tokens += u64::from(truth.cached_tokens.unwrap_or(0));
    }

    pub(super) fn not_asked(&mut self) {
        self.decisions += 1;
        self.not_compared += 1;
    }

    /// `answers`: of each policy, and whether it is the very one that decided.
    pub(super) fn decision(
        &mut self,
        record: &Record,
        policy: &RecordedPolicy,
        answers: Vec<(Result<Decision, PolicyFailure>, bool)>,
    ) {
        let Answer::Decided(recorded) = &record.answer else { return self.not_asked() };
        self.decisions += 1;
        let prompt_tokens = record.request.facts.get(Fact::PromptTokens);
        let held = |decision: &Decision| match decision {
            Decision::Rank(row) => record.table.held_tokens(*row, policy.block_size, prompt_tokens),
            _ => 0,
        };
        self.prompt_tokens += prompt_tokens;
        if let Chosen::Row(row) = record.chosen {
            self.expected_cached_tokens += held(&Decision::Rank(row));
        }
        let mut differs = false;
        for ((answer, is_recorded), tally) in answers.iter().zip(&mut self.policies) {
            match answer {
                Err(_) => tally.failed += 1,
                Ok(decision) => {
                    tally.expected_cached_tokens += held(decision);
                    let same = decision == recorded;
                    *(if same { &mut tally.same } else { &mut tally.different }) += 1;
                    tally.broken_promises += u64::from(*is_recorded && !same);
                    differs |= !same;
                }
            }
        }
        if differs && self.differences.len() < self.differences_max {
            let said = |(answer, _): &(Result<Decision, PolicyFailure>, bool)| match answer {
                Ok(decision) => in_words(record, decision),
                Err(failure) => format!("failed: {failure}"),
            };
            self.differences.push(Difference {
                id: record.id,
                request_id: record.request_id.clone(),
                recorded: in_words(record, recorded),
                answers: answers.iter().map(said).collect(),
            });
        }
    }

    /// Whether every policy that was recorded decided again as recorded.
    pub fn is_exact(&self) -> bool {
        self.policies.iter().all(|tally| tally.broken_promises == 0)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let share = |part: u64| part as f64 * 100.0 / (self.prompt_tokens.max(1) as f64);
        let _ = writeln!(
            text,
            "{} decisions, {} of them not by a policy; cached of prompt tokens: expected {:.1} %, in the end {:.1} %\n",
            self.decisions,
            self.not_compared,
            share(self.expected_cached_tokens),
            share(self.actual_cached_tokens)
        );
        let _ = writeln!(
            text,
            "{:<36} {:>10} {:>10} {:>8} {:>16}",
            "POLICY", "SAME", "DIFFERENT", "FAILED", "EXPECTED CACHED"
        );
        for tally in &self.policies {
            let _ = writeln!(
                text,
                "{:<36} {:>10} {:>10} {:>8} {:>14.1} %",
                tally.policy,
                tally.same,
                tally.different,
                tally.failed,
                share(tally.expected_cached_tokens)
            );
        }
        for difference in &self.differences {
            let _ = write!(
                text,
                "\n#{} {}: recorded {}",
                difference.id, difference.request_id, difference.recorded
            );
            for (tally, answer) in self.policies.iter().zip(&difference.answers) {
                let _ = write!(text, "; {} {answer}", tally.policy.split(' ').next().unwrap_or_default());
            }
        }
        if !self.differences.is_empty() {
            text.push('\n');
        }
        text
    }
}

fn in_words(record: &Record, decision: &Decision) -> String {
    use rankwise_core::policy::Column;
    match decision {
        Decision::Rank(row) => {
            let figure = |column| record.table.figure(column, *row);
            format!("worker {} rank {}", figure(Column::Worker), figure(Column::DpRank))
        }
        Decision::Worker(worker) => format!("worker {worker}"),
        Decision::Skip => "skip".to_owned(),
        Decision::Wait(ms) => format!("wait {ms} ms"),
        Decision::Reject(rejection) => format!("reject {}", rejection.status),
    }
}
