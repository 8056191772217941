//! Fields added to a body: the client's bytes stay as they are, what was an object still is one, and the added field wins.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rankwise_prompt::splice::append_all;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first() else { return };
    let (key, body) = rest.split_at(usize::from(*length).min(rest.len()));
    let key = String::from_utf8_lossy(key);
    let body = Bytes::copy_from_slice(body);
    let Ok(spliced) = append_all(&body, &[("data_parallel_rank", "7"), (&key, "8")]) else {
        assert!(!matches!(serde_json::from_slice(&body), Ok(Value::Object(_))), "an object was refused");
        return;
    };
    assert!(body.starts_with(&spliced.head));
    assert_eq!(spliced.to_bytes().len(), spliced.len());
    if matches!(serde_json::from_slice(&body), Ok(Value::Object(_))) {
        let object: Value = serde_json::from_slice(&spliced.to_bytes()).expect("still an object");
        assert_eq!(object[&*key], 8);
        assert!(key == "data_parallel_rank" || object["data_parallel_rank"] == 7);
    }
});
