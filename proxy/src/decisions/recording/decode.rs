//! Bytes to decisions. Whatever the bytes are, it ends, within memory bounded by their number, and says what is wrong.

use std::time::Duration;

use rankwise_core::policy::{Column, Decision, Fact, Facts, Phase, PolicyRequest, Rejection};

use super::super::record::{Answer, Chosen, Filtered, Lane, Record, Table, Times, Truth};
pub use super::wire::Malformed;
use super::wire::Reader;
use super::{MAGIC, RecordedPolicy, RecordedPool, kind};

/// Rows of one table.
const ROWS_MAX: u64 = 1 << 16;
/// Facts, headers, targets left out.
const ITEMS_MAX: u64 = 1 << 16;
const TEXT_BYTES_MAX: usize = 1 << 16;

/// One record.
#[derive(Clone, Debug)]
pub enum Event {
    /// A policy; they are numbered 0, 1, 2 as they come.
    Policy(RecordedPolicy),
    /// A decision, and the number of its policy.
    Decision(Box<Record>, Option<usize>),
    /// The truth about the decision with this id.
    Truth(u64, Truth),
}

/// Reads one file.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    pool: RecordedPool,
    /// The file's columns that this version knows, by their place in the file.
    columns: Vec<Option<Column>>,
    policies: usize,
    rows: usize,
    last: Vec<u32>,
    at_unix_ms: u64,
}

impl<'a> Decoder<'a> {
    /// Reads the beginning.
    ///
    /// # Errors
    /// When it is no recording.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let wrong = |what: String| Malformed { at: 0, what };
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| wrong("no recording of decisions, or one of another version".into()))?;
        let line = rest.iter().take(TEXT_BYTES_MAX).position(|byte| *byte == b'\n');
        let line = line.ok_or_else(|| wrong("the line about the pool does not end".into()))?;
        let pool: RecordedPool = serde_json::from_slice(&rest[..line])
            .map_err(|error| wrong(format!("the line about the pool: {error}")))?;
        let known = |name: &String| Column::ALL.into_iter().find(|column| column.name() == name);
        let columns: Vec<_> = pool.columns.iter().map(known).collect();
        Ok(Self {
            bytes,
            at: MAGIC.len() + line + 1,
            pool,
            columns,
            policies: 0,
            rows: 0,
            last: Vec::new(),
            at_unix_ms: 0,
        })
    }

    /// The pool that it is about.
    pub fn pool(&self) -> &RecordedPool {
        &self.pool
    }

    fn event(&mut self) -> Result<Option<Event>, Malformed> {
        loop {
            let mut frame = Reader::new(&self.bytes[self.at..], self.at);
            if frame.is_at_end() {
                return Ok(None);
            }
            // A proxy that was killed leaves the beginning of a record.
            let Ok(length) = frame.number() else { return Ok(None) };
            let Ok(length) = usize::try_from(length) else {
                return Err(frame.malformed("a record without end"));
            };
            let start = self.bytes.len() - frame.rest();
            let Ok(body) = frame.take(length) else { return Ok(None) };
            self.at = start + length;
            let [kind, body @ ..] = body else { return Err(frame.malformed("a record without kind")) };
            let reader = Reader::new(body, start + 1);
            match *kind {
                kind::POLICY => return self.policy(&reader, body).map(Some),
                kind::DECISION => return self.decision(reader).map(Some),
                kind::TRUTH => return truth(reader).map(Some),
                // Of a later version.
                _ => {}
            }
        }
    }

    fn policy(&mut self, reader: &Reader<'_>, body: &[u8]) -> Result<Event, Malformed> {
        self.policies += 1;
        let policy = serde_json::from_slice(body);
        policy.map(Event::Policy).map_err(|error| reader.malformed(format!("a policy: {error}")))
    }

    fn decision(&mut self, mut reader: Reader<'_>) -> Result<Event, Malformed> {
        let id = reader.number()?;
        let request_id = reader.text(TEXT_BYTES_MAX)?;
        let difference = reader.number()?;
        self.at_unix_ms = self.at_unix_ms.wrapping_add((difference >> 1) ^ (difference & 1).wrapping_neg());
        let lane = reader.byte()?;
        let lane = *Lane::ALL.get(usize::from(lane)).ok_or_else(|| reader.malformed("an unknown lane"))?;
        let policy = reader.option()?.map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        if policy.is_some_and(|number| number >= self.policies) {
            return Err(reader.malformed("a policy that did not come before"));
        }
        let request = request(&mut reader)?;
        let table = self.table(&mut reader)?;
        let answer = answer(&mut reader)?;
        let chosen = match reader.byte()? {
            0 => Chosen::Nowhere,
            1 => Chosen::Row(reader.small("rows")?),
            2 => Chosen::Worker(reader.small("workers")?),
            _ => return Err(reader.malformed("an unknown choice")),
        };
        let mut time = || reader.number().map(Duration::from_nanos);
        let times = Times { snapshot: time()?, policy: time()? };
        let mut filtered = Vec::new();
        for _ in 0..reader.bounded("targets left out", ITEMS_MAX)? {
            filtered.push(Filtered {
                worker: reader.small("workers")?,
                rank: reader.small("ranks")?,
                reason: reader.text(TEXT_BYTES_MAX)?,
            });
        }
        let at_unix_ms = self.at_unix_ms;
        let record =
            Record { id, request_id, at_unix_ms, lane, request, table, answer, chosen, times, filtered };
        Ok(Event::Decision(Box::new(record), policy))
    }

    fn table(&mut self, reader: &mut Reader<'_>) -> Result<Table, Malformed> {
        let rows = reader.bounded("rows", ROWS_MAX)? as usize;
        let count = rows * self.columns.len();
        let mut figures = reader.differences(count)?;
        if rows == self.rows {
            figures.iter_mut().zip(&self.last).for_each(|(now, then)| *now = now.wrapping_add(*then));
        } else {
            for at in 0..count {
                if !at.is_multiple_of(rows) {
                    figures[at] = figures[at].wrapping_add(figures[at - 1]);
                }
            }
        }
        (self.rows, self.last) = (rows, figures);
        let mut table = Table { rows: rows as u32, ..Table::default() };
        for (at, column) in self.columns.iter().enumerate() {
            if let Some(column) = column {
                table.columns.push(*column);
                table.packed.extend_from_slice(&self.last[at * rows..(at + 1) * rows]);
            }
        }
        Ok(table)
    }
}

