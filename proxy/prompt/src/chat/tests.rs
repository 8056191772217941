use bytes::Bytes;
use serde_json::{Value, json};

use super::Request;
use crate::files::Config;
use crate::template::{CUT, Conversation, Template};
use crate::test_support::data;
use crate::{Api, Body, BodyError, Dialect};

fn template(source: &str) -> Template {
    Template::new(
        Config { templates: vec![("default".to_owned(), source.to_owned())], ..Config::default() },
        None,
    )
    .unwrap()
}

fn request(api: Api, body: Value, template: &Template) -> Result<Conversation, BodyError> {
    let body = Body::read(api, Bytes::from(body.to_string()))?;
    Request::parse(&body, template).map(|request| request.conversation)
}

fn parsed(body: Value) -> Result<Conversation, BodyError> {
    request(Api::ChatCompletions, body, &template(""))
}

fn message(message: Value) -> Value {
    parsed(json!({ "messages": [message] })).unwrap().messages[0].clone()
}

#[test]
fn contents_are_texts() {
    let content = |content: Value| message(json!({"role": "user", "content": content}))["content"].clone();
    assert_eq!(content(json!("a")), "a");
    assert_eq!(content(json!(null)), "");
    assert_eq!(content(json!([])), "");
    assert_eq!(content(json!([{"type": "text", "text": "a"}, "b", {"text": "c"}])), "a\nb\nc");
    assert_eq!(content(json!([{"type": "refusal", "refusal": "no"}, {"type": "text", "text": null}])), "no");
}

#[test]
fn a_messages_members_stand_in_one_order() {
    for role in ["user", "assistant", "system"] {
        let (usual, turned) = (json!({"role": role, "content": "a"}), json!({"content": "a", "role": role}));
        assert_eq!(message(usual.clone()).to_string(), usual.to_string());
        assert_eq!(message(turned).to_string(), usual.to_string());
    }
}

#[test]
fn contents_are_parts_for_a_template_that_loops_over_them() {
    let template = template("{% for m in messages %}{% for c in m.content %}{% endfor %}{% endfor %}");
    let body =
        json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": null}]});
    let messages = request(Api::ChatCompletions, body, &template).unwrap().messages;
    assert_eq!(messages[0]["content"], json!([{"type": "text", "text": "a"}]));
    assert_eq!(messages[1]["content"], json!([]));
}

#[test]
fn a_medium_cuts_its_message() {
    let body = json!({"messages": [
        {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "image_url", "image_url": {"url": "x"}}]},
    ]});
    let request = parsed(body).unwrap();
    assert!(request.cut);
    assert_eq!(request.messages[0]["content"], "a");
    assert!(request.messages[1]["content"].as_str().unwrap().starts_with(CUT));
}

#[test]
fn only_what_the_engine_passes_on_is_kept() {
    assert_eq!(
        message(json!({"x": 1, "name": "n", "content": "a", "role": "user", "tool_calls": [1]})).to_string(),
        r#"{"role":"user","content":"a","name":"n"}"#
    );
    assert_eq!(
        message(json!({"role": "tool", "tool_call_id": "c", "content": "a"})).to_string(),
        r#"{"role":"tool","content":"a","tool_call_id":"c"}"#
    );
    assert_eq!(
        message(json!({"role": "assistant", "reasoning_content": "r", "tool_calls": []})).to_string(),
        r#"{"role":"assistant","content":"","reasoning":"r","reasoning_content":"r"}"#
    );
}

#[test]
fn arguments_are_objects_and_calls_in_pydantics_order() {
    let call = json!({"index": 0, "type": "function", "id": "c", "function": {"name": "f", "arguments": "{\"b\": 1.0, \"a\": []}"}});
    assert_eq!(
        message(json!({"role": "assistant", "tool_calls": [call]}))["tool_calls"].to_string(),
        r#"[{"id":"c","function":{"arguments":{"b":1.0,"a":[]},"name":"f"},"type":"function","index":0}]"#
    );
    for arguments in [json!(""), json!(null), json!({}), json!("{"), json!("[1]"), json!([1])] {
        let calls = message(
            json!({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}),
        );
        assert_eq!(calls["tool_calls"][0]["function"]["arguments"], json!({}));
    }
}

#[test]
fn tools_are_dumped_as_pydantic_does() {
    let tools = json!([
        {"function": {"parameters": {"type": "object"}, "name": "f", "x": 1}, "type": "function", "x": 1},
        {"type": "function", "function": {"name": "g", "description": "d", "strict": true}},
    ]);
    let request = parsed(json!({"messages": [{"role": "user"}], "tools": tools})).unwrap();
    assert_eq!(
        request.tools.unwrap().to_string(),
        concat!(
            r#"[{"type":"function","function":{"name":"f","description":null,"parameters":{"type":"object"}}},"#,
            r#"{"type":"function","function":{"name":"g","description":"d","parameters":null,"strict":true}}]"#
        )
    );
}

