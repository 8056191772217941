//! A production chat service's requests: lengths and shared prefixes, no texts. See `tests/data/mooncake/README.md`.

use std::io::Read;

use anyhow::Context;

const CONVERSATION: &[u8] = include_bytes!("../../../data/mooncake/conversation.txt.gz");

/// Tokens that one id stands for.
pub const ID_TOKENS: u32 = 512;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRequest {
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
    /// One id per [`ID_TOKENS`] of the prompt, the last for what is left. Equal ids: equal tokens behind an equal prefix.
    pub ids: Vec<u32>,
}

/// All requests in order of arrival.
///
/// # Errors
/// If the file among the test data is damaged.
pub fn conversation() -> anyhow::Result<Vec<TraceRequest>> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(CONVERSATION).read_to_string(&mut text)?;
    let request =
        |(number, line)| request(line).with_context(|| format!("line {number} of the trace: {line}"));
    (1..).zip(text.lines()).map(request).collect()
}

fn request(line: &str) -> anyhow::Result<TraceRequest> {
    let mut fields = line.split(' ').skip(1);
    let mut field = || fields.next().context("a field is missing");
    let (input_tokens, output_tokens) = (field()?.parse()?, field()?.parse()?);
    let mut ids = Vec::new();
    for run in field()?.split(',') {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        ids.extend(first.parse::<u32>()?..=last.parse()?);
    }
    Ok(TraceRequest { input_tokens, output_tokens, ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_is_whole() {
        let trace = conversation().unwrap();
        assert_eq!(trace.len(), 12_031);
        assert_eq!(
            trace[1],
            TraceRequest {
                input_tokens: 7322,
                output_tokens: 490,
                ids: [0].into_iter().chain(14..=27).collect()
            }
        );
        for request in &trace {
            assert_eq!(request.ids.len() as u32, request.input_tokens.div_ceil(ID_TOKENS));
        }
    }
}
