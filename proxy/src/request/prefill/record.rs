//! What a request's story knows of its first leg.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderValue;
use rankwise_engines::reply::Usage;

use super::super::place::Placed;
use super::leg::PrefillEnd;

/// A first leg that is still under way.
pub(in crate::request) type Pending = Pin<Box<dyn Future<Output = PrefillEnd>>>;

/// Where the prompt is computed, and what was told of it. Empty where a request runs whole.
#[derive(Default)]
pub(in crate::request) struct PrefillRecord {
    place: Option<PrefillPlace>,
    usage: Option<Usage>,
    pending: Option<Pending>,
}

/// Where the prompt is computed.
#[derive(Clone, Debug)]
pub(in crate::request) struct PrefillPlace {
    /// Its worker's name.
    pub worker: HeaderValue,
    /// Its rank; none where its engine chose.
    pub dp_rank: Option<u32>,
}

impl PrefillRecord {
    /// It is about to be sent there.
    pub(in crate::request) fn begin(&mut self, placed: &Placed) {
        let place = PrefillPlace { worker: placed.worker.name.clone(), dp_rank: placed.dp_rank() };
        *self = Self { place: Some(place), ..Self::default() };
    }

    /// It has been computed.
    pub(in crate::request) fn done(&mut self, usage: Option<Usage>) {
        self.usage = usage;
    }

    /// It goes on while the answer comes.
    pub(in crate::request) fn goes_on(&mut self, pending: Pending) {
        self.pending = Some(pending);
    }

    /// Where.
    pub(in crate::request) fn place(&self) -> Option<&PrefillPlace> {
        self.place.as_ref()
    }

    /// Lets a leg that is under way go on.
    pub(in crate::request) fn poll(&mut self, context: &mut Context<'_>) {
        if let Some(pending) = &mut self.pending
            && let Poll::Ready(end) = pending.as_mut().poll(context)
        {
            self.pending = None;
            // What failed there shows in the answer.
            if let PrefillEnd::Done(done) = end {
                self.done(done.usage);
            }
        }
    }

    /// The answer has come to its end, so the prompt is computed: what is left of the first leg's own answer is read for the sake
    /// of its connection.
    pub(in crate::request) fn leave(&mut self) {
        if let Some(pending) = self.pending.take() {
            // Bounded by the pool's times; the thread's local set is dropped at shutdown.
            tokio::task::spawn_local(pending);
        }
    }

    /// What the request used: what was cached is for the first leg to say, as the second finds all of it.
    pub(in crate::request) fn correct(&self, usage: Option<Usage>) -> Option<Usage> {
        let usage = usage?;
        match &self.place {
            Some(_) => Some(Usage { cached_tokens: self.usage.and_then(|own| own.cached_tokens), ..usage }),
            None => Some(usage),
        }
    }
}
