use proptest::prelude::*;
use serde_json::Value;

use super::{fields, has_field, json_error};
use crate::BodyError;

#[test]
fn the_last_duplicate_wins_however_it_is_written() {
    let body = br#"{"a":1,"b":{"a":9},"\u0061":2}"#;
    let [a, b, c] = fields(body, &["a", "b", "c"]).unwrap();
    assert_eq!(a.unwrap().get(), "2");
    assert_eq!(b.unwrap().get(), r#"{"a":9}"#);
    assert!(c.is_none());
}

#[test]
fn null_is_absent() {
    let [a] = fields(br#"{"a":1,"a": null }"#, &["a"]).unwrap();
    assert!(a.is_none());
}

#[test]
fn a_syntax_error_tells_its_byte() {
    for (body, expected) in
        [("{\"a\":1,\n\n  \"b\":x}", 15), ("", 0), ("{", 1), ("{} x", 3), ("{\"a\":\"\n\"}", 6)]
    {
        let Err(BodyError::Json { offset, message }) = fields(body.as_bytes(), &["a"]) else {
            panic!("{body}")
        };
        assert!(offset.abs_diff(expected) <= 1, "{body:?}: {offset}, {message}");
        assert!(!message.contains(" line "), "{message}");
    }
    for body in ["[]", "3", "\"x\"", "null"] {
        assert!(matches!(fields(body.as_bytes(), &["a"]), Err(BodyError::Json { .. })), "{body}");
    }
}

#[test]
fn depth_costs_no_stack() {
    let deep = format!(
        "{{\"a\":{}{},\"b\":{}{}}}",
        "[".repeat(200_000),
        "]".repeat(200_000),
        "[".repeat(9),
        "]".repeat(9)
    );
    let [a, b] = fields(deep.as_bytes(), &["a", "b"]).unwrap();
    assert!(super::value("a", a.unwrap()).is_err());
    assert!(super::value("b", b.unwrap()).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = fields(&body, &["a"]);
        if let Err(error) = serde_json::from_slice::<Value>(&body) {
            let BodyError::Json { offset, .. } = json_error(&body, &error) else { unreachable!() };
            prop_assert!(offset <= body.len());
        }
    }

    #[test]
    fn it_agrees_with_a_whole_parse(list in prop::collection::vec(("[abc]", any::<i32>()), 0..8)) {
        let inside: Vec<String> = list.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
        let body = format!("{{{}}}", inside.join(","));
        let whole: Value = serde_json::from_str(&body).unwrap();
        let found = fields(body.as_bytes(), &["a", "b"]).unwrap();
        for (name, found) in ["a", "b"].iter().zip(found) {
            let parsed = found.map(|raw| serde_json::from_str::<Value>(raw.get()).unwrap());
            prop_assert_eq!(whole.get(*name), parsed.as_ref());
        }
    }
}

#[test]
fn a_field_is_found_however_its_name_is_written() {
    assert_eq!(has_field(br#"{"a":{"b":1},"c":[{"d":1}]}"#, "a"), Ok(true));
    assert_eq!(has_field(br#"{"\u0061":{}}"#, "a"), Ok(true));
    for absent in [&br#"{}"#[..], br#"{"b":{"a":1}}"#, br#"{"a":null}"#, br#"{"aa":"a"}"#] {
        assert_eq!(has_field(absent, "a"), Ok(false));
    }
    assert!(has_field(b"[]", "a").is_err());
}
