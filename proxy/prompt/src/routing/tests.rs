use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{RoutingFields, SessionKeys};
use crate::{Api, Body, BodyError};

fn routing_fields(api: Api, body: &[u8]) -> Result<RoutingFields, BodyError> {
    Body::read(api, Bytes::copy_from_slice(body))?.routing_fields()
}

fn chat(body: Value) -> Result<RoutingFields, BodyError> {
    routing_fields(Api::ChatCompletions, body.to_string().as_bytes())
}

fn completion(body: Value) -> Result<RoutingFields, BodyError> {
    routing_fields(Api::Completions, body.to_string().as_bytes())
}

#[test]
fn everything_is_read() {
    let fields = chat(json!({
        "model": "m", "messages": [{"role": "user", "content": "x"}], "stream": true, "stream_options": {"include_usage": true},
        "max_tokens": 5, "max_completion_tokens": 7.0, "n": 3, "cache_salt": "s", "priority": -2, "session_id": "a",
        "prompt_cache_key": "b", "user": "c", "temperature": [], "unknown": {"n": 9},
    }));
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        fields,
        Ok(RoutingFields {
            model: "m".to_owned(),
            stream: true,
            include_usage: true,
            max_output_tokens: Some(7),
            sequences: 3,
            cache_salt: text("s"),
            priority: Some(-2),
            session: SessionKeys { session_id: text("a"), prompt_cache_key: text("b"), user: text("c") },
            previous_response_id: None,
            store: true,
        })
    );
}

#[test]
fn defaults() {
    let fields =
        chat(json!({"model": "m", "messages": [0], "stream": null, "max_tokens": 4, "user": 3})).unwrap();
    assert!(!fields.stream && !fields.include_usage);
    assert_eq!((fields.max_output_tokens, fields.sequences, fields.priority), (Some(4), 1, None));
    assert_eq!(fields.session, SessionKeys::default());
}

#[test]
fn sequences_are_n_times_prompts() {
    let sequences = |prompt: Value| {
        completion(json!({"model": "m", "prompt": prompt, "n": 2})).map(|fields| fields.sequences)
    };
    assert_eq!(sequences(json!("a")), Ok(2));
    assert_eq!(sequences(json!(["a", "b", "c"])), Ok(6));
    assert_eq!(sequences(json!([1, 2, 3])), Ok(2));
    assert_eq!(sequences(json!([[1], [2, 3]])), Ok(4));
    let huge = completion(json!({"model": "m", "prompt": ["a", "b"], "n": u32::MAX})).unwrap();
    assert_eq!(huge.sequences, u32::MAX);
}

#[test]
fn errors_name_the_field_in_openais_words() {
    let errors = [
        (chat(json!({"messages": [0]})), "Missing required parameter: 'model'.", Some("model")),
        (chat(json!({"model": "m"})), "Missing required parameter: 'messages'.", Some("messages")),
        (
            chat(json!({"model": "m", "messages": []})),
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            Some("messages"),
        ),
        (
            chat(json!({"model": "m", "messages": "hi"})),
            "Invalid type for 'messages': expected an array of objects, but got a string instead.",
            Some("messages"),
        ),
        (
            chat(json!({"model": 1, "messages": [0]})),
            "Invalid type for 'model': expected a string, but got an integer instead.",
            Some("model"),
        ),
        (
            chat(json!({"model": "m", "messages": [0], "stream": "yes"})),
            "Invalid type for 'stream': expected a boolean, but got a string instead.",
            Some("stream"),
        ),
        (
            chat(json!({"model": "m", "messages": [0], "stream_options": {"include_usage": 1}})),
            "Invalid type for 'stream_options.include_usage': expected a boolean, but got an integer instead.",
            Some("stream_options.include_usage"),
        ),
        (
            chat(json!({"model": "m", "messages": [0], "max_tokens": 1.5})),
            "Invalid type for 'max_tokens': expected an integer, but got a decimal instead.",
            Some("max_tokens"),
        ),
        (
            chat(json!({"model": "m", "messages": [0], "n": 0})),
            "Invalid 'n': integer below minimum value. Expected a value >= 1.",
            Some("n"),
        ),
        (completion(json!({"model": "m"})), "Missing required parameter: 'prompt'.", Some("prompt")),
        (completion(json!({"model": "m", "prompt": []})), "Invalid 'prompt': empty array.", Some("prompt")),
        (
            completion(json!({"model": "m", "prompt": 3})),
            "Invalid type for 'prompt': expected a string, an array",
            Some("prompt"),
        ),
        (completion(json!({"model": "m", "prompt": ["a", 1]})), "Invalid 'prompt': ", Some("prompt")),
        (completion(json!({"model": "m", "prompt": [-1]})), "Invalid 'prompt': ", Some("prompt")),
        (
            routing_fields(Api::ChatCompletions, b"{\"model\": }"),
            "We could not parse the JSON body of your request: expected value (at byte 10).",
            None,
        ),
    ];
    for (result, words, param) in errors {
        let error = result.unwrap_err();
        assert!(error.to_string().starts_with(words), "{error}");
        assert!(error.is_client_fault());
        assert_eq!(error.param(), param);
    }
}

