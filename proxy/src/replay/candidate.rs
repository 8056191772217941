//! A policy that decides again.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use rankwise_core::policy::{Column, Decision};
use rankwise_policy_host::{
    Activation, Compiled, PolicyFailure, PolicyHost, PoolInfo, Smoke, ThreadPolicies,
};
use serde_json::Value;

use crate::config::BuiltInPolicy;
use crate::decisions::Record;
use crate::decisions::recording::RecordedPolicy;
use crate::policies::BuiltIn;

/// A policy as it is asked for: `NAME|FILE.wasm[=SETTINGS]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    policy: String,
    pub(super) settings: Option<Value>,
}

impl FromStr for Asked {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (policy, settings) = match text.split_once('=') {
            Some((policy, settings)) => {
                let settings: Value = serde_json::from_str(settings)
                    .map_err(|error| format!("settings of {policy}: {error}"))?;
                if !settings.is_object() {
                    return Err(format!("settings of {policy}: expected a JSON object"));
                }
                (policy, Some(settings))
            }
            None => (text, None),
        };
        if policy.is_empty() {
            return Err("expected NAME or FILE.wasm, and perhaps =SETTINGS".to_owned());
        }
        Ok(Self { policy: policy.to_owned(), settings })
    }
}

impl Asked {
    /// The built-in policy of that name, or the component in that file.
    pub(super) fn compile(&self, host: &PolicyHost) -> anyhow::Result<Arc<Compiled>> {
        let built_in = self.policy.parse::<BuiltInPolicy>().ok().map(BuiltIn::from);
        if let Some(policy) = built_in {
            return Ok(host.compile(policy.name, policy.wasm)?);
        }
        let path = Path::new(&self.policy);
        let wasm = std::fs::read(path).with_context(|| {
            format!("{}: no built-in policy, and no file that can be read", path.display())
        })?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Ok(host.compile(&name.unwrap_or_default(), &wasm)?)
    }
}

/// A policy that decides again.
pub struct Candidate {
    compiled: Arc<Compiled>,
    settings: Option<Value>,
    /// With what it is configured at present.
    active: Option<(PoolInfo, Value, Arc<Activation>)>,
    policies: ThreadPolicies,
    columns: Vec<u32>,
}

impl Candidate {
    pub(super) fn load(host: &PolicyHost, asked: &Asked) -> anyhow::Result<Self> {
        Ok(Self {
            compiled: asked.compile(host)?,
            settings: asked.settings.clone(),
            active: None,
            policies: ThreadPolicies::new(),
            columns: Vec::new(),
        })
    }

    /// How it is called in a report.
    pub(super) fn label(&self) -> String {
        super::label(self.compiled.version())
    }

    /// Whether it is the very policy that decided: then its answer must be the same.
    pub(super) fn is(&self, recorded: &RecordedPolicy) -> bool {
        self.compiled.version().digest == recorded.digest
            && self.settings.as_ref().is_none_or(|settings| *settings == recorded.settings)
    }

    /// Its answer to what was recorded.
    pub(super) fn pick(
        &mut self,
        host: &PolicyHost,
        recorded: &RecordedPolicy,
        record: &Record,
    ) -> anyhow::Result<Result<Decision, PolicyFailure>> {
        let activation = self.configured(host, recorded)?;
        let table = &record.table;
        if !table.select(&activation.needs().columns, &mut self.columns) {
            anyhow::bail!("{}: the recording lacks a column that it needs", self.label());
        }
        let workers = table.column(Column::Worker).unwrap_or_default();
        let has_worker = |worker| workers.contains(&worker);
        Ok(self.policies.pick(&activation, &record.request, table.rows, &self.columns, has_worker))
    }

    /// As the recorded policy was; with its settings, if it is that policy and no others were asked for.
    fn configured(
        &mut self,
        host: &PolicyHost,
        recorded: &RecordedPolicy,
    ) -> anyhow::Result<Arc<Activation>> {
        let info = PoolInfo { model: recorded.model.clone(), block_size: recorded.block_size };
        let own = self.compiled.version().digest == recorded.digest;
        let settings = match &self.settings {
            Some(settings) => settings.clone(),
            None if own => recorded.settings.clone(),
            None => Value::Object(serde_json::Map::new()),
        };
        match &self.active {
            Some((with, then, activation)) if *with == info && *then == settings => {
                Ok(Arc::clone(activation))
            }
            _ => {
                let activation = host.activate(&self.compiled, &info, &settings, &Smoke::example(), 1)?;
                self.active = Some((info, settings, Arc::clone(&activation)));
                Ok(activation)
            }
        }
    }
}
