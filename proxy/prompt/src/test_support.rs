//! The tokenizer in `tests/data`, for tests: Qwen2.5's, unpacked once.

// Tests alone use this module, and there a broken fixture should stop them.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

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

/// Writes [`qwen2_5`] to `folder`, for what takes a tokenizer by path.
pub fn unpack_qwen2_5(folder: &Path) {
    let files = qwen2_5();
    std::fs::write(folder.join("tokenizer.json"), &files.tokenizer).expect("folder can be written");
    std::fs::write(folder.join("tokenizer_config.json"), files.config.as_deref().unwrap_or_default())
        .expect("folder can be written");
}
