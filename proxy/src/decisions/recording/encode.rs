//! Decisions to bytes.

use rankwise_core::policy::{Column, Decision, Phase};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::record::{Answer, Chosen, Record, Truth};
use super::wire::{put, put_differences, put_option, put_text};
use super::{MAGIC, kind};

/// The pool that a file is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPool {
    /// Its name.
    pub pool: String,
    /// Its first model.
    pub model: String,
    /// Tokens per block.
    pub block_size: u32,
    /// Names of the columns, by id.
    pub columns: Vec<String>,
}

impl RecordedPool {
    /// With the columns of this version.
    pub fn new(pool: String, model: String, block_size: u32) -> Self {
        let columns = Column::ALL.iter().map(|column| column.name().to_owned()).collect();
        Self { pool, model, block_size, columns }
    }
}

/// A policy that decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedPolicy {
    /// Its name.
    pub name: String,
    /// The number of the version.
    pub version: u32,
    /// SHA-256 of the component, hex.
    pub digest: String,
    /// Its settings.
    pub settings: Value,
    /// The pool's first model when it was configured.
    pub model: String,
    /// Tokens per block when it was configured.
    pub block_size: u32,
}

/// Writes one file.
#[derive(Debug, Default)]
pub struct Encoder {
    policies: u64,
    rows: usize,
    /// The table before, by column id.
    last: Vec<u32>,
    at_unix_ms: u64,
    body: Vec<u8>,
}

impl Encoder {
    /// The beginning of a file.
    pub fn begin(pool: &RecordedPool, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(serde_json::json!(pool).to_string().as_bytes());
        out.push(b'\n');
        Self::default()
    }

    /// A policy; its number within the file.
    pub fn policy(&mut self, policy: &RecordedPolicy, out: &mut Vec<u8>) -> u64 {
        let text = serde_json::json!(policy).to_string();
        frame(out, kind::POLICY, text.as_bytes());
        self.policies += 1;
        self.policies - 1
    }

    /// A decision of the policy with this number.
    pub fn decision(&mut self, record: &Record, policy: Option<u64>, out: &mut Vec<u8>) {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        put(&mut body, record.id);
        put_text(&mut body, &record.request_id);
        put(&mut body, zigzag(record.at_unix_ms.wrapping_sub(self.at_unix_ms)));
        self.at_unix_ms = record.at_unix_ms;
        body.push(record.lane as u8);
        put_option(&mut body, policy);
        request(&mut body, record);
        self.table(&mut body, record);
        answer(&mut body, &record.answer);
        match record.chosen {
            Chosen::Nowhere => body.push(0),
            Chosen::Row(row) => {
                body.push(1);
                put(&mut body, row.into());
            }
            Chosen::Worker(worker) => {
                body.push(2);
                put(&mut body, worker.into());
            }
        }
        for time in [record.times.snapshot, record.times.policy] {
            put(&mut body, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
        put(&mut body, record.filtered.len() as u64);
        for out in &record.filtered {
            put(&mut body, out.worker.into());
            put(&mut body, out.rank.into());
            put_text(&mut body, &out.reason);
        }
        frame(out, kind::DECISION, &body);
        self.body = body;
    }

    /// What became of a decision.
    pub fn truth(&mut self, id: u64, truth: &Truth, out: &mut Vec<u8>) {
        let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX - 1);
        let mut body = Vec::with_capacity(32);
        put(&mut body, id);
        put_text(&mut body, &truth.outcome);
        for tokens in [truth.prompt_tokens, truth.cached_tokens, truth.completion_tokens] {
            put_option(&mut body, tokens.map(u64::from));
        }
        put_option(&mut body, truth.first_token.map(micros));
        put(&mut body, micros(truth.total));
        frame(out, kind::TRUTH, &body);
    }

    fn table(&mut self, body: &mut Vec<u8>, record: &Record) {
        let rows = record.table.rows as usize;
        let mut figures = Vec::with_capacity(rows * Column::ALL.len());
        for column in Column::ALL {
            match record.table.column(column) {
                Some(column) => figures.extend_from_slice(column),
                None => figures.resize(figures.len() + rows, 0),
            }
        }
        put(body, rows as u64);
        if rows == self.rows {
            put_differences(body, figures.iter().zip(&self.last).map(|(now, then)| now.wrapping_sub(*then)));
        } else {
            let before = |at: usize| if at.is_multiple_of(rows) { 0 } else { figures[at - 1] };
            put_differences(body, figures.iter().enumerate().map(|(at, now)| now.wrapping_sub(before(at))));
        }
        (self.rows, self.last) = (rows, figures);
    }
}

fn zigzag(difference: u64) -> u64 {
    let signed = difference as i64;
    ((signed << 1) ^ (signed >> 63)) as u64
}

fn request(body: &mut Vec<u8>, record: &Record) {
    let request = &record.request;
    put(body, request.sequence);
    body.extend_from_slice(&request.seed.to_le_bytes());
    body.push(match request.phase {
        Phase::Aggregated => 0,
        Phase::Prefill => 1,
        Phase::Decode => 2,
    });
    let facts = request.facts.as_slice();
    put(body, facts.len() as u64);
    facts.iter().for_each(|fact| put(body, *fact));
    put(body, request.text.len() as u64);
    for (name, value) in &request.text {
        put_text(body, name);
        put_text(body, value);
    }
}

fn answer(body: &mut Vec<u8>, answer: &Answer) {
    match answer {
        Answer::NotAsked => body.push(0),
        Answer::Decided(Decision::Rank(row)) => {
            body.push(1);
            put(body, (*row).into());
        }
        Answer::Decided(Decision::Worker(worker)) => {
            body.push(2);
            put(body, (*worker).into());
        }
        Answer::Decided(Decision::Skip) => body.push(3),
        Answer::Decided(Decision::Wait(ms)) => {
            body.push(4);
            put(body, (*ms).into());
        }
        Answer::Decided(Decision::Reject(rejection)) => {
            body.push(5);
            put(body, rejection.status.into());
            put_option(body, rejection.retry_after_s.map(u64::from));
            put_text(body, &rejection.reason);
        }
        Answer::Failed(kind, text) => {
            body.push(6);
            put_text(body, kind);
            put_text(body, text);
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    put(out, body.len() as u64 + 1);
    out.push(kind);
    out.extend_from_slice(body);
}