#[test]
fn effort_switches_thinking_unless_told_otherwise() {
    let kwargs = |body: Value| parsed(body).unwrap().kwargs;
    let messages = json!([{"role": "user"}]);
    assert_eq!(
        json!(kwargs(json!({"messages": messages, "reasoning_effort": "none"}))),
        json!({"enable_thinking": false, "reasoning_effort": "none"})
    );
    let told = json!({"messages": messages, "reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": false}});
    assert_eq!(kwargs(told)["enable_thinking"], false);
}

#[test]
fn errors_name_the_place() {
    let param = |body: Value| parsed(body).unwrap_err().param().map(str::to_owned);
    let place =
        |message: Value| param(json!({"messages": [{"role": "user", "content": ""}, message]})).unwrap();
    assert_eq!(place(json!(3)), "messages[1]");
    assert_eq!(place(json!({"content": "a"})), "messages[1].role");
    assert_eq!(place(json!({"role": 1})), "messages[1].role");
    assert_eq!(place(json!({"role": "user", "content": 3})), "messages[1].content");
    assert_eq!(place(json!({"role": "user", "content": [3]})), "messages[1].content[0]");
    assert_eq!(place(json!({"role": "user", "content": [{"type": "text"}]})), "messages[1].content[0].text");
    assert_eq!(place(json!({"role": "assistant", "tool_calls": 1})), "messages[1].tool_calls");
    assert_eq!(place(json!({"role": "assistant", "tool_calls": [{}]})), "messages[1].tool_calls[0].function");
    let messages = json!([{"role": "user"}]);
    assert_eq!(
        param(json!({"messages": messages, "tools": [{"function": {}}]})).unwrap(),
        "tools[0].function.name"
    );
    assert_eq!(
        param(json!({"messages": messages, "chat_template_kwargs": 1})).unwrap(),
        "chat_template_kwargs"
    );
    let own = parsed(json!({"messages": messages, "chat_template": "x"})).unwrap_err();
    assert!(!own.is_client_fault());
}

#[test]
fn claude_codes_billing_header_is_no_part_of_a_system_message() {
    let content =
        |role: &str, content: Value| message(json!({"role": role, "content": content}))["content"].clone();
    let text = "x-anthropic-billing-header: cch=1;\nYou are";
    assert_eq!(content("system", json!(text)), "You are");
    assert_eq!(content("user", json!(text)), text);
    let parts = json!([{"type": "text", "text": "x-anthropic-billing-header: cch=1;"}, {"type": "text", "text": ""}, "a"]);
    assert_eq!(content("system", parts), "\na");
}

#[test]
fn what_a_tool_answered_is_one_text() {
    let template = template("{% for m in messages %}{% for c in m.content %}{% endfor %}{% endfor %}");
    let content = |content: Value| {
        let body = json!({"messages": [{"role": "tool", "content": content}]});
        request(Api::ChatCompletions, body, &template).unwrap().messages[0]["content"].clone()
    };
    assert_eq!(content(json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])), "a\nb");
    let mixed = json!([{"type": "text", "text": "a"}, {"type": "tool_reference", "name": "f"}]);
    assert_eq!(content(mixed.clone()), mixed);
}

/// What vLLM itself made of these bodies, by tests/data/vllm-0.32/normalise.py.
#[test]
fn bodies_of_all_apis_are_normalised_as_by_vllm() {
    let cases = std::fs::read_to_string(data("vllm-0.32/normalised.jsonl")).unwrap();
    let template =
        template("{% for m in messages %}{{ m.role }}{{ m.content }}{{ enable_thinking }}{% endfor %}");
    let mut known = 0;
    for case in cases.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let api = Api::from_path(case["path"].as_str().unwrap()).unwrap();
        let found = match request(api, case["body"].clone(), &template) {
            Ok(found) => found,
            // Left to the engine, which may refuse it as well.
            Err(error) => {
                assert!(case["known"] == false, "{}: {error}", case["name"]);
                continue;
            }
        };
        known += 1;
        let text = |value: &Value| value.to_string();
        let expected = &case["conversation"];
        for (found, expected) in found.messages.iter().zip(expected.as_array().unwrap()) {
            // Keys of a message come in any order; within its calls the order shows.
            assert_eq!(found, expected, "{}", case["name"]);
            assert_eq!(text(&found["tool_calls"]), text(&expected["tool_calls"]), "{}", case["name"]);
        }
        assert_eq!(found.messages.len(), expected.as_array().unwrap().len(), "{}", case["name"]);
        assert_eq!(text(&json!(found.tools)), text(&case["tools"]), "{}", case["name"]);
        let told = json!([found.add_generation_prompt, found.continue_final_message, found.kwargs]);
        assert_eq!(told, case["settings"], "{}", case["name"]);
    }
    assert!(known >= 40, "{known}");
}