impl Iterator for Decoder<'_> {
    type Item = Result<Event, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.event().transpose();
        if matches!(event, Some(Err(_))) {
            // What follows something malformed cannot be told from it.
            self.at = self.bytes.len();
        }
        event
    }
}

fn request(reader: &mut Reader<'_>) -> Result<PolicyRequest, Malformed> {
    let sequence = reader.number()?;
    let mut seed = [0; 8];
    seed.copy_from_slice(reader.take(8)?);
    let phase = match reader.byte()? {
        0 => Phase::Aggregated,
        1 => Phase::Prefill,
        2 => Phase::Decode,
        _ => return Err(reader.malformed("an unknown phase")),
    };
    let mut facts = Facts::default();
    let given = reader.bounded("facts", ITEMS_MAX)?;
    for index in 0..given {
        let value = reader.number()?;
        if let Some(fact) = FACTS.get(index as usize) {
            facts.set(*fact, value);
        }
    }
    let mut text = Vec::new();
    for _ in 0..reader.bounded("headers", ITEMS_MAX)? {
        text.push((reader.text(TEXT_BYTES_MAX)?, reader.text(TEXT_BYTES_MAX)?));
    }
    Ok(PolicyRequest { sequence, seed: u64::from_le_bytes(seed), phase, facts, text })
}

/// By index.
const FACTS: [Fact; 12] = [
    Fact::PromptTokens,
    Fact::PromptBlocks,
    Fact::MaxOutputTokens,
    Fact::Sequences,
    Fact::Priority,
    Fact::Attempt,
    Fact::DeadlineMs,
    Fact::SessionRow,
    Fact::SessionKey,
    Fact::PrefixKey,
    Fact::TenantKey,
    Fact::PeerRow,
];

fn answer(reader: &mut Reader<'_>) -> Result<Answer, Malformed> {
    Ok(match reader.byte()? {
        0 => Answer::NotAsked,
        1 => Answer::Decided(Decision::Rank(reader.small("rows")?)),
        2 => Answer::Decided(Decision::Worker(reader.small("workers")?)),
        3 => Answer::Decided(Decision::Skip),
        4 => Answer::Decided(Decision::Wait(reader.small("ms")?)),
        5 => Answer::Decided(Decision::Reject(Rejection {
            status: reader.bounded("as status", 999)? as u16,
            retry_after_s: reader.option()?.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
            reason: reader.text(TEXT_BYTES_MAX)?,
        })),
        6 => Answer::Failed(reader.text(TEXT_BYTES_MAX)?, reader.text(TEXT_BYTES_MAX)?),
        _ => return Err(reader.malformed("an unknown answer")),
    })
}

fn truth(mut reader: Reader<'_>) -> Result<Event, Malformed> {
    let id = reader.number()?;
    let outcome = reader.text(TEXT_BYTES_MAX)?;
    let mut tokens = || Ok(reader.option()?.map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX)));
    let (prompt_tokens, cached_tokens, completion_tokens) = (tokens()?, tokens()?, tokens()?);
    let first_token = reader.option()?.map(Duration::from_micros);
    let total = Duration::from_micros(reader.number()?);
    let truth = Truth { outcome, prompt_tokens, cached_tokens, completion_tokens, first_token, total };
    Ok(Event::Truth(id, truth))
}
