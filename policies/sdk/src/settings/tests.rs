use serde::Deserialize;

use super::*;
use crate::NoSettings;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    temperature: f64,
    pin: Pin,
    names: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Pin {
    #[default]
    Worker,
    Rank,
}

fn error(json: &str) -> String {
    parse::<Settings>(json).unwrap_err()
}

#[test]
fn whole_numbers_are_numbers() {
    assert_eq!(parse::<Settings>(r#"{"temperature": 2}"#).unwrap().temperature, 2.0);
}

#[test]
fn an_unknown_field_is_named_with_those_there_are() {
    assert_eq!(
        error(r#"{"tempreature":1}"#),
        "unknown field `tempreature`, expected one of `temperature`, `pin`, `names`"
    );
    assert_eq!(parse::<NoSettings>(r#"{"x":1}"#).unwrap_err(), "unknown field `x`, there are no fields");
}

#[test]
fn a_wrong_type_names_its_field() {
    assert_eq!(
        error(r#"{"pin": "rank", "temperature": "hot:\"er\", {"}"#),
        r#"temperature: invalid type: string "hot:\"er\", {", expected f64"#
    );
    assert_eq!(
        error("{\"names\": [\"a\"],\n\n  \"temperature\":\n null, \"pin\": \"rank\"}"),
        "temperature: invalid type: null, expected f64"
    );
    assert_eq!(error(r#"{"names": ["a", {"pin": 1}]}"#), "names: invalid type: map, expected a string");
}

#[test]
fn a_wrong_choice_names_what_there_is() {
    assert_eq!(error(r#"{"pin":"wrker"}"#), "pin: unknown variant `wrker`, expected `worker` or `rank`");
}

#[test]
fn broken_json_is_an_error() {
    assert!(error("{").contains("EOF"));
    assert!(error("").contains("EOF"));
}

#[test]
fn finite_refuses_what_has_no_meaning() {
    assert_eq!(finite("weight", 0.5, 1.0), Ok(0.5));
    assert_eq!(finite("weight", -1.0, 1.0), Err("weight: must be from 0 to 1, not -1".to_owned()));
    assert!(finite("weight", f64::NAN, 1.0).is_err());
    assert!(finite("weight", f64::INFINITY, 1e9).is_err());
}
