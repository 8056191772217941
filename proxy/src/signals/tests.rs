use std::time::Duration;

use rustix::process::{Signal as Number, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::Signals;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_signal_that_comes_while_nobody_waits_is_not_lost() {
    let mut signals = Signals::install().unwrap();
    let mut witness = signal(SignalKind::terminate()).unwrap();
    for _ in 0..3 {
        kill_process(getpid(), Number::TERM).unwrap();
        // It has been handed out to everybody who listened then.
        timeout(PATIENCE, witness.recv()).await.unwrap();
    }
    timeout(PATIENCE, signals.next()).await.expect("the first");
    kill_process(getpid(), Number::TERM).unwrap();
    timeout(PATIENCE, witness.recv()).await.unwrap();
    timeout(PATIENCE, signals.next()).await.expect("one that came between two waits");
}
