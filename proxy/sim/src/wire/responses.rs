//! The JSON of `/v1/responses`: as much of vLLM 0.32's as tells what was said and what it took.

use serde_json::{Value, json};

use super::frame::{Frame, Usage};

/// The whole answer of a request that does not stream.
pub(super) fn whole(frame: &Frame<'_>, said: &[u32], usage: Usage) -> Value {
    let mut response = response(frame, "completed");
    response["output"] = json!([message(frame, &frame.text.text(said))]);
    response["usage"] = json!({
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.output,
    });
    response
}

/// The answer to one that is made in the background, before it is.
pub(super) fn queued(frame: &Frame<'_>) -> Value {
    response(frame, "queued")
}

/// The events before the first token.
pub(super) fn opening(frame: &Frame<'_>) -> String {
    let item = json!({
        "type": "message", "id": message_id(frame), "role": "assistant", "status": "in_progress", "content": [],
    });
    event("response.created", json!({"response": response(frame, "in_progress")}))
        + &event("response.output_item.added", json!({"output_index": 0, "item": item}))
}

/// Some tokens.
pub(super) fn piece(text: &str) -> String {
    event("response.output_text.delta", json!({"output_index": 0, "content_index": 0, "delta": text}))
}

/// The last events. There is no mark behind them.
pub(super) fn ending(frame: &Frame<'_>, said: &[u32], usage: Usage) -> String {
    let text = frame.text.text(said);
    event("response.output_text.done", json!({"output_index": 0, "content_index": 0, "text": text}))
        + &event("response.output_item.done", json!({"output_index": 0, "item": message(frame, &text)}))
        + &event("response.completed", json!({"response": whole(frame, said, usage)}))
}

fn response(frame: &Frame<'_>, status: &str) -> Value {
    json!({
        "id": frame.id, "object": "response", "created_at": frame.created, "model": frame.model, "status": status,
        "output": [], "usage": null, "error": null, "incomplete_details": null,
    })
}

fn message(frame: &Frame<'_>, text: &str) -> Value {
    json!({
        "type": "message", "id": message_id(frame), "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": null}],
    })
}

fn message_id(frame: &Frame<'_>) -> String {
    format!("msg_{}", frame.id)
}

fn event(kind: &str, mut fields: Value) -> String {
    fields["type"] = kind.into();
    format!("event: {kind}\ndata: {fields}\n\n")
}
