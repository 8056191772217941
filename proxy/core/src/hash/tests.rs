use super::*;

fn key(seed: u8) -> HashKey {
    HashKey::new([seed; 32])
}

#[test]
fn only_whole_blocks_have_a_hash() {
    let tokens: Vec<u32> = (0..70).collect();
    let hashes = key(1).blocks(&tokens, BlockSize(32));
    assert_eq!(hashes.len(), 2);
    assert_eq!(hashes[1], key(1).block(&tokens[32..64], &[]));
}

#[test]
fn the_key_the_tokens_and_the_extra_all_matter() {
    let base = key(1).block(&[1, 2, 3], &[]);
    assert_ne!(base, key(2).block(&[1, 2, 3], &[]));
    assert_ne!(base, key(1).block(&[1, 2, 4], &[]));
    assert_ne!(base, key(1).block(&[1, 2, 3], b"image"));
}

#[test]
fn large_blocks_hash_like_small_ones() {
    let tokens: Vec<u32> = (0..4096).collect();
    assert_ne!(key(1).block(&tokens, &[]), key(1).block(&tokens[1..], &[]));
    assert_eq!(key(1).block(&tokens, &[]), key(1).block(&tokens, &[]));
}

#[test]
fn namespaces_do_not_run_into_each_other() {
    let key = key(1);
    assert_ne!(key.namespace("ab", None, None), key.namespace("a", Some("b"), None));
    assert_ne!(key.namespace("a", Some("b"), None), key.namespace("a", None, Some("b")));
    assert_ne!(key.namespace("a", Some(""), None), key.namespace("a", None, None));
}

#[test]
fn engine_hashes_in_bytes_equal_their_integer_form() {
    let mut digest = [7; 32];
    digest[24..].copy_from_slice(&2_349_567_148_002_675_402_u64.to_be_bytes());
    assert_eq!(EngineHash::from_bytes(&digest), EngineHash(2_349_567_148_002_675_402));
    assert_eq!(EngineHash::from_bytes(&[1, 2]), EngineHash(0x0102));
    assert_eq!(EngineHash::from_bytes(&[]), EngineHash(0));
}

#[test]
fn bytes_hash_alike_however_they_come() {
    let key = HashKey::new([3; 32]);
    let bytes: Vec<u8> = (0..5000_u32).map(|n| (n * 7) as u8).collect();
    for len in [0, 1, 16, 17, 128, 129, 240, 241, 1024, 5000] {
        let mut whole = key.hasher();
        whole.update(&bytes[..len]);
        let mut parts = key.hasher();
        bytes[..len].chunks(37).for_each(|part| parts.update(part));
        assert_eq!(parts.wide(), whole.wide(), "{len} bytes");
    }
}
