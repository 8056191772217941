use serde_json::{Value, json};

use super::Cuts;

fn tokens(contents: &[&str]) -> Value {
    contents.iter().map(|content| json!({"content": content, "lstrip": false, "special": true})).collect()
}

fn cuts(contents: &[&str]) -> Result<Cuts, String> {
    Cuts::new(&json!({"added_tokens": tokens(contents)}))
}

fn refused(json: Value) -> String {
    Cuts::new(&json).map(drop).unwrap_err()
}

#[test]
fn texts_are_cut_where_an_added_token_begins() {
    let cuts = cuts(&["<a>", "<a>x", "<b>", "[c]"]).unwrap();
    let places = |text| cuts.places(text).collect::<Vec<_>>();
    assert_eq!(places("<a>u<a>x<<b>[c]<c>"), [0, 4, 9, 12]);
    assert!(places("").is_empty() && places("<a").is_empty());
    assert!(cuts.is_at(b"<b>y") && !cuts.is_at(b"y<b>"));
}

#[test]
fn tokenizers_that_look_across_are_refused() {
    for flag in ["lstrip", "rstrip", "single_word"] {
        let mut added = tokens(&["<a>", "<b>"]);
        added[1][flag] = json!(true);
        assert!(refused(json!({"added_tokens": added})).contains(flag));
    }
    let added = tokens(&["<a>"]);
    assert!(refused(json!({"added_tokens": added, "model": {"dropout": 0.1}})).contains("dropout"));
    let metaspace = json!({"type": "Metaspace", "prepend_scheme": "first"});
    for pre_tokenizer in [metaspace.clone(), json!({"type": "Sequence", "pretokenizers": [metaspace]})] {
        assert!(
            refused(json!({"added_tokens": added, "pre_tokenizer": pre_tokenizer})).contains("metaspace")
        );
    }
    assert!(Cuts::new(&json!({"added_tokens": added, "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "always"}})).is_ok());
}

#[test]
fn added_tokens_that_overlap_or_are_too_many_kinds_are_refused() {
    assert!(cuts(&["<a<", "<b>"]).is_err());
    assert!(cuts(&["<a<b>", "<b>"]).is_err());
    assert!(cuts(&["aa"]).is_err());
    assert!(cuts(&["<a>", "[b]", "{c}", "(d)"]).is_err());
    assert!(cuts(&[]).is_err());
    assert!(cuts(&["<a>", "<a>b"]).is_ok());
}
