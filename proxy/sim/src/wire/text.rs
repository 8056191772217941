//! Text to tokens and back with the simulator's own small tokenizer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rankwise_prompt::{Api, Body, Dialect, EncoderPreference, PromptEncoder, TokenizerFiles};
use rustc_hash::FxHashMap;
use serde::Deserialize;
use twox_hash::XxHash3_64;

use crate::error::SimError;

const FILES: [(&str, &[u8]); 2] = [
    ("tokenizer.json", include_bytes!("../../assets/tokenizer/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../assets/tokenizer/tokenizer_config.json")),
];

/// The tokenizer as a server uses it.
pub(crate) struct Text {
    encoder: PromptEncoder,
    /// How chats are read.
    dialect: Dialect,
    pieces: Vec<Vec<u8>>,
    /// Tokens that read as a word of their own; answers are made of them.
    words: Vec<u32>,
    folder: Folder,
}

/// The part of `tokenizer.json` that decoding needs.
#[derive(Deserialize)]
struct TokenizerJson {
    model: Model,
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct Model {
    vocab: FxHashMap<String, u32>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

impl Text {
    /// Writes the tokenizer's files into `state_dir`, or a fresh folder of the system's, and loads it.
    pub(crate) fn load(state_dir: Option<&Path>, dialect: Dialect) -> Result<Self, SimError> {
        let folder = Folder::write(state_dir)
            .map_err(|source| SimError::Io { what: "tokenizer: write its files".to_owned(), source })?;
        let parsed: TokenizerJson =
            serde_json::from_slice(FILES[0].1).map_err(|error| SimError::Tokenizer(error.to_string()))?;
        let mut pieces = Vec::new();
        let mut words = Vec::new();
        let bytes = byte_alphabet();
        for (piece, id) in parsed.model.vocab {
            if piece.strip_prefix('\u{120}').is_some_and(is_word) {
                words.push(id);
            }
            set(&mut pieces, id, piece.chars().filter_map(|char| bytes.get(&char).copied()).collect());
        }
        for token in parsed.added_tokens {
            set(&mut pieces, token.id, token.content.into_bytes());
        }
        words.sort_unstable();
        if words.is_empty() {
            return Err(SimError::Tokenizer("no words in its vocabulary".to_owned()));
        }
        // The reference encoder: what the proxy's own choice is measured against must not be that choice.
        let files =
            TokenizerFiles::read(&folder.path).map_err(|error| SimError::Tokenizer(error.to_string()))?;
        let encoder = PromptEncoder::from_files(&files, EncoderPreference::Reference)
            .map_err(|error| SimError::Tokenizer(error.to_string()))?;
        Ok(Self { encoder, dialect, pieces, words, folder })
    }

    /// The folder with the tokenizer's files.
    pub(crate) fn root(&self) -> &Path {
        &self.folder.path
    }

    /// The prompt of a body of this API; with several prompts, the first.
    pub(crate) fn prompt(&self, api: Api, body: &[u8]) -> Result<Vec<u32>, String> {
        Body::read(api, Bytes::copy_from_slice(body))
            .and_then(|body| self.encoder.token_ids(&body.for_engine(self.dialect)))
            .map(|prompt| prompt.ids)
            .map_err(|error| error.to_string())
    }

    /// The tokens of a text.
    pub(crate) fn tokens(&self, text: &str) -> Result<Vec<u32>, String> {
        let body = serde_json::json!({"prompt": text}).to_string();
        self.prompt(Api::Completions, body.as_bytes())
    }

    /// The bytes that tokens stand for; unknown ones stand for nothing.
    pub(crate) fn bytes(&self, tokens: &[u32]) -> Vec<u8> {
        tokens.iter().filter_map(|&token| self.pieces.get(token as usize)).flatten().copied().collect()
    }

    /// [`Self::bytes`] as text.
    pub(crate) fn text(&self, tokens: &[u32]) -> String {
        String::from_utf8_lossy(&self.bytes(tokens)).into_owned()
    }

    /// `length` words that depend on seed and prompt only.
    pub(crate) fn answer(&self, seed: u64, prompt: &[u32], length: u32) -> Arc<[u32]> {
        let bytes: Vec<u8> = prompt.iter().flat_map(|token| token.to_le_bytes()).collect();
        let mut random = fastrand::Rng::with_seed(XxHash3_64::oneshot_with_seed(seed, &bytes));
        (0..length).map(|_| self.words[random.usize(..self.words.len())]).collect()
    }
}

fn is_word(word: &str) -> bool {
    word.len() >= 2 && word.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn set(pieces: &mut Vec<Vec<u8>>, id: u32, piece: Vec<u8>) {
    let at = id as usize;
    if pieces.len() <= at {
        pieces.resize(at + 1, Vec::new());
    }
    pieces[at] = piece;
}

/// GPT-2's printable stand-in for each byte (`bytes_to_unicode`), reversed.
fn byte_alphabet() -> FxHashMap<char, u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut alphabet = FxHashMap::default();
    let mut stand_ins = (0x100..).filter_map(char::from_u32);
    for byte in 0..=u8::MAX {
        let char = if printable(&byte) { Some(char::from(byte)) } else { stand_ins.next() };
        alphabet.extend(char.map(|char| (char, byte)));
    }
    alphabet
}

/// A folder with the tokenizer's files; removed with the fleet if the fleet made it up.
struct Folder {
    path: PathBuf,
    ours: bool,
}

impl Folder {
    fn write(state_dir: Option<&Path>) -> io::Result<Self> {
        let folder = match state_dir {
            Some(path) => {
                std::fs::create_dir_all(path)?;
                Self { path: path.to_owned(), ours: false }
            }
            None => Self::fresh()?,
        };
        for (name, bytes) in FILES {
            std::fs::write(folder.path.join(name), bytes)?;
        }
        Ok(folder)
    }

    /// A folder that did not exist before: nobody else's files are written over.
    fn fresh() -> io::Result<Self> {
        let mut attempts = 0;
        loop {
            let name = format!("rankwise-sim-{}-{:016x}", std::process::id(), fastrand::u64(..));
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, ours: true }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempts < 16 => attempts += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "tokenizer folder not removed");
        }
    }
}
