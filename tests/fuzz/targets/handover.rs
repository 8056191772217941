//! An engine's answer to the first leg of a request: what it hands over to the second leg keeps a body the JSON object that it was.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use rankwise_engines::disaggregation::Transfer;
use serde_json::value::RawValue;

fuzz_target!(|answer: &[u8]| {
    for (transfer, chat) in [
        (Transfer::KvTransferParams, true),
        (Transfer::DisaggregatedParams, true),
        (Transfer::DisaggregatedParams, false),
    ] {
        let Ok(Some(fields)) = transfer.handed_over(answer, chat) else { continue };
        assert!(!fields.is_empty());
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, json)| (*name, json.as_str())).collect();
        let body = bytes::Bytes::from_static(br#"{"model":"m","prompt":"p"}"#);
        let spliced = rankwise_prompt::splice::append_all(&body, &fields).expect("an object");
        let body = spliced.to_bytes();
        // Numbers may be larger than any that we read.
        let body: BTreeMap<String, &RawValue> = serde_json::from_slice(&body).expect("still JSON");
        assert!(body.contains_key("model"));
        assert!(fields.iter().all(|(name, _)| body.contains_key(*name)), "{fields:?}");
    }
});
