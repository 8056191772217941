use super::*;

mod dynamo;
mod rankwise;
mod settings;

fn kv(settings: Settings) -> Kv {
    Kv::configure(&Pool { block_size: 16, ..Pool::default() }, settings).unwrap()
}

fn row(decision: Result<Decision, String>) -> usize {
    match decision {
        Ok(Decision::Rank(row)) => row as usize,
        other => panic!("{other:?}"),
    }
}

/// A request whose prompt has so many tokens.
fn prompt(tokens: u64, seed: u64) -> Request {
    Request { seed, ..Request::default() }.with_fact(Fact::PromptTokens, tokens)
}
