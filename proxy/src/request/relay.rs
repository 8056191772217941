//! An answer on its way to the client, frame by frame as it came.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use rankwise_engines::reply::{FinishReason, ReplySummary};
use tokio::time::Sleep;

use super::scan::Scanner;
use super::story::Story;
use crate::error::{ProxyError, Shape, Stage};
use crate::health::Failure;
use crate::metrics::Outcome;
use crate::upstream::Checkout;

/// The body of a forwarded answer. Dropped before its end, it closes the upstream connection, which cancels the
/// request at the engine.
pub struct Relay {
    upstream: Incoming,
    checkout: Option<Checkout>,
    scanner: Scanner,
    story: Story,
    shape: Shape,
    silence: Pin<Box<Sleep>>,
    silence_max: Duration,
    last_chunk: Option<Instant>,
    ended: bool,
}

/// The answer broke off where no error event can say so: the client's connection is reset.
#[derive(Debug, thiserror::Error)]
#[error("the engine broke off")]
pub struct BrokenOff;

impl Relay {
    /// Relays `upstream`.
    pub(super) fn new(
        upstream: Incoming,
        checkout: Checkout,
        scanner: Scanner,
        story: Story,
        shape: Shape,
        silence_max: Duration,
    ) -> Self {
        Self {
            upstream,
            checkout: Some(checkout),
            scanner,
            story,
            shape,
            silence: Box::pin(tokio::time::sleep(silence_max)),
            silence_max,
            last_chunk: None,
            ended: false,
        }
    }

    fn observe(&mut self, data: &Bytes) {
        self.story.bytes_sent(data.len());
        let chunks = self.scanner.push(data);
        if let Some(id) = self.scanner.name() {
            // Before the client has it, and so before anybody can refer to it.
            self.story.made_response(id);
        }
        if chunks == 0 {
            return;
        }
        let now = Instant::now();
        match self.last_chunk.replace(now) {
            None => self.story.first_output(now),
            Some(before) => self.story.chunk(now - before),
        }
        self.story.output_tokens(chunks);
    }

    fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        let reply = self.scanner.finish();
        if let Some(id) = &reply.response_id {
            self.story.made_response(id);
        }
        let outcome =
            if outcome == Outcome::Ok && reply.error.is_some() { Outcome::EngineError } else { outcome };
        if outcome != Outcome::Cancelled && self.story.is_success() {
            match failure_in(&reply) {
                Some(failure) => self.story.rank_failed(failure),
                None if outcome == Outcome::Ok => self.story.rank_answered(),
                None => {}
            }
        }
        self.story.finish(outcome, reply.usage);
    }

    /// The engine has said all.
    fn complete(&mut self) {
        if let Some(checkout) = self.checkout.take() {
            checkout.give_back();
        }
        self.end(Outcome::Ok);
    }

    fn broken(&mut self, stage: Stage, message: &str) -> Option<Result<Frame<Bytes>, BrokenOff>> {
        self.checkout = None;
        let (stream, done) = (self.scanner.is_stream(), self.scanner.is_done());
        if !done {
            self.story.failed_at(stage);
            let silent = stage == Stage::UpstreamTimeout;
            self.story.rank_failed(if silent { Failure::Silent } else { Failure::Broken });
        }
        // An engine that said [DONE] and then broke off has answered.
        self.end(if done { Outcome::Ok } else { Outcome::Broken });
        match (stream, done) {
            (_, true) => None,
            (true, false) => {
                Some(Ok(Frame::data(ProxyError::new(stage, message).event_stream_end(self.shape))))
            }
            (false, false) => Some(Err(BrokenOff)),
        }
    }
}

/// What an answer that said 200 says of its rank. An error that is the client's own, by its code, says nothing.
fn failure_in(reply: &ReplySummary) -> Option<Failure> {
    let error =
        reply.error.as_ref().is_some_and(|error| !error.code.is_some_and(|code| (400..500).contains(&code)));
    // Nobody asked for it to be given up: vLLM says so when one of the worker's ranks has died.
    let gave_up = matches!(reply.finish_reason, Some(FinishReason::Abort | FinishReason::Error));
    (error || gave_up).then_some(Failure::ErrorInAnswer)
}

impl Body for Relay {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        this.story.prefill.poll(context);
        match Pin::new(&mut this.upstream).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let silence_max = this.silence_max;
                this.silence.as_mut().reset(tokio::time::Instant::now() + silence_max);
                if let Some(data) = frame.data_ref() {
                    this.observe(data);
                }
                // A server that has written as many bytes as it announced does not ask for the end.
                if this.upstream.is_end_stream() {
                    this.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::warn!(target = %this.story.name(), %error, "the engine broke off");
                Poll::Ready(this.broken(Stage::Upstream, "the engine broke off"))
            }
            Poll::Ready(None) => {
                this.complete();
                Poll::Ready(None)
            }
            Poll::Pending => match this.silence.as_mut().poll(context) {
                Poll::Ready(()) => {
                    tracing::warn!(target = %this.story.name(), within = ?this.silence_max, "the engine fell silent");
                    Poll::Ready(this.broken(Stage::UpstreamTimeout, "the engine fell silent"))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        // Not the upstream's word: the end must be polled, it frees the booking and the connection.
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        if self.scanner.is_stream() { SizeHint::default() } else { self.upstream.size_hint() }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // An empty body is never asked for.
        if self.upstream.is_end_stream() {
            self.complete();
        } else {
            self.end(Outcome::Cancelled);
        }
    }
}
