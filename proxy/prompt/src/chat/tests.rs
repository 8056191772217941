use bytes::Bytes;
use serde_json::{Value, json};

use super::{CUT, Request};
use crate::files::Config;
use crate::template::Template;
use crate::{Api, Body, BodyError};

fn template(source: &str) -> Template {
    Template::new(
        Config { templates: vec![("default".to_owned(), source.to_owned())], ..Config::default() },
        None,
    )
    .unwrap()
}

fn request(api: Api, body: Value, template: &Template) -> Result<Request, BodyError> {
    let body = Body::read(api, Bytes::from(body.to_string()), None)?;
    Request::parse(&body, template)
}

fn parsed(body: Value) -> Result<Request, BodyError> {
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
    for arguments in [json!(""), json!(null), json!({})] {
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
    assert_eq!(
        place(json!({"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]})),
        "messages[1].tool_calls[0].function.arguments"
    );
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
fn responses_are_chats() {
    let messages = |body| request(Api::Responses, body, &template("")).map(|request| json!(request.messages));
    let user = |text: &str| json!({"role": "user", "content": text});
    assert_eq!(
        messages(json!({"instructions": "i", "input": "x"})).unwrap(),
        json!([{"role": "system", "content": "i"}, user("x")])
    );
    let parts =
        json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "y"}]}]);
    assert_eq!(messages(json!({"input": parts})).unwrap(), json!([user("y")]));
    for body in [
        json!({"input": [{"type": "function_call", "name": "f"}]}),
        json!({"input": "x", "tools": [{}]}),
        json!({"input": "x", "reasoning": {"effort": "low"}}),
    ] {
        assert!(!messages(body.clone()).unwrap_err().is_client_fault(), "{body}");
    }
    assert!(messages(json!({"input": 3})).unwrap_err().is_client_fault());
}

#[test]
fn anthropics_messages_are_chats() {
    let parsed = |body| request(Api::Messages, body, &template(""));
    let body = json!({
        "system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}, {"role": "assistant", "content": "y"}],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
    });
    let chat = parsed(body).unwrap();
    assert_eq!(
        json!(chat.messages),
        json!([
            {"role": "system", "content": "ab"}, {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
        ])
    );
    assert_eq!(chat.tools.unwrap()[0]["function"]["parameters"], json!({"type": "object"}));
    let image = json!([{"type": "text", "text": "x"}, {"type": "image", "source": {}}]);
    assert!(parsed(json!({"messages": [{"role": "user", "content": image}]})).unwrap().cut);
    let result = json!([{"type": "tool_result", "content": "x"}]);
    let unknown = parsed(json!({"messages": [{"role": "user", "content": result}]})).unwrap_err();
    assert!(!unknown.is_client_fault());
}
