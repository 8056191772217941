//! The least that has to work.

use rankwise_sim::FleetSpec;

use crate::harness::{Proxy, chat, fast, fleet, text};

#[tokio::test]
async fn a_repeated_prompt_goes_to_the_rank_that_has_it() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 2, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let body = chat(&text(1, 200));

    let first = proxy.client.chat(&body).await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.cached_tokens(), 0);
    proxy.settled(&fleet).await;

    let second = proxy.client.chat(&body).await;
    assert_eq!(second.header("x-rankwise-worker"), first.header("x-rankwise-worker"));
    assert_eq!(second.header("x-rankwise-dp-rank"), first.header("x-rankwise-dp-rank"));
    assert!(second.cached_tokens() > 0);
    assert_eq!(second.cached_tokens(), second.promised_tokens());
    fleet.stop().await;
}
