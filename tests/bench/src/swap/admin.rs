//! The admin API of the proxy under measurement.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http1::Connection;

/// For whatever is waited for.
pub(super) const WITHIN: Duration = Duration::from_secs(60);

pub(super) struct Admin(Connection);

impl Admin {
    /// Connects, and waits until so many ranks may be picked.
    pub(super) async fn open(address: SocketAddr, ranks: usize) -> anyhow::Result<Self> {
        let mut admin = Self(Connection::open(address).await?);
        let end = Instant::now() + WITHIN;
        loop {
            let body = admin.get("/v1/pools/main/ranks").await?;
            let found = body["ranks"].as_array().map(Vec::as_slice).unwrap_or_default();
            if found.iter().filter(|rank| rank["availability"] == "ready").count() == ranks {
                return Ok(admin);
            }
            ensure!(Instant::now() < end, "the ranks were not ready in time: {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Puts a policy in force.
    pub(super) async fn activate(&mut self, policy: &str) -> anyhow::Result<()> {
        let body = json!({ "policy": policy }).to_string();
        let reply = self.0.send(Method::PUT, "/v1/pools/main/policy", body.into()).await?;
        ensure!(reply.status == StatusCode::OK, "activate {policy}: {}: {}", reply.status, reply.text());
        Ok(())
    }

    /// What decides: `chosen`, `last_good` or `fallback`.
    pub(super) async fn serving(&mut self) -> anyhow::Result<String> {
        let policy = self.get("/v1/pools/main/policy").await?;
        Ok(policy["serving"].as_str().context("no `serving`")?.to_owned())
    }

    /// The digest that the proxy answers to an upload.
    pub(super) async fn upload(&mut self, name: &str, wasm: Vec<u8>) -> anyhow::Result<String> {
        let path = format!("/v1/policies?name={name}");
        let reply = self.0.send(Method::POST, &path, wasm.into()).await?;
        ensure!(reply.status == StatusCode::CREATED, "upload {name}: {}: {}", reply.status, reply.text());
        let body: Value = serde_json::from_slice(&reply.body)?;
        Ok(body["digest"].as_str().context("no digest")?.to_owned())
    }

    /// Takes an upload back.
    pub(super) async fn forget(&mut self, digest: &str) -> anyhow::Result<()> {
        self.0.send(Method::DELETE, &format!("/v1/policies/{digest}"), Bytes::new()).await?;
        Ok(())
    }

    async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.0.get(path).await?.body)?)
    }
}
