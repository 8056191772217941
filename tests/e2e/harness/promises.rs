//! Promises of cached tokens, held against what the engines say.

use rankwise_sim::Fleet;

use super::{Proxy, Reply, completion};

/// Asks for a prompt of 12 whole blocks that only this seed has.
pub async fn ask(proxy: &Proxy, seed: u64) -> Reply {
    let reply = proxy.client.post("/v1/completions", &completion(seed, 200)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

/// Asks for these prompts, one after the other; each promise is kept to the token. The tokens that were cached.
pub async fn exact(proxy: &Proxy, fleet: &Fleet, seeds: impl IntoIterator<Item = u64>) -> u64 {
    let mut cached = 0;
    for seed in seeds {
        proxy.settled(fleet).await;
        let reply = ask(proxy, seed).await;
        assert_eq!(reply.cached_tokens(), reply.promised_tokens(), "prompt {seed}");
        cached += reply.cached_tokens();
    }
    cached
}
