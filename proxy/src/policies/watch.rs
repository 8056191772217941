//! Follows the policy file that a pool's config names. New content is activated once it has stopped changing; whatever
//! is wrong with it is said and changes nothing.

use rankwise_policy_host::PoolInfo;

use super::entry::Entry;
use super::journal::Cause;
use super::lane::PoolPolicies;
use super::store::PolicyStore;
use crate::config::{PolicyChoice, PolicySource};
use crate::file_watch::FileWatch;

/// The policy file that a pool's config names.
#[derive(Debug)]
pub struct PolicyFile {
    choice: PolicyChoice,
    watch: FileWatch,
    /// Whether its content has been seen. The first that is seen may be what was there at the start.
    seen: bool,
    /// What is wrong with it, said once and not at every look.
    trouble: Option<String>,
}

impl PolicyFile {
    /// None where the policy stands in no file.
    pub fn of(choice: &PolicyChoice) -> Option<Self> {
        let PolicySource::File(path) = &choice.source else { return None };
        let watch = FileWatch::new(path.clone());
        Some(Self { choice: choice.clone(), watch, seen: false, trouble: None })
    }

    /// Looks at it, and puts new content into force. Blocks.
    pub fn look(&mut self, policies: &PoolPolicies, info: &PoolInfo, store: &PolicyStore) {
        match self.watch.look(store.host().config().component_bytes_max) {
            Ok(None) => self.trouble = None,
            Ok(Some(wasm)) => {
                self.trouble = None;
                self.activate(policies, info, store, wasm);
                self.seen = true;
            }
            Err(error) => {
                let text = error.to_string();
                if self.trouble.as_ref() != Some(&text) {
                    let path = self.watch.path().display();
                    tracing::warn!(%path, error = text, "policy file: nothing changed");
                    self.trouble = Some(text);
                }
            }
        }
    }

    fn activate(&self, policies: &PoolPolicies, info: &PoolInfo, store: &PolicyStore, wasm: Vec<u8>) {
        let entry = Entry::of_file(&self.choice, wasm);
        let fingerprint = entry.fingerprint();
        if !self.seen && policies.is_entry(&fingerprint) {
            return;
        }
        let change = entry.change(Cause::File);
        let compiled = match entry.compile(store) {
            Ok(compiled) => compiled,
            Err(error) => return policies.refused(&entry.name(), &change, &error),
        };
        // Refused or not, it is said there.
        if policies.activate(&compiled, info, &entry.settings(), change).is_ok() {
            policies.set_entry(&fingerprint);
        }
    }
}
