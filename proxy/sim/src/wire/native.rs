//! The JSON of SGLang's own `/generate`; a stream tells what is new in each event, as with `--incremental-streaming-output`.

use serde_json::{Value, json};

use super::frame::{Finish, Frame, Piece, Usage};

/// The answer: an object, or a list of them where there are several sequences.
pub(super) fn whole(frame: &Frame<'_>, pieces: &[Piece<'_>], usage: Usage) -> Value {
    let mut answers: Vec<_> = pieces.iter().map(|piece| answer(frame, piece, usage, pieces.len())).collect();
    if answers.len() == 1 { answers.remove(0) } else { answers.into() }
}

/// An event of a stream.
pub(super) fn piece(frame: &Frame<'_>, piece: &Piece<'_>, usage: Usage) -> String {
    let sequences = frame.ask.prompts.len() * frame.ask.n;
    let mut event = answer(frame, piece, usage, sequences);
    if sequences == 1 {
        event["meta_info"]["completion_tokens"] = usage.output.into();
    } else {
        event["index"] = piece.index.into();
    }
    format!("data: {event}\n\n")
}

fn answer(frame: &Frame<'_>, piece: &Piece<'_>, usage: Usage, sequences: usize) -> Value {
    let output = piece.tokens.len();
    let finish = piece.finish.map(|finish| match finish {
        Finish::Length => json!({"type": "length", "length": output}),
        Finish::Stop | Finish::Abort => json!({"type": finish.name()}),
    });
    let prompt = frame.ask.prompts.get(piece.index / frame.ask.n).map_or(0, Vec::len);
    json!({
        "text": frame.text.text(piece.tokens),
        "output_ids": piece.tokens,
        "meta_info": {
            "id": frame.id, "finish_reason": finish, "prompt_tokens": prompt, "completion_tokens": output,
            // Of several sequences only the sum is known here.
            "cached_tokens": (sequences == 1).then_some(usage.cached),
        },
    })
}
