use serde_json::json;

use super::{Config, TokenizerFiles};
use crate::LoadError;

#[test]
fn the_template_file_wins() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), r#"{"chat_template":"config"}"#).unwrap();
    let templates = || Config::parse(&TokenizerFiles::read(folder.path()).unwrap()).unwrap().templates;
    assert_eq!(templates(), [("default".to_owned(), "config".to_owned())]);
    std::fs::write(folder.path().join("chat_template.jinja"), "file").unwrap();
    assert_eq!(templates(), [("default".to_owned(), "file".to_owned())]);
}

#[test]
fn a_missing_tokenizer_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let Err(LoadError::Read { path, .. }) = TokenizerFiles::read(folder.path()) else { panic!("read") };
    assert!(path.ends_with("tokenizer.json"));
}

#[test]
fn tokens_that_only_the_config_has_are_added() {
    let config = json!({"added_tokens_decoder": {"5": {"content": "<b>", "special": true}, "4": {"content": "<a>"}, "3": {"content": "<known>"}}});
    let files = TokenizerFiles { config: Some(config.to_string().into_bytes()), ..TokenizerFiles::default() };
    let config = Config::parse(&files).unwrap();
    let complete = config.complete(br#"{"added_tokens":[{"id":3,"content":"<known>"}]}"#).unwrap();
    assert_eq!(
        complete["added_tokens"],
        json!([{"id": 3, "content": "<known>"}, {"content": "<a>", "id": 4}, {"content": "<b>", "special": true, "id": 5}])
    );
    assert!(config.complete(b"[]").is_err());
}
