//! The binary under measurement.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use http::StatusCode;
use rankwise_sim::Fleet;

use crate::http1::Connection;

pub(crate) struct Child {
    process: std::process::Child,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// The status listener.
    pub(crate) status: SocketAddr,
    /// The admin listener.
    pub(crate) admin: SocketAddr,
}

/// The binary to measure: the one that was named, or `rankwise` beside this one.
pub(crate) fn binary(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let binary = match given {
        Some(binary) => binary.to_owned(),
        None => std::env::current_exe()?.with_file_name("rankwise"),
    };
    anyhow::ensure!(binary.is_file(), "{}: build it first: cargo build --release", binary.display());
    Ok(binary)
}

const READY_WITHIN: Duration = Duration::from_secs(60);

impl Child {
    /// Starts it with these arguments in front of a fleet; ready when this returns.
    pub(crate) async fn start(binary: &Path, arguments: &[&str], fleet: &Fleet) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        command.arg("serve").args(arguments);
        command.args(["--listen", "127.0.0.1:0", "--status", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        for worker in fleet.workers() {
            command.arg("--worker").arg(format!("{},engine=vllm", worker.url()));
        }
        let mut process = command
            .env("RUST_LOG", "info")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| binary.display().to_string())?;
        let stderr = process.stderr.take().context("no stderr")?;
        let (sender, lines) = std::sync::mpsc::sync_channel(1024);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // A full or closed channel: nobody waits for an address any more.
                let _ = sender.try_send(line);
            }
        });
        let (mut address, mut status, mut admin) = (None, None, None);
        let end = std::time::Instant::now() + READY_WITHIN;
        while address.is_none() || status.is_none() || admin.is_none() {
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    address = address.or_else(|| field(&line, "address="));
                    status = status.or_else(|| field(&line, "status="));
                    admin = admin.or_else(|| field(&line, "admin="));
                }
                Err(_) if std::time::Instant::now() < end => tokio::task::yield_now().await,
                Err(_) => bail!("{} did not say where it listens", binary.display()),
            }
        }
        let child = Self {
            process,
            address: address.context("no address")?,
            status: status.context("no status address")?,
            admin: admin.context("no admin address")?,
        };
        let mut connection = Connection::open(child.status).await?;
        while connection.get("/readyz").await?.status != StatusCode::OK {
            anyhow::ensure!(std::time::Instant::now() < end, "{} was not ready in time", binary.display());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(child)
    }

    /// CPU time of all its threads so far, those that ended included only as far as the kernel still tells.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += stat.split(' ').next().context("schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        // Gone already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}

fn field(line: &str, name: &str) -> Option<SocketAddr> {
    line.split(name).nth(1)?.split_whitespace().next()?.parse().ok()
}
