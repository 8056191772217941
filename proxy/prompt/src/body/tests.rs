use bytes::Bytes;
use proptest::prelude::*;
use rankwise_core::hash::HashKey;
use serde_json::{Value, json};

use super::{Body, Field, Raw, has_field};
use crate::cache::PromptCache;
use crate::{Api, BodyError};

fn read(body: &[u8]) -> Result<Body, BodyError> {
    Body::read(Api::Completions, Bytes::copy_from_slice(body))
}

#[test]
fn the_last_duplicate_wins_however_it_is_written() {
    let body = read(br#"{"n":1,"user":{"n":9},"\u006e":2}"#).unwrap();
    assert_eq!(body.get(Field::N).unwrap().bytes(), b"2");
    assert_eq!(body.get(Field::User).unwrap().bytes(), br#"{"n":9}"#);
    assert!(body.get(Field::Text).is_none());
}

#[test]
fn null_is_absent() {
    assert!(read(br#"{"n":1,"n": null }"#).unwrap().get(Field::N).is_none());
}

#[test]
fn a_syntax_error_tells_its_byte() {
    for (body, expected) in [
        ("{\"a\":1,\n\n  \"b\":x}", 15),
        ("", 0),
        ("{", 1),
        ("{} x", 3),
        ("{\"a\":\"\n\"}", 6),
        ("{\"a\"}", 4),
        ("{\"a\":1 2}", 7),
        ("{\"a\":1,}", 7),
        ("{\"\\x\":1}", 3),
    ] {
        let Err(BodyError::Json { offset, message }) = read(body.as_bytes()) else { panic!("{body}") };
        assert!(offset.abs_diff(expected) <= 1, "{body:?}: {offset}, {message}");
        assert!(!message.contains(" line "), "{message}");
    }
    for body in ["[]", "3", "\"x\"", "null"] {
        assert!(matches!(read(body.as_bytes()), Err(BodyError::Json { .. })), "{body}");
    }
}

#[test]
fn depth_costs_no_stack() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deep = format!("{{\"n\":{},\"user\":{}}}", nested(200_000), nested(9));
    let body = read(deep.as_bytes()).unwrap();
    assert!(body.get(Field::N).unwrap().value().is_err());
    assert!(body.get(Field::User).unwrap().value().is_ok());
}

#[test]
fn members_are_read_by_their_own_names() {
    let raw = Raw::new("a", br#"{"x":1,"\u0079":null,"z":[2],"x":3}"#);
    let [x, y, z] = raw.members([("x", "a.x"), ("y", "a.y"), ("z", "a.z")]).unwrap();
    assert_eq!(x.unwrap().integer(), Ok(3));
    assert!(y.is_none());
    let error = z.unwrap().integer().unwrap_err();
    assert_eq!(error.param(), Some("a.z"));
    assert!(Raw::new("a", b"[]").members([("x", "a.x")]).is_err());
    assert!(Raw::new("a", b"{}").members([("x", "a.x")]).unwrap()[0].is_none());
}

#[test]
fn a_field_is_found_however_its_name_is_written() {
    assert_eq!(has_field(br#" {"a":{"b":1},"c":[{"d":1}]}"#, "a"), Ok(true));
    assert_eq!(has_field(br#"{"\u0061":{}}"#, "a"), Ok(true));
    for absent in [&br#"{}"#[..], br#"{"b":{"a":1}}"#, br#"{"a":null}"#, br#"{"aa":"a"}"#] {
        assert_eq!(has_field(absent, "a"), Ok(false));
    }
    assert!(has_field(b"[]", "a").is_err());
}

/// A chat of `count` messages and then `rest`.
fn chat(count: usize, rest: &str) -> Bytes {
    let messages: Vec<Value> = (0..count)
        .map(|at| json!({"role": "user", "content": format!("{at} {}", "x".repeat(200))}))
        .collect();
    let messages = serde_json::to_string(&messages).unwrap();
    Bytes::from(format!("{{\"model\":\"m\",\"messages\":{messages}{rest}}}"))
}

/// The same, with marks made for it.
fn marked(cache: &PromptCache, count: usize, rest: &str) -> Bytes {
    let body = chat(count, rest);
    if let Ok(read) = cache.read(Api::ChatCompletions, body.clone()) {
        cache.put_marks(&read, &cache.places(&read));
    }
    body
}

#[test]
fn a_known_beginning_is_not_read_again() {
    let cache = PromptCache::new(1 << 20, HashKey::new([1; 32]));
    marked(&cache, 40, "");
    let longer = chat(43, ",\"stream\":true");
    let body = cache.read(Api::ChatCompletions, longer.clone()).unwrap();
    assert_eq!(body.known().unwrap().count, 40);
    assert!(body.new_bytes() < 800, "{}", body.new_bytes());
    let plain = Body::read(Api::ChatCompletions, longer.clone()).unwrap();
    for field in Field::all() {
        assert_eq!(body.get(field).map(Raw::bytes), plain.get(field).map(Raw::bytes), "{}", field.name());
    }
    let last = body.new_messages().last().unwrap();
    assert_eq!(last.0, 42);
    assert!(String::from_utf8_lossy(last.1).contains("42 xxx"));
    // Another API gives the same bytes another meaning.
    assert!(cache.read(Api::Messages, longer).unwrap().known().is_none());
}

#[test]
fn an_end_that_is_asked_for_is_found_however_many_others_follow_the_same_beginning() {
    let cache = PromptCache::new(1 << 20, HashKey::new([1; 32]));
    let system = "s".repeat(1500);
    for user in 0..100 {
        let messages =
            json!([{"role": "system", "content": system}, {"role": "user", "content": user.to_string()}]);
        let body = Bytes::from(json!({"model": "m", "messages": messages}).to_string());
        let read = cache.read(Api::ChatCompletions, body).unwrap();
        assert_eq!(read.known().map(|known| known.count), (user > 0).then_some(1), "{user}");
        cache.put_marks(&read, &cache.places(&read));
    }
}

#[test]
fn a_known_beginning_hides_no_fault_and_no_duplicate() {
    let cache = PromptCache::new(1 << 20, HashKey::new([1; 32]));
    marked(&cache, 40, "");
    for rest in [",", ",\"n\":}", "]", " x", ",\"messages\":3x"] {
        let broken = marked(&cache, 41, rest);
        let with = cache.read(Api::ChatCompletions, broken.clone()).map(drop);
        assert_eq!(with, Body::read(Api::ChatCompletions, broken).map(drop), "{rest}");
        assert!(with.is_err(), "{rest}");
    }
    let twice = marked(&cache, 41, ",\"messages\":[7]");
    let body = cache.read(Api::ChatCompletions, twice).unwrap();
    assert!(body.known().is_none());
    assert_eq!(body.get(Field::Messages).unwrap().bytes(), b"[7]");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&body);
    }

    #[test]
    fn it_takes_what_a_whole_parse_takes(inside in "[\\[\\]{}:,\"a0-9 nulltruefalse.\\\\]{0,24}") {
        for body in [inside.clone(), format!("{{{inside}}}"), format!("{{\"n\":{inside}}}"), format!("{{{inside}:1}}")] {
            let whole = serde_json::from_str::<serde_json::Map<String, Value>>(&body);
            prop_assert_eq!(read(body.as_bytes()).is_ok(), whole.is_ok(), "{}", body);
        }
    }

    #[test]
    fn it_agrees_with_a_whole_parse(list in prop::collection::vec(("n|user|x", any::<i32>()), 0..8)) {
        let inside: Vec<String> = list.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
        let body = format!("{{{}}}", inside.join(","));
        let whole: Value = serde_json::from_str(&body).unwrap();
        let found = read(body.as_bytes()).unwrap();
        for field in [Field::N, Field::User] {
            let parsed = found.get(field).map(|raw| raw.value().unwrap());
            prop_assert_eq!(whole.get(field.name()), parsed.as_ref());
        }
    }
}
