use serde_json::{Value, json};

use super::{Encoder, EncoderKind, EncoderPreference, self_test};

/// A tokenizer of single letters, which only the reference knows.
fn word_level() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2}, "unk_token": "?"},
    })
}

#[test]
fn what_the_fast_encoder_refuses_the_reference_takes() {
    let encoder = Encoder::load(word_level(), EncoderPreference::Fastest).unwrap();
    assert_eq!(encoder.choice().kind, EncoderKind::Reference);
    assert!(encoder.choice().reason.starts_with("fastokens: "), "{}", encoder.choice().reason);
    assert_eq!(encoder.encode("a b c", false), Ok(vec![0, 1, 2]));
}

#[test]
fn what_is_no_tokenizer_does_not_load() {
    for json in [json!({}), json!({"model": {"type": "BPE"}})] {
        assert!(Encoder::load(json, EncoderPreference::Fastest).is_err());
    }
}

#[test]
fn files_with_truncation_and_padding_encode_whole_texts() {
    let mut json = word_level();
    json["truncation"] =
        json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    json["padding"] = json!({"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "a"});
    let encoder = Encoder::load(json, EncoderPreference::Reference).unwrap();
    assert_eq!(encoder.encode("a b a", false), Ok(vec![0, 1, 0]));
    assert_eq!(encoder.choice().reason, "asked for");
}

#[test]
fn the_self_test_is_the_same_every_time_and_short() {
    let special = ["<a>".to_owned(), "<b>".to_owned()];
    let texts = self_test::texts(&special);
    assert_eq!(texts, self_test::texts(&special));
    assert!((1600..2000).contains(&texts.len()));
    assert!(texts.iter().map(String::len).sum::<usize>() < 400_000);
    assert!(texts.iter().any(|text| text.contains("<b>")));
    assert!(!self_test::texts(&[]).is_empty());
}
