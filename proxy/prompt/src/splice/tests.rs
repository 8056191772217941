use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{NotAnObject, append, append_all};

fn parsed(body: &str, key: &str, value: &str) -> Value {
    let spliced = append(&Bytes::copy_from_slice(body.as_bytes()), key, value).unwrap();
    assert_eq!(spliced.len(), spliced.to_bytes().len());
    serde_json::from_slice(&spliced.to_bytes()).unwrap()
}

#[test]
fn the_added_field_is_the_last() {
    assert_eq!(parsed(r#"{"a":1}"#, "rank", "3"), json!({"a": 1, "rank": 3}));
    assert_eq!(parsed("{}", "rank", "3"), json!({"rank": 3}));
    assert_eq!(parsed(" \r\n{ \t} \n", "rank", "3"), json!({"rank": 3}));
    assert_eq!(parsed("{\"a\":{}}\n\n", "rank", "null"), json!({"a": {}, "rank": null}));
    assert_eq!(parsed(r#"{"a":"}"}"#, "rank", r#"{"b":[]}"#), json!({"a": "}", "rank": {"b": []}}));
    assert_eq!(parsed(r#"{"a":"{"}"#, "a\"\n\\", "1"), json!({"a": "{", "a\"\n\\": 1}));
}

#[test]
fn a_clients_field_of_that_name_loses() {
    for body in [
        r#"{"rank":7}"#,
        r#"{"\u0072ank":7,"a":1}"#,
        r#"{"rank":7,"rank":8}"#,
        "{\"r\\u0061\\u006ek\" : 7 , \"rank\":[{\"rank\":9}]\n}",
    ] {
        assert_eq!(parsed(body, "rank", "3")["rank"], 3, "{body}");
    }
}

#[test]
fn several_fields_go_in_order() {
    let body = Bytes::from_static(b"{\"a\":1}");
    let spliced = append_all(&body, &[("b", "2"), ("c", "[3]")]).unwrap();
    assert_eq!(spliced.to_bytes(), "{\"a\":1,\"b\":2,\"c\":[3]}");
    assert_eq!(append_all(&body, &[]).unwrap().to_bytes(), body);
}

#[test]
fn the_head_is_a_slice_of_the_body() {
    let body = Bytes::from(vec![b'{', b'}']);
    assert_eq!(append(&body, "a", "1").unwrap().head.as_ptr(), body.as_ptr());
}

#[test]
fn what_is_no_object_is_refused() {
    for body in ["", " ", "{", "}", "[]", "3", "\"{}\"", "}{", "{}x"] {
        assert_eq!(append(&Bytes::from(body), "a", "1"), Err(NotAnObject), "{body:?}");
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,4}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn splicing_is_setting(
        fields in prop::collection::vec((".{0,4}", json_value()), 0..6),
        key in ".{0,4}",
        value in json_value(),
        pretty: bool,
        space in "[ \t\r\n]{0,3}",
    ) {
        let mut object: serde_json::Map<_, _> = fields.into_iter().collect();
        let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) }.unwrap();
        let body = Bytes::from(format!("{space}{text}{space}"));
        let spliced = append(&body, &key, &value.to_string()).unwrap();
        object.insert(key, value);
        let parsed: serde_json::Map<String, Value> = serde_json::from_slice(&spliced.to_bytes()).unwrap();
        prop_assert_eq!(parsed, object);
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = append(&Bytes::from(body), "a", "1");
    }
}
