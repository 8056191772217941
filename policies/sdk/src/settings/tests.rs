use serde::Deserialize;

use super::*;
use crate::NoSettings;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    temperature: f64,
    limit: Option<u32>,
    pin: Pin,
    names: Vec<String>,
    inner: Inner,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Inner {
    deep: bool,
    offset: i64,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Pin {
    #[default]
    Worker,
    Rank,
}

fn read(json: &str) -> Settings {
    parse(json).unwrap()
}

fn error(json: &str) -> String {
    parse::<Settings>(json).unwrap_err()
}

#[test]
fn all_kinds_of_values_are_read() {
    let settings = read(
        r#" { "temperature" : 2, "limit": null, "pin": "rank", "names": ["a", "\u00e9\ud83d\ude00\n\"", ""],
              "inner": {"deep": true, "offset": -3} } "#,
    );
    let inner = Inner { deep: true, offset: -3 };
    let names = ["a", "é😀\n\"", ""].map(str::to_owned).to_vec();
    assert_eq!(settings, Settings { temperature: 2.0, limit: None, pin: Pin::Rank, names, inner });
    assert_eq!(read("{}"), Settings::default());
    assert_eq!(read(r#"{"limit": 4294967295}"#).limit, Some(u32::MAX));
}

#[test]
fn numbers_are_those_that_were_written() {
    let all =
        ["0", "0.75", "0.1", "1e3", "1.5E-3", "-2.25", "123456789.012345", "1e22", "1e-22", "0e999", "1e300"];
    for text in all {
        let read = read(&format!(r#"{{"temperature":{text}}}"#)).temperature;
        let exact: f64 = text.parse().unwrap();
        assert!((read - exact).abs() <= exact.abs() * 1e-14, "{text}: {read}");
        assert!(text == "1e300" || read == exact, "{text}: {read}");
    }
    assert_eq!(error(r#"{"temperature":1e999}"#), "temperature: a number too large");
}

#[test]
fn an_unknown_field_is_named_with_those_there_are() {
    assert_eq!(
        error(r#"{"tempreature":1}"#),
        "unknown field `tempreature`, expected one of `temperature`, `limit`, `pin`, `names`, `inner`"
    );
    assert_eq!(parse::<NoSettings>(r#"{"x":1}"#).unwrap_err(), "unknown field `x`, there are no fields");
    assert_eq!(error(r#"{"inner":{"x":1}}"#), "inner: unknown field `x`, expected `deep` or `offset`");
}

#[test]
fn a_wrong_type_names_its_field() {
    assert_eq!(error(r#"{"pin": "rank", "temperature": "hot"}"#), "temperature: expected f64, not \"hot\"");
    assert_eq!(error(r#"{"temperature": null}"#), "temperature: expected f64, not null");
    assert_eq!(error(r#"{"names": ["a", {"pin": 1}]}"#), "names[1]: expected a string, not a map");
    assert_eq!(error(r#"{"inner": {"deep": 1.5}}"#), "inner.deep: expected a boolean, not a fraction");
    assert_eq!(error(r#"{"limit": -1}"#), "limit: expected u32, not a negative number");
}

#[test]
fn a_wrong_choice_names_what_there_is() {
    assert_eq!(error(r#"{"pin":"wrker"}"#), "pin: unknown variant `wrker`, expected `worker` or `rank`");
}

#[test]
fn a_field_given_twice_is_refused() {
    assert_eq!(error(r#"{"limit":1,"limit":2}"#), "duplicate field `limit`");
}

#[test]
fn what_is_not_json_is_refused_and_never_panics() {
    let broken = [
        "",
        "{",
        "}",
        "[",
        "{\"",
        "{\"limit",
        "{\"limit\"",
        "{\"limit\":",
        "{\"limit\":1",
        "{\"limit\":1,}",
        "{}x",
        "nul",
        "{\"limit\":01}",
        "{\"limit\":-}",
        "{\"limit\":1.}",
        "{\"limit\":1e}",
        "{limit:1}",
        "{\"limit\":1 \"pin\":2}",
        "{\"names\":[\"\\x\"]}",
        "{\"names\":[\"\\u12\"]}",
        "{\"names\":[\"\\ud800\\u0041\"]}",
        "{\"names\":[\"a\" \"b\"]}",
        "é",
    ];
    for json in broken {
        assert!(parse::<Settings>(json).is_err(), "{json}");
    }
    assert!(error(&format!("{{\"x\":{}", "[".repeat(100))).contains("unknown field"));
    assert!(error(&format!("{{\"names\":{}", "[".repeat(100))).contains("expected a string"));
}

#[test]
fn finite_refuses_what_has_no_meaning() {
    assert_eq!(finite("weight", 0.5, 1), Ok(0.5));
    assert_eq!(finite("weight", -1.0, 1), Err("weight: must be a number from 0 to 1".to_owned()));
    assert!(finite("weight", f64::NAN, 1).is_err());
    assert!(finite("weight", f64::INFINITY, u32::MAX).is_err());
}
