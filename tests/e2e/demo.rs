//! The demo as a newcomer runs it.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The simulated engines take their time, and an unoptimised build its own.
const PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test]
async fn the_table_shows_kv_ahead() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rankwise"))
        .args(["demo", "--requests", "64"])
        .args(["--listen", "127.0.0.1:0", "--status", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the binary starts");
    let mut out = child.stdout.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).map(|_| text)
    });
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break Some(status);
        }
        if Instant::now() > end {
            child.kill().expect("it runs");
            child.wait().expect("a child");
            break None;
        }
        sleep(Duration::from_millis(20)).await;
    };
    let text = reader.join().expect("no panic").expect("text");
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{text}");

    assert_eq!(row(&text, "requests "), [64.0, 64.0], "{text}");
    let cached = row(&text, "prompt tokens found cached");
    assert!(cached[1] > cached[0], "{text}");
    let computed = row(&text, "prompt tokens computed");
    assert!(computed[1] < computed[0], "{text}");
    println!("cached: round-robin {} %, kv {} %", cached[0], cached[1]);
}

/// The figures of a line of the table: round-robin's and kv's.
fn row(text: &str, name: &str) -> Vec<f64> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().filter_map(|cell| cell.parse().ok()).collect()
}
