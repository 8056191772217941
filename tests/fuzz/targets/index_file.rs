//! The file that the index is kept in. The digest at its end, which no fuzzer would find, is put right first.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise::warm::{FileError, WarmFile};
use rankwise_core::hash::HashKey;
use rankwise_core::image::Image;

/// Where the secret stands, behind the first line.
const SECRET: std::ops::Range<usize> = 17..49;

fuzz_target!(|bytes: &[u8]| {
    let plain = WarmFile::decode(bytes);
    let Some(secret) = bytes.get(SECRET).and_then(|secret| secret.try_into().ok()) else {
        assert!(plain.is_err());
        return;
    };
    let digest = HashKey::new(secret).bytes_wide(bytes).to_le_bytes();
    let file = WarmFile::decode(&[bytes, &digest[..]].concat());
    assert_ne!(file, Err(FileError::Torn));
    for rank in file.into_iter().flat_map(|file| file.ranks) {
        let _ = Image::decode(&rank.image);
    }
});
