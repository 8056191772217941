//! A model's tokenizer folder, as Hugging Face lays it out.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::LoadError;

/// The contents of the files that make prompts: what [`crate::PromptEncoder`] is built from.
#[derive(Clone, Debug, Default)]
pub struct TokenizerFiles {
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// `tokenizer_config.json`; none is as good as an empty object.
    pub config: Option<Vec<u8>>,
    /// `chat_template.jinja`, which wins over the config's template.
    pub chat_template: Option<String>,
}

impl TokenizerFiles {
    /// Reads `tokenizer.json` and, if there, `tokenizer_config.json` and `chat_template.jinja`.
    ///
    /// # Errors
    /// [`LoadError::Read`].
    pub fn read(folder: &Path) -> Result<Self, LoadError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| LoadError::Read { path, source })
        };
        let optional = |name: &str| match read(name) {
            Ok(content) => Ok(Some(content)),
            Err(LoadError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let chat_template = optional("chat_template.jinja")?
            .map(|bytes| {
                String::from_utf8(bytes).map_err(|error| LoadError::Parse {
                    file: "chat_template.jinja",
                    message: error.to_string(),
                })
            })
            .transpose()?;
        Ok(Self {
            tokenizer: read("tokenizer.json")?,
            config: optional("tokenizer_config.json")?,
            chat_template,
        })
    }
}

/// What `tokenizer_config.json` says that concerns prompts.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// Name and source. Hugging Face uses `tool_use`, if there is one, for requests with tools, else `default`.
    pub(crate) templates: Vec<(String, String)>,
    /// `bos_token` and its like, by name; one that the config sets to null is absent, which a template sees as undefined.
    pub(crate) special_tokens: Map<String, Value>,
    /// Added tokens by id, some of which `tokenizer.json` may lack.
    pub(crate) added_tokens: Map<String, Value>,
}

/// The special tokens that templates may name (transformers' `SPECIAL_TOKENS_ATTRIBUTES`).
const SPECIAL_TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

impl Config {
    pub(crate) fn parse(files: &TokenizerFiles) -> Result<Self, LoadError> {
        let wrong =
            |message: &str| LoadError::Parse { file: "tokenizer_config.json", message: message.to_owned() };
        let mut config: Map<String, Value> = match &files.config {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|error| wrong(&error.to_string()))?,
            None => Map::new(),
        };
        let mut special_tokens = Map::new();
        for name in SPECIAL_TOKENS {
            // Either the text or a serialised added token.
            let text = match config.get(name) {
                Some(Value::Object(token)) => token.get("content").cloned(),
                other => other.cloned(),
            };
            if let Some(text @ Value::String(_)) = text {
                special_tokens.insert(name.to_owned(), text);
            }
        }
        if let Some(tokens @ Value::Array(_)) = config.get("additional_special_tokens") {
            special_tokens.insert("additional_special_tokens".to_owned(), tokens.clone());
        }
        let added_tokens = match config.remove("added_tokens_decoder") {
            Some(Value::Object(tokens)) => tokens,
            _ => Map::new(),
        };
        let templates = match (&files.chat_template, config.remove("chat_template")) {
            (Some(template), _) => vec![("default".to_owned(), template.clone())],
            (None, None | Some(Value::Null)) => Vec::new(),
            (None, Some(Value::String(template))) => vec![("default".to_owned(), template)],
            (None, Some(Value::Array(list))) => list
                .into_iter()
                .map(|entry| match (&entry["name"], &entry["template"]) {
                    (Value::String(name), Value::String(template)) => Ok((name.clone(), template.clone())),
                    _ => Err(wrong("chat_template: expected {name, template}")),
                })
                .collect::<Result<_, _>>()?,
            (None, Some(_)) => return Err(wrong("chat_template: expected a string or a list")),
        };
        Ok(Self { templates, special_tokens, added_tokens })
    }

    /// `tokenizer.json` with the added tokens that only the config has: transformers adds them when it loads.
    pub(crate) fn complete(&self, tokenizer: &[u8]) -> Result<Value, LoadError> {
        let wrong = |message: String| LoadError::Parse { file: "tokenizer.json", message };
        let mut json: Value = serde_json::from_slice(tokenizer).map_err(|error| wrong(error.to_string()))?;
        let Some(object) = json.as_object_mut() else { return Err(wrong("expected an object".to_owned())) };
        let tokens = object.entry("added_tokens").or_insert_with(|| Value::Array(Vec::new()));
        let Some(tokens) = tokens.as_array_mut() else {
            return Err(wrong("added_tokens: expected an array".to_owned()));
        };
        let mut missing: Vec<(u64, Value)> = self
            .added_tokens
            .iter()
            .filter(|(_, token)| !tokens.iter().any(|known| known["content"] == token["content"]))
            .filter_map(|(id, token)| Some((id.parse().ok()?, token.clone())))
            .collect();
        missing.sort_by_key(|(id, _)| *id);
        for (id, mut token) in missing {
            token["id"] = id.into();
            tokens.push(token);
        }
        Ok(json)
    }
}

#[cfg(test)]
mod tests;
