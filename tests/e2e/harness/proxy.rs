//! The real binary as a child process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Client, Reply, wait_until, worker_flags};

/// A running proxy. Killed when dropped; its log is printed then if the test failed.
pub struct Proxy {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// The client listener.
    pub client: Client,
    /// The status listener.
    pub status: Client,
    /// The admin listener.
    pub admin: Client,
    /// Where clients connect.
    pub address: SocketAddr,
}

impl Proxy {
    /// In front of a fleet, with decision headers; every rank may be picked when this returns.
    pub async fn serving(fleet: &rankwise_sim::Fleet, arguments: &[&str]) -> Self {
        let mut all = worker_flags(fleet);
        all.extend(arguments.iter().map(ToString::to_string));
        let proxy = Self::start(&all).await;
        proxy.all_ready(fleet).await;
        proxy
    }

    /// The same with a config file that says what flags cannot.
    pub async fn configured(fleet: &rankwise_sim::Fleet, yaml: &str, arguments: &[&str]) -> Self {
        let mut workers = worker_flags(fleet);
        workers.extend(arguments.iter().map(ToString::to_string));
        let proxy = Self::configured_with(yaml, &workers).await;
        proxy.all_ready(fleet).await;
        proxy
    }

    /// With a config file and these arguments; ready when this returns.
    pub async fn configured_with(yaml: &str, arguments: &[String]) -> Self {
        let (_folder, mut all) = config_file(yaml);
        all.extend_from_slice(arguments);
        let proxy = Self::start(&all).await;
        proxy.ready().await;
        proxy
    }

    /// `rankwise serve` with these arguments, on free ports; its listeners are open when this returns.
    pub async fn start(arguments: &[String]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rankwise"))
            .args(["serve", "--expose-decision"])
            .args(["--listen", "127.0.0.1:0", "--status", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(arguments)
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "info,rankwise=debug".into()))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, lines) = (child.stderr.take().expect("a pipe"), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().expect("not poisoned").push(line);
            }
        });
        let find = |name: &str| -> Option<SocketAddr> {
            let lines = log.lock().expect("not poisoned");
            let field = |line: &String| {
                line.split(&format!("{name}=")).nth(1)?.split_whitespace().next()?.parse().ok()
            };
            lines.iter().find_map(field)
        };
        let mut addresses = None;
        wait_until("the proxy to listen", async || {
            addresses = find("address").zip(find("status")).zip(find("admin"));
            addresses.is_some()
        })
        .await;
        let ((address, status), admin) = addresses.expect("waited for");
        let client = Client::new(address);
        Self { child, log, client, status: Client::new(status), admin: Client::new(admin), address }
    }

    /// Waits until /readyz says so.
    pub async fn ready(&self) {
        wait_until("the proxy to be ready", async || self.status.get("/readyz").await.status == 200).await;
    }

    /// Waits until it is ready and every rank of the fleet may be picked.
    pub async fn all_ready(&self, fleet: &rankwise_sim::Fleet) {
        self.ready().await;
        let count: usize = fleet.workers().iter().map(|worker| worker.stats().len()).sum();
        wait_until("every rank to be ready", async || {
            let ranks = self.ranks().await;
            ranks.len() == count && ranks.iter().all(|rank| rank["availability"] == "ready")
        })
        .await;
    }

    /// Waits until nothing is booked and the index has seen what every engine has cached.
    pub async fn settled(&self, fleet: &rankwise_sim::Fleet) {
        wait_until("the index to hold what the engines hold", async || {
            let ranks = self.ranks().await;
            let idle = ranks.iter().all(|rank| rank["ledger"]["running"] == 0);
            idle && ranks.iter().all(|rank| {
                let worker =
                    rank["worker"].as_str().and_then(|name| name.strip_prefix('w')?.parse::<usize>().ok());
                let number = rank["dp_rank"].as_u64().unwrap_or(0) as usize;
                let Some(worker) = worker.and_then(|worker| fleet.workers().get(worker)) else {
                    return false;
                };
                // The cache first: what it holds by then has a number by the time the number is read.
                let held = worker.cache(number).len() as u64;
                let index = &rank["index"];
                index["blocks"].as_u64() == Some(held)
                    && index["next_sequence"].as_u64() == Some(worker.next_sequence(number))
            })
        })
        .await;
    }

    /// Rows of GET /v1/pools/main/ranks.
    pub async fn ranks(&self) -> Vec<Value> {
        let reply = self.admin.get("/v1/pools/main/ranks").await;
        reply.json()["ranks"].as_array().cloned().unwrap_or_default()
    }

    /// The receipt of the decision behind an answer, which is there a moment after it; decisions have to be sampled.
    pub async fn receipt(&self, reply: &Reply) -> Value {
        let path = format!("/v1/pools/main/decisions?request_id={}", reply.header("x-request-id"));
        let mut receipt = Value::Null;
        wait_until("the receipt", async || {
            receipt = self.admin.get(&path).await.json()["decisions"][0].clone();
            !receipt.is_null()
        })
        .await;
        receipt
    }

    /// Activates a policy; the answer.
    pub async fn activate(&self, policy: &str, settings: Value) -> Reply {
        let body = json!({ "policy": policy, "settings": settings }).to_string();
        self.admin.send(http::Method::PUT, "/v1/pools/main/policy", &[], body).await
    }

    /// Uploads a policy; the answer.
    pub async fn upload(&self, name: &str, wasm: &[u8]) -> Reply {
        let path = format!("/v1/policies?name={name}");
        self.admin.send(http::Method::POST, &path, &[], wasm.to_vec()).await
    }

    /// The sum of a metric's series that have this label, written as on the page: `outcome="ok"`.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        let page = self.metrics().await;
        let series = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        });
        series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// What it has written to stderr so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("not poisoned").clone()
    }

    /// The metrics page.
    pub async fn metrics(&self) -> String {
        self.status.get("/metrics").await.text()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    }

    /// Waits for its end; the exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut code = None;
        let child = &mut self.child;
        wait_until("the proxy to end", async || {
            code = child.try_wait().expect("a child").map(|status| status.code());
            code.is_some()
        })
        .await;
        code.flatten()
    }
}

/// A config file, and the arguments that name it. It has to exist until the proxy listens.
pub fn config_file(yaml: &str) -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rankwise.yaml");
    std::fs::write(&path, yaml).expect("a file");
    (folder, vec!["--config".to_owned(), path.display().to_string()])
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Nothing more can be done about one that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking()
            && let Ok(lines) = self.log.lock()
        {
            eprintln!("--- log of the proxy\n{}\n---", lines.join("\n"));
        }
    }
}
