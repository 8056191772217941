//! A trace of requests in Mooncake's format: a JSON object a line, no texts.
//!
//! `timestamp` (ms), `input_length` and `output_length` (tokens), and `hash_ids`: one id per [`ID_TOKENS`] tokens of the
//! prompt, the last for what is left. Equal ids are equal tokens behind an equal prefix. Other fields are ignored.
//! (`kvcache-ai/Mooncake`, `FAST25-release/traces`.)

use anyhow::{Context as _, ensure};
use rustc_hash::FxHashMap;
use serde::Deserialize;

/// Tokens that one id stands for.
pub const ID_TOKENS: u32 = 512;
/// Distinct ids: each has token ids of its own, below those of answers.
const IDS_MAX: usize = (ANSWER / ID_TOKENS) as usize;
/// The token ids of answers begin here; no prompt has them.
const ANSWER: u32 = 0xf000_0000;
/// Tokens of one prompt, or of one answer.
const TOKENS_MAX: u32 = 1 << 24;

/// All requests, in order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    requests: Vec<TraceRequest>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRequest {
    /// When it came, ms.
    pub at_ms: u64,
    /// Tokens of the prompt; not 0.
    pub prompt_tokens: u32,
    /// Tokens of the answer; not 0, as an engine always says one.
    pub answer_tokens: u32,
    /// One number per [`ID_TOKENS`] of the prompt.
    blocks: Vec<u32>,
}

#[derive(Deserialize)]
struct Line {
    timestamp: u64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
}

impl Trace {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong, with the number of the line.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut numbers = FxHashMap::default();
        let mut requests = Vec::new();
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let line = line.trim_ascii();
            if !line.is_empty() {
                let request = request(line, &mut numbers).with_context(|| format!("line {number}"))?;
                requests.push(request);
            }
        }
        ensure!(!requests.is_empty(), "no request in it");
        requests.sort_by_key(|request: &TraceRequest| request.at_ms);
        Ok(Self { requests })
    }

    /// The first `count` requests alone.
    #[must_use]
    pub fn truncated(mut self, count: usize) -> Self {
        self.requests.truncate(count.max(1));
        self
    }

    /// The requests, in order of arrival.
    pub fn requests(&self) -> &[TraceRequest] {
        &self.requests
    }
}

fn request(line: &[u8], numbers: &mut FxHashMap<u64, u32>) -> anyhow::Result<TraceRequest> {
    let line: Line = serde_json::from_slice(line)?;
    let longest = line.input_length.max(line.output_length);
    ensure!(longest <= TOKENS_MAX, "{longest} tokens, and at most {TOKENS_MAX} are simulated");
    ensure!(line.input_length > 0, "`input_length` is 0");
    let (wanted, found) = (line.input_length.div_ceil(ID_TOKENS) as usize, line.hash_ids.len());
    ensure!(
        wanted == found,
        "`hash_ids` has {found} ids, and {} tokens in blocks of {ID_TOKENS} are {wanted}",
        line.input_length
    );
    let mut blocks = Vec::with_capacity(found);
    for id in line.hash_ids {
        let next = numbers.len();
        ensure!(next < IDS_MAX || numbers.contains_key(&id), "more than {IDS_MAX} different ids");
        blocks.push(*numbers.entry(id).or_insert(next as u32));
    }
    Ok(TraceRequest {
        at_ms: line.timestamp,
        prompt_tokens: line.input_length,
        answer_tokens: line.output_length.max(1),
        blocks,
    })
}

impl TraceRequest {
    /// Token ids that are equal where the trace says that the tokens are.
    pub fn tokens(&self) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(self.prompt_tokens as usize);
        let mut left = self.prompt_tokens;
        for block in &self.blocks {
            let (first, length) = (block * ID_TOKENS, left.min(ID_TOKENS));
            tokens.extend(first..first + length);
            left -= length;
        }
        tokens
    }

    /// Token ids of the answer; no prompt contains them.
    pub fn answer(&self, number: usize) -> Vec<u32> {
        vec![ANSWER | (number as u32 & !ANSWER); self.answer_tokens as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ids_are_equal_tokens() {
        let trace = Trace::parse(
            br#"{"timestamp": 7, "input_length": 600, "output_length": 2, "hash_ids": [9000000000, 4], "more": 1}

                {"timestamp": 3, "input_length": 1024, "output_length": 0, "hash_ids": [9000000000, 5]}"#,
        )
        .unwrap();
        let [first, second] = trace.requests() else { panic!("{trace:?}") };
        assert_eq!((first.at_ms, first.answer_tokens, second.answer_tokens), (3, 1, 2));
        let (a, b) = (first.tokens(), second.tokens());
        assert_eq!((a.len(), b.len()), (1024, 600));
        assert_eq!(a[..512], b[..512]);
        assert!(a[512..600].iter().zip(&b[512..]).all(|(a, b)| a != b));
        assert!(second.answer(1).iter().all(|token| !a.contains(token)));
        assert_eq!(trace.truncated(1).requests().len(), 1);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let wrong = |line: &str| {
            let text = format!(
                "{{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"hash_ids\":[0]}}\n{line}"
            );
            format!("{:#}", Trace::parse(text.as_bytes()).unwrap_err())
        };
        let line = |input: u32, ids: &str| {
            wrong(&format!(
                "{{\"timestamp\":0,\"input_length\":{input},\"output_length\":1,\"hash_ids\":{ids}}}"
            ))
        };
        assert_eq!(line(513, "[1]"), "line 2: `hash_ids` has 1 ids, and 513 tokens in blocks of 512 are 2");
        assert_eq!(line(0, "[]"), "line 2: `input_length` is 0");
        assert!(line(1 << 25, "[1]").contains("at most 16777216"));
        assert!(wrong("{\"timestamp\":0}").starts_with("line 2: missing field"));
        assert!(wrong("x").starts_with("line 2: expected value"));
        assert_eq!(format!("{:#}", Trace::parse(b"{").unwrap_err()).split(':').next(), Some("line 1"));
        assert_eq!(Trace::parse(b" \n").unwrap_err().to_string(), "no request in it");
    }
}
