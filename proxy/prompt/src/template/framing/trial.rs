//! Trying a framing on some conversations: one that does not hold there is not used, whatever was proven.

use serde_json::{Value, json};

use super::{Framing, Plain};
use crate::template::{Conversation, Template};

/// The first conversation for which the framing and the template disagree, if any.
pub(in crate::template) fn disagreement(
    framing: &Framing,
    template: &Template,
    tools: Option<&Value>,
) -> Option<String> {
    beginnings().into_iter().find_map(|beginning| {
        let mut before: Option<String> = None;
        ends().into_iter().find_map(|end| {
            let messages = [&beginning[..], &end[..]].concat();
            let plain: Vec<_> = end.iter().map(Plain::read).collect();
            let conversation = Conversation { messages, tools: tools.cloned(), ..Conversation::default() };
            let last = conversation.messages.last().and_then(Plain::read);
            let goes_on = framing.goes_on_after(beginning.last().and_then(Plain::read), beginning.len())
                && framing.may_end(last);
            let mut added = String::new();
            let framed = plain.iter().all(|plain| plain.is_some_and(|plain| framing.push(&mut added, plain)));
            if !goes_on || !framed {
                return None;
            }
            // A template may refuse an order of roles; then it must refuse it without its framing too.
            let text = template.render(&conversation).ok()?.text;
            let ending = template.ending(framing, &conversation);
            let messages = ending.and_then(|ending| text.strip_suffix(ending.as_str()));
            let rest = messages.and_then(|text| text.strip_suffix(added.as_str()));
            let agrees = rest.is_some_and(|rest| before.get_or_insert_with(|| rest.to_owned()) == rest);
            (!agrees).then(|| json!(conversation.messages).to_string())
        })
    })
}

const TEXTS: [&str; 4] = ["a\n", "<think>\nb\n</think>\n\nc", "", " </think> d <tool_response>"];

fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

/// What was said before: all kinds of messages at the end.
fn beginnings() -> Vec<Vec<Value>> {
    let user = message("user", TEXTS[0]);
    let call = json!([{"id": "i", "function": {"arguments": {}, "name": "f"}, "type": "function"}]);
    let calls = json!({"role": "assistant", "content": "", "tool_calls": call});
    let reasoned =
        json!({"role": "assistant", "content": "a", "reasoning": TEXTS[0], "reasoning_content": TEXTS[0]});
    let tool = json!({"role": "tool", "content": "t", "tool_call_id": "i"});
    let mut found = vec![
        vec![message("system", "s")],
        vec![message("system", "s"), user.clone()],
        vec![user.clone(), calls.clone()],
        vec![user.clone(), calls.clone(), tool.clone()],
        vec![
            user.clone(),
            calls.clone(),
            tool.clone(),
            tool.clone(),
            message("assistant", "a"),
            user.clone(),
        ],
        vec![user.clone(), calls, tool, user.clone()],
        vec![user.clone(), reasoned],
    ];
    found.extend(TEXTS.map(|text| vec![message("user", text)]));
    found.extend(TEXTS.map(|text| vec![user.clone(), message("assistant", text)]));
    found
}

/// What is said then.
fn ends() -> Vec<Vec<Value>> {
    let mut found = vec![
        Vec::new(),
        vec![message("system", "s"), message("user", "u")],
        vec![message("user", "u"), message("user", "<tool_response> </tool_response>")],
        vec![
            message("assistant", "a"),
            message("user", "u"),
            message("assistant", "a"),
            message("user", "v"),
        ],
    ];
    for text in TEXTS {
        let reasoned =
            json!({"role": "assistant", "content": text, "reasoning": "r", "reasoning_content": "r"});
        found.push(vec![message("user", text)]);
        found.push(vec![message("assistant", text)]);
        found.push(vec![message("assistant", text), message("user", "u")]);
        found.push(vec![reasoned, message("user", "u")]);
    }
    found
}