#[test]
fn what_only_the_engine_can_know_is_left_to_it() {
    let template = template("");
    for (api, body) in [
        (Api::Responses, json!({"input": [{"type": "item_reference", "id": "x"}]})),
        (Api::Responses, json!({"input": [{"type": "function_call", "name": "f"}]})),
        (Api::Responses, json!({"input": [{"type": "reasoning", "encrypted_content": "x"}]})),
        (Api::Responses, json!({"input": [{"type": "message", "role": "assistant", "content": []}]})),
        (Api::Messages, json!({"messages": [{"role": "user", "content": [{"type": "document"}]}]})),
        (Api::Messages, json!({"messages": [{"role": "user", "content": "x"}], "tools": [{"name": "f"}]})),
        (
            Api::Messages,
            json!({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "f"}]}]}),
        ),
    ] {
        let error = request(api, body.clone(), &template).unwrap_err();
        assert!(!error.is_client_fault(), "{body}: {error}");
    }
    assert!(request(Api::Responses, json!({"input": 3}), &template).unwrap_err().is_client_fault());
    // Of a shape that no field expects: an answer of some kind, and no panic.
    for odd in [json!(null), json!(3), json!("x"), json!([[]]), json!([3]), json!({})] {
        for field in ["tools", "reasoning", "thinking", "output_config", "system", "instructions"] {
            let _ = request(Api::Responses, json!({"input": "x", field: odd}), &template);
            let _ = request(
                Api::Messages,
                json!({"messages": [{"role": "user", "content": "x"}], field: odd}),
                &template,
            );
        }
        for field in ["type", "content", "role", "output", "arguments"] {
            let item = json!({"role": "user", "content": [{"type": "tool_result", field: odd}], field: odd});
            let _ = request(Api::Responses, json!({"input": [item, odd]}), &template);
            let _ = request(Api::Messages, json!({"messages": [item, odd]}), &template);
        }
    }
}

#[test]
fn a_number_that_python_would_print_in_full_is_left_to_the_engine() {
    let tool = |number: &str| {
        format!(
            r#"{{"messages":[{{"role":"user","content":"a"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{{"maximum":{number}}}}}}}]}}"#
        )
    };
    let call = |number: &str| {
        format!(
            r#"{{"messages":[{{"role":"assistant","tool_calls":[{{"id":"a","type":"function","function":{{"name":"f","arguments":"{{\"x\":{number}}}"}}}}]}}]}}"#
        )
    };
    let read = |body: String| {
        let body = Body::read(Api::ChatCompletions, Bytes::from(body)).unwrap();
        Request::parse(&body, &template("")).map(drop)
    };
    for number in ["18446744073709551615", "-9223372036854775808", "1.5", "1e3", "0.1e-300"] {
        assert_eq!(read(tool(number)), Ok(()), "{number}");
        assert_eq!(read(call(number)), Ok(()), "{number}");
    }
    for number in ["18446744073709551616", "-123456789012345678901234567890", "1e30"] {
        for body in [tool(number), call(number)] {
            let error = read(body).unwrap_err();
            assert!(
                matches!(error, BodyError::Template { .. }) && !error.is_client_fault(),
                "{number}: {error}"
            );
        }
    }
}

/// What SGLang itself made of these bodies, by tests/data/sglang-0.5.23/normalise.py.
#[test]
fn chats_are_normalised_as_by_sglang() {
    let cases = std::fs::read_to_string(data("sglang-0.5.23/normalised.jsonl")).unwrap();
    let mut left = Vec::new();
    let mut known = 0;
    for case in cases.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let name = case["name"].as_str().unwrap();
        let template = template(case["template"].as_str().unwrap());
        let body = Body::read(Api::ChatCompletions, Bytes::from(case["body"].to_string())).unwrap();
        let found = Request::parse(&body.for_engine(Dialect::Sglang), &template);
        if case.get("refused").is_some() {
            assert!(found.is_err(), "{name}: it is refused");
            continue;
        }
        let Ok(Request { conversation: found, add_special_tokens, .. }) = found else {
            left.push(name.split(',').next().unwrap().to_owned());
            continue;
        };
        known += 1;
        // In this order a template may print them.
        assert_eq!(json!(found.messages).to_string(), case["messages"].to_string(), "{name}");
        assert_eq!(json!(found.tools).to_string(), case["tools"].to_string(), "{name}");
        assert_eq!(json!(found.kwargs), case["kwargs"], "{name}");
        assert_eq!(found.goes_on, case["behind"] != json!([]), "{name}");
        assert!(found.add_generation_prompt && !found.continue_final_message && !add_special_tokens);
        assert!(found.documents.is_none());
    }
    left.dedup();
    assert_eq!(left, ["reasoning as an object", "prefix", "reasoning as an object", "prefix"]);
    assert!(known >= 60, "{known}");
}

#[test]
fn media_cut_a_chat_of_sglang_too() {
    let parts = template("{% for m in messages %}{% for c in m.content %}{% endfor %}{% endfor %}");
    for template in [&template(""), &parts] {
        let content =
            json!([{"type": "text", "text": "b"}, {"type": "image_url", "image_url": {"url": "x"}}]);
        let body =
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": content}]});
        let body = Body::read(Api::ChatCompletions, Bytes::from(body.to_string())).unwrap();
        let found = Request::parse(&body.for_engine(Dialect::Sglang), template).unwrap().conversation;
        assert!(found.cut && found.messages[1]["content"].to_string().contains(CUT));
    }
}
