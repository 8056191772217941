//! The tokenizer in `tests/data`, for tests: Qwen2.5's, unpacked once, and with it the templates of other models.

// Tests alone use this module, and there a broken fixture should stop them.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::TokenizerFiles;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/qwen2.5");

/// A file of `tests/data`.
pub fn data(path: &str) -> PathBuf {
    Path::new(FOLDER).with_file_name(path)
}

/// Qwen2.5's tokenizer and chat template, in memory.
pub fn qwen2_5() -> &'static TokenizerFiles {
    static FILES: LazyLock<TokenizerFiles> = LazyLock::new(|| {
        let packed = std::fs::File::open(Path::new(FOLDER).join("tokenizer.json.gz")).expect("fixture");
        let mut tokenizer = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut tokenizer).expect("fixture is gzip");
        let config = std::fs::read(Path::new(FOLDER).join("tokenizer_config.json")).expect("fixture");
        TokenizerFiles { tokenizer, config: Some(config), chat_template: None }
    });
    &FILES
}

/// Qwen3's chat template, with Qwen2.5's tokenizer.
pub fn qwen3() -> TokenizerFiles {
    TokenizerFiles { chat_template: Some(template("qwen3")), ..qwen2_5().clone() }
}

/// DeepSeek-V3's chat template, with Qwen2.5's tokenizer and the added tokens that the template prints.
pub fn deepseek_v3() -> TokenizerFiles {
    const TOKENS: [&str; 11] = [
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜User｜>",
        "<｜Assistant｜>",
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁end｜>",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁call▁end｜>",
        "<｜tool▁outputs▁begin｜>",
        "<｜tool▁outputs▁end｜>",
        "<｜tool▁output▁begin｜>",
    ];
    let token = |(at, content): (usize, &&str)| {
        let token = json!({"content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
        ((151_665 + at).to_string(), token)
    };
    let added: Map<String, Value> = TOKENS.iter().enumerate().map(token).collect();
    let config = json!({"bos_token": TOKENS[0], "eos_token": TOKENS[1], "added_tokens_decoder": added});
    TokenizerFiles {
        tokenizer: qwen2_5().tokenizer.clone(),
        config: Some(config.to_string().into_bytes()),
        chat_template: Some(template("deepseek_v3")),
    }
}

/// A chat template of `tests/data`.
pub fn template(name: &str) -> String {
    std::fs::read_to_string(data(&format!("templates/{name}.jinja"))).expect("fixture")
}

/// Writes [`qwen2_5`] to `folder`, for what takes a tokenizer by path.
pub fn unpack_qwen2_5(folder: &Path) {
    let files = qwen2_5();
    std::fs::write(folder.join("tokenizer.json"), &files.tokenizer).expect("folder can be written");
    std::fs::write(folder.join("tokenizer_config.json"), files.config.as_deref().unwrap_or_default())
        .expect("folder can be written");
}
