use std::sync::Arc;

use proptest::prelude::*;
use rankwise_core::hash::{Chain, HashKey, Namespace};
use rankwise_core::ids::BlockSize;

use super::{Node, PromptCache};
use crate::body::STRETCH;
use crate::hashing::Hashing;

const SIXTEEN: Hashing<'static> = Hashing { namespace: Namespace(9), sizes: &[BlockSize(16)] };

fn cache(bytes_max: usize) -> PromptCache {
    PromptCache::new(bytes_max, HashKey::new([9; 32]))
}

#[test]
fn a_chain_names_beginnings() {
    let cache = cache(1);
    let body = vec![7; 5 * STRETCH + 3];
    let chain = cache.chain(&body);
    assert_eq!(chain.len(), 5);
    assert_eq!(cache.chain(&body[..3 * STRETCH]), chain[..3]);
    let mut other = body.clone();
    other[0] = 8;
    assert!(cache.chain(&other).iter().all(|name| !chain.contains(name)));
    let secret = PromptCache::new(1, HashKey::new([8; 32]));
    assert!(secret.chain(&body).iter().all(|name| !chain.contains(name)));
}

#[test]
fn what_is_dropped_is_given_back() {
    let cache = cache(1 << 30);
    let mut node = cache.extend(None, &[1; 100], SIXTEEN);
    for _ in 0..200_000 {
        node = cache.extend(Some(&node), &[1], SIXTEEN);
    }
    assert!(cache.report().bytes > 200_000 * size_of::<Node>());
    // As deep as it is, this takes no deep stack.
    drop(node);
    assert_eq!(cache.report().bytes, 0);
}

#[test]
fn a_full_cache_makes_room() {
    let cache = cache(100_000);
    let names = (0..5000u64).map(|at| cache.follow(0, &at.to_le_bytes()));
    for name in names.clone() {
        cache.put_node(name, &cache.extend(None, &[1; 40], SIXTEEN));
        assert!(cache.report().bytes <= 100_000);
    }
    let kept = names.filter(|name| cache.node(*name).is_some()).count();
    assert!((50..1000).contains(&kept), "{kept}");
    assert_eq!(cache.report().entries, kept);
}

proptest! {
    #[test]
    fn nodes_hash_as_a_whole_prompt_does(
        parts in prop::collection::vec(prop::collection::vec(any::<u32>(), 0..50), 1..8), sizes in prop::collection::vec(1u32..40, 1..4),
    ) {
        let cache = cache(1 << 30);
        let sizes: Vec<BlockSize> = sizes.into_iter().map(BlockSize).collect();
        let mut node: Option<Arc<Node>> = None;
        let mut ids = Vec::new();
        for part in parts {
            ids.extend_from_slice(&part);
            let next = cache.extend(node.as_ref(), &part, Hashing { namespace: Namespace(9), sizes: &sizes });
            prop_assert_eq!(next.tokens(), ids.len());
            for (at, size) in sizes.iter().enumerate() {
                let whole = Chain::new(Namespace(9), *size, cache.key().blocks(&ids, *size));
                prop_assert_eq!(next.chain(at), whole);
            }
            node = Some(next);
        }
    }
}
