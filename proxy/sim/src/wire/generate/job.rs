//! A request that an engine works on, and what there is to say of it.

use std::sync::Arc;

use serde_json::Value;

use super::super::arrivals::Served;
use super::super::ask::Ask;
use super::super::driver::Ticket;
use super::super::faults::Active;
use super::super::frame::{Finish, Frame, Usage};
use super::super::io::Breaker;
use super::super::transfer::Leg;
use super::super::worker::Worker;
use crate::Micros;
use crate::model::sequence::Progress;
use rankwise_prompt::Api;

/// A request whose sequences an engine works on.
pub(super) struct Job {
    pub(super) worker: Arc<Worker>,
    pub(super) ask: Ask,
    pub(super) leg: Leg,
    pub(super) faults: Active,
    pub(super) breaker: Breaker,
    pub(super) arrival: u64,
    pub(super) rank: usize,
    pub(super) sequences: Vec<Sequence>,
    /// Why an answer that is said to its end ended.
    pub(super) finish: Finish,
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) began: Micros,
}

pub(super) struct Sequence {
    pub(super) ticket: Option<Ticket>,
    pub(super) prompt: usize,
    pub(super) answer: Arc<[u32]>,
    pub(super) progress: Progress,
    /// Tokens that were put into chunks.
    pub(super) sent: u32,
    pub(super) started: bool,
}

impl Job {
    pub(super) fn frame(&self) -> Frame<'_> {
        Frame {
            ask: &self.ask,
            text: &self.worker.text,
            id: self.id.clone(),
            created: self.created,
            model: &self.worker.site.spec.model_name,
            fingerprint: self.worker.fingerprint(),
        }
    }

    pub(super) fn prompt(&self, index: usize) -> &[u32] {
        let sequence = self.sequences.get(index);
        sequence
            .and_then(|sequence| self.ask.prompts.get(sequence.prompt))
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    pub(super) fn usage(&self, output: impl Fn(&Sequence) -> u32) -> Usage {
        let block_size = u64::from(self.worker.site.spec.block_size);
        let mut usage = Usage::default();
        for (at, sequence) in self.sequences.iter().enumerate() {
            usage.output += u64::from(output(sequence));
            // The choices of one prompt share it.
            if at % self.ask.n == 0 {
                let prompt = self.prompt(at).len() as u64;
                let cached = u64::from(sequence.progress.cached_tokens);
                usage.prompt += prompt;
                usage.cached += cached;
                if self.ask.api == Api::ChatCompletions {
                    let created = (prompt / block_size * block_size).saturating_sub(cached);
                    usage.created = Some(usage.created.unwrap_or(0) + created);
                }
            }
        }
        usage
    }

    pub(super) fn computed(&mut self, answer: Option<&mut Value>) {
        let prompt = self.ask.prompts.first().map(Vec::as_slice).unwrap_or_default();
        let site = &self.worker.site;
        self.worker.transfers.computed(site, &mut self.leg, self.rank, prompt, answer);
    }

    /// Keeps the response, if that is asked for and has been made to its end.
    pub(super) fn keep(&self, response: &Value) {
        let (true, [sequence]) = (self.ask.store, self.sequences.as_slice()) else { return };
        if sequence.progress.finished {
            let answer = &sequence.answer[..sequence.progress.said as usize];
            self.worker.stored.keep(&self.id, response.clone(), [self.prompt(0), answer].concat());
        }
    }

    /// Its rank's process has ended: waits until the server knows.
    pub(super) async fn end_is_noticed(&self) {
        if let Some(dying) = self.worker.faults.now().dying(self.rank) {
            dying.noticed().await;
        }
    }

    pub(super) fn note_end(&self, index: usize) {
        let Some(sequence) = self.sequences.get(index) else { return };
        self.worker.served.push(Served {
            arrival: self.arrival,
            rank: self.rank as u32,
            prompt_tokens: self.prompt(index).len() as u32,
            cached_tokens: sequence.progress.cached_tokens,
            output_tokens: sequence.progress.said,
            first_token_us: sequence.progress.first_token_us.unwrap_or(0),
            total_us: self.worker.clock.now().since(self.began),
        });
    }
}
