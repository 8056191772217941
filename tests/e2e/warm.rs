//! What the index knows outlives the process, and is believed only of engines that are still the same.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rankwise_sim::{Fleet, FleetSpec};

use crate::harness::{Proxy, exact, fast, fleet};

const PROMPTS: std::ops::Range<u64> = 0..6;

/// Engines that can replay next to nothing: what a new feed has not heard, it never will.
async fn forgetful() -> Fleet {
    fleet(FleetSpec { workers: 1, ranks: 2, buffer_steps: 2, ..fast() }).await
}

async fn proxy(fleet: &Fleet, folder: &Path) -> Proxy {
    let config =
        format!("state_dir: {}\npools: [{{ name: main, policy: {{ name: kv }} }}]\n", folder.display());
    Proxy::configured(fleet, &config, &[]).await
}

/// Asks all prompts; the tokens that were cached, all of which were promised and no others.
async fn ask_all(proxy: &Proxy, fleet: &Fleet) -> u64 {
    let cached = exact(proxy, fleet, PROMPTS).await;
    proxy.settled(fleet).await;
    cached
}

async fn end(mut proxy: Proxy) {
    proxy.terminate();
    assert_eq!(proxy.ended().await, Some(0));
}

fn said(proxy: &Proxy, words: &str) -> bool {
    proxy.log().iter().any(|line| line.contains(words))
}

#[tokio::test]
async fn a_restarted_proxy_knows_what_no_replay_would_tell() {
    let fleet = forgetful().await;
    let folder = tempfile::tempdir().expect("a folder");
    let first = proxy(&fleet, folder.path()).await;
    assert_eq!(ask_all(&first, &fleet).await, 0);
    end(first).await;
    let file = folder.path().join("index.bin");
    assert_eq!(std::fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);

    let second = proxy(&fleet, folder.path()).await;
    // Waits until the index holds what the engines hold, which they can no longer replay.
    let cached = ask_all(&second, &fleet).await;
    assert!(cached >= 6 * 160, "{cached}");
    assert!(said(&second, "restored=true"), "{:#?}", second.log());
    let metrics = second.metrics().await;
    assert_eq!(crate::harness::metric(&metrics, "rankwise_kv_event_restarts_total", &[]), 0.0);
    end(second).await;
    fleet.stop().await;
}

#[tokio::test]
async fn of_an_engine_that_was_emptied_meanwhile_nothing_is_promised() {
    let fleet = forgetful().await;
    let folder = tempfile::tempdir().expect("a folder");
    let first = proxy(&fleet, folder.path()).await;
    ask_all(&first, &fleet).await;
    end(first).await;
    fleet.stop().await;
    // The same names and ranks, another process.
    let other = forgetful().await;
    let second = proxy(&other, folder.path()).await;
    assert_eq!(ask_all(&second, &other).await, 0);
    assert!(!said(&second, "restored=true"), "{:#?}", second.log());
    end(second).await;
    other.stop().await;
}

#[tokio::test]
async fn a_torn_file_is_ignored_and_said() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let first = proxy(&fleet, folder.path()).await;
    ask_all(&first, &fleet).await;
    end(first).await;
    let file = folder.path().join("index.bin");
    let whole = std::fs::read(&file).expect("what was kept");
    std::fs::write(&file, &whole[..whole.len() - 100]).expect("a file");
    let second = proxy(&fleet, folder.path()).await;
    assert!(said(&second, "torn: its content is not what was written"), "{:#?}", second.log());
    // Everything can be replayed here.
    assert!(ask_all(&second, &fleet).await >= 6 * 160);
    end(second).await;
    fleet.stop().await;
}
