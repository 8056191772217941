//! What was computed for earlier prompts, found by how a body or a text begins.
//!
//! Three kinds of entry, found in this order:
//!
//! 1. [`Ends`] of messages, by the stretches of [`STRETCH`] bytes of the *body* that stand before the one they lie in: where to read on, which
//!    fields stood before. What is known is not even parsed.
//! 2. [`Node`] at the end of a message, by such a beginning: the block hashes of the rendered text up to there. Only for templates
//!    whose text grows at the end when messages are appended (`template/framing.rs`).
//! 3. [`Node`] at an added token of the rendered *text*, by the text before it: for every template, where texts may be cut
//!    (`cuts.rs`).
//!
//! Names are keyed 128-bit hashes, chained from the beginning, with a secret of the process: no client can make up two beginnings of one
//! name, so a hit needs no comparison of texts. What a hit saves is time, never a different result.
//!
//! What can be learned by it: a client that measures its own latency to some microseconds can tell whether a prompt that begins like its own, to
//! the message, was seen by this process of late, as it can tell, far more easily, from the engines' own prefix
//! caches. Where that matters, tenants set different `cache_salt`: it is part of the names of nodes.

use std::sync::Arc;

use bytes::Bytes;
use rankwise_core::hash::HashKey;

use crate::api::Api;
use crate::body::{Beginning, Body, Mark, STRETCH};
use crate::error::BodyError;
use crate::hashing::Hashing;

mod charge;
mod ends;
mod node;
mod store;

use ends::{End, Ends};
pub(crate) use node::Node;
use store::{Entry, Store};

/// The cache of a process, shared by its threads and models. All methods take `&self`.
pub struct PromptCache {
    key: HashKey,
    store: Store,
}

/// What the cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheReport {
    /// Memory of all entries, by what was asked of the allocator.
    pub bytes: usize,
    /// The bound.
    pub bytes_max: usize,
    /// Entries.
    pub entries: usize,
}

/// Where in a body a later one can go on: behind an element of `messages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Elements up to there.
    pub(crate) messages: usize,
    /// The name of the whole stretches before it.
    before: u128,
    /// The name of all before it.
    pub(crate) name: u128,
}

impl PromptCache {
    /// An empty cache of at most `bytes_max`, which holds hashes made with `key`.
    pub fn new(bytes_max: usize, key: HashKey) -> Self {
        Self { key, store: Store::new(bytes_max) }
    }

    /// The key of the block hashes in it.
    pub fn key(&self) -> &HashKey {
        &self.key
    }

    /// What it holds. Walks all shards.
    pub fn report(&self) -> CacheReport {
        self.store.report()
    }

    /// Looks for an earlier body of `api` that began with the same bytes. Costs what hashing the body once does.
    pub fn recognise(&self, api: Api, body: &[u8]) -> Beginning {
        if api != Api::ChatCompletions {
            return Beginning::default();
        }
        let chain = self.chain(body);
        let mark = self.deepest_mark(&chain, body);
        Beginning { chain, mark }
    }

    /// Reads a body but for the beginning that is known.
    ///
    /// # Errors
    /// [`BodyError::Json`].
    pub fn read(&self, api: Api, body: Bytes) -> Result<Body, BodyError> {
        let beginning = self.recognise(api, &body);
        Body::read_from(api, body, beginning)
    }

    /// The names of the body's beginnings after each whole stretch.
    fn chain(&self, body: &[u8]) -> Vec<u128> {
        let mut name = 0;
        let stretches = body.chunks_exact(STRETCH);
        stretches
            .map(|stretch| {
                name = self.follow(name, stretch);
                name
            })
            .collect()
    }

    /// The name of a beginning that is `before`, then `bytes`.
    pub(crate) fn follow(&self, before: u128, bytes: &[u8]) -> u128 {
        self.pair(before, self.key.bytes_wide(bytes))
    }

    /// One name out of two.
    pub(crate) fn pair(&self, left: u128, right: u128) -> u128 {
        let mut both = [0; 32];
        both[..16].copy_from_slice(&left.to_le_bytes());
        both[16..].copy_from_slice(&right.to_le_bytes());
        self.key.bytes_wide(&both)
    }

    /// The mark furthest into a body, and its name.
    fn deepest_mark(&self, chain: &[u128], body: &[u8]) -> Option<(Mark, u128)> {
        chain.iter().enumerate().rev().find_map(|(at, before)| {
            let Entry::Ends(ends) = self.store.get(*before)? else { return None };
            let start = (at + 1) * STRETCH;
            let is_name =
                |end, name| body.get(start..end).is_some_and(|part| self.follow(*before, part) == name);
            let end = ends.furthest(is_name)?.clone();
            self.put_end(*before, Some(&ends), end.clone());
            Some((end.mark, end.name))
        })
    }

    /// Where later bodies can go on that begin like this one.
    pub(crate) fn places(&self, body: &Body) -> Vec<Place> {
        let place = |(messages, end): (usize, usize)| {
            let stretches = end / STRETCH;
            let before = *body.chain().get(stretches.checked_sub(1)?)?;
            let name = self.follow(before, &body.bytes()[stretches * STRETCH..end]);
            Some(Place { messages, before, name })
        };
        body.message_ends().into_iter().filter_map(place).collect()
    }

    /// Remembers that bodies can be read on at these places of `body`.
    pub(crate) fn put_marks(&self, body: &Body, places: &[Place]) {
        for place in places {
            let Some(mark) = body.mark(place.messages) else { continue };
            let found = match self.store.get(place.before) {
                Some(Entry::Ends(ends)) => Some(ends),
                _ => None,
            };
            self.put_end(place.before, found.as_ref(), End { name: place.name, mark });
        }
    }

    /// Has `end` stand near the front of those that were `found` after `before`.
    fn put_end(&self, before: u128, found: Option<&Arc<Ends>>, end: End) {
        if let Some(mut ends) = Ends::with(found, end) {
            ends.charge = self.store.charge(ends.bytes());
            self.store.put(before, Entry::Ends(Arc::new(ends)));
        }
    }

    /// The node of this name.
    pub(crate) fn node(&self, name: u128) -> Option<Arc<Node>> {
        match self.store.get(name)? {
            Entry::Node(node) => Some(node),
            Entry::Ends(_) => None,
        }
    }

    pub(crate) fn put_node(&self, name: u128, node: &Arc<Node>) {
        self.store.put(name, Entry::Node(Arc::clone(node)));
    }

    /// A node that continues `parent` by `ids`. In no table yet.
    pub(crate) fn extend(&self, parent: Option<&Arc<Node>>, ids: &[u32], hashing: Hashing<'_>) -> Arc<Node> {
        let mut node = Node::extend(parent, ids, hashing, &self.key);
        node.charge = self.store.charge(node.bytes());
        Arc::new(node)
    }
}

impl std::fmt::Debug for PromptCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PromptCache").field("store", &self.report()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