#[test]
fn the_prompt_need_not_be_sound() {
    // A lone surrogate, which is not text: only the engine can say what it makes of it.
    let body = br#"{"model":"m","messages":[{"role":"user","content":"\ud800"}]}"#;
    assert!(routing_fields(Api::ChatCompletions, body).is_ok());
    assert!(completion(json!({"model": "m", "prompt_embeds": "AA=="})).is_ok());
}

#[test]
fn other_apis_have_other_fields() {
    let fields = |api, body: Value| routing_fields(api, body.to_string().as_bytes());
    let response =
        fields(Api::Responses, json!({"model": "m", "input": "x", "max_output_tokens": 3})).unwrap();
    assert_eq!((response.max_output_tokens, response.sequences), (Some(3), 1));
    let message = fields(Api::Messages, json!({"model": "m", "messages": [{}], "max_tokens": 4})).unwrap();
    assert_eq!(message.max_output_tokens, Some(4));
    let embedding = fields(Api::Embeddings, json!({"model": "m", "input": ["a", "b"]})).unwrap();
    assert_eq!((embedding.max_output_tokens, embedding.sequences), (None, 2));
    let sampling = json!({"n": 2, "max_new_tokens": 5, "max_tokens": 6});
    let sglang = fields(Api::SglangGenerate, json!({"text": "a", "sampling_params": sampling})).unwrap();
    assert_eq!((sglang.model.as_str(), sglang.max_output_tokens, sglang.sequences), ("", Some(5), 2));
    let vllm = fields(Api::VllmGenerate, json!({"token_ids": [1], "sampling_params": sampling})).unwrap();
    assert_eq!(vllm.max_output_tokens, Some(6));
    for api in Api::ALL {
        let error = fields(api, json!({"model": "m"})).unwrap_err();
        assert!(matches!(error, BodyError::Missing { .. }), "{api}: {error}");
    }
}

#[test]
fn a_response_may_go_on_from_another_and_from_no_conversation() {
    let fields = |more: Value| {
        let mut body = json!({"model": "m", "input": "x"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        routing_fields(Api::Responses, body.to_string().as_bytes())
    };
    let previous = |more| fields(more).unwrap().previous_response_id;
    assert_eq!(previous(json!({"previous_response_id": "resp_1"})).as_deref(), Some("resp_1"));
    assert_eq!(previous(json!({"previous_response_id": null, "conversation": null})), None);
    for (field, value) in [("previous_response_id", json!(7)), ("conversation", json!("conv_1"))] {
        let error = fields(json!({field: value})).unwrap_err();
        assert!(error.is_client_fault());
        assert_eq!(error.param(), Some(field));
    }
    // A field of other APIs is theirs.
    let other = chat(json!({"model": "m", "messages": [0], "previous_response_id": 7, "conversation": 7}));
    assert_eq!(other.unwrap().previous_response_id, None);
    for (store, expected) in
        [(json!(null), true), (json!(true), true), (json!(false), false), (json!("no"), true)]
    {
        assert_eq!(fields(json!({"store": store})).unwrap().store, expected, "{store}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..60), inside in "[\\[\\]{}:,\"a0-9 nulltruefalse.]{0,40}") {
        for api in Api::ALL {
            let _ = routing_fields(api, &body);
            for field in ["messages", "prompt", "n", "model", "stream_options"] {
                let _ = routing_fields(api, format!("{{\"model\":\"m\",\"prompt\":\"\",\"messages\":[0],\"{field}\":{inside}}}").as_bytes());
            }
        }
    }

    #[test]
    fn it_agrees_with_a_whole_parse(
        model in ".{0,12}", stream in prop::option::of(any::<bool>()), n in prop::option::of(1u32..), max in prop::option::of(any::<u32>()),
        salt in prop::option::of(".{0,12}"), priority in prop::option::of(any::<i32>()), noise in prop::collection::vec(".{0,3}", 0..4),
    ) {
        let mut body = json!({"messages": [{}], "model": model, "stream": stream, "n": n, "max_tokens": max, "cache_salt": salt, "priority": priority});
        for key in noise {
            if body.get(&key).is_none() {
                body[key] = json!([{"model": 1}]);
            }
        }
        let fields = routing_fields(Api::ChatCompletions, serde_json::to_string_pretty(&body).unwrap().as_bytes()).unwrap();
        prop_assert_eq!(fields.model, body["model"].as_str().unwrap());
        prop_assert_eq!(fields.stream, body["stream"].as_bool().unwrap_or(false));
        prop_assert_eq!(u64::from(fields.sequences), body["n"].as_u64().unwrap_or(1));
        prop_assert_eq!(fields.max_output_tokens.map(u64::from), body["max_tokens"].as_u64());
        prop_assert_eq!(fields.cache_salt.as_deref(), body["cache_salt"].as_str());
        prop_assert_eq!(fields.priority.map(i64::from), body["priority"].as_i64());
    }
}
