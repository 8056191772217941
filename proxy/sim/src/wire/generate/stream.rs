//! An answer that is told as the model goes along.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, SelectAll};
use futures_util::{Stream, StreamExt};
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame as BodyFrame;

use super::super::driver::Ticket;
use super::super::frame::{Finish, Piece};
use super::super::reply::{self, Body};
use super::super::responses;
use super::job::Job;
use crate::model::sequence::Progress;

/// Answers while the sequences go along.
pub(super) fn answer(mut job: Job) -> Response<Body> {
    let mut progress = SelectAll::new();
    for (index, sequence) in job.sequences.iter_mut().enumerate() {
        if let Some(ticket) = sequence.ticket.take() {
            progress.push(Box::pin(progress_of(index, ticket)) as ProgressStream);
        }
    }
    let open = progress.len();
    let chunks = Chunks { job, progress, pending: VecDeque::new(), open, ended: false, passed: 0 };
    let body = stream::unfold(chunks, |mut chunks| async move {
        let chunk = chunks.next().await?;
        Some((chunk.map(BodyFrame::data), chunks))
    });
    reply::event_stream(StreamBody::new(body).boxed_unsync())
}

type ProgressStream = std::pin::Pin<Box<dyn Stream<Item = (usize, Option<Progress>)> + Send>>;

/// A sequence's steps; `None` in place of one says that the engine is gone.
fn progress_of(index: usize, ticket: Ticket) -> impl Stream<Item = (usize, Option<Progress>)> + Send {
    stream::unfold((ticket, Some(0)), move |(mut ticket, said)| async move {
        let progress = ticket.more_than(said?).await;
        let next = progress.filter(|progress| !progress.finished).map(|progress| progress.said);
        Some(((index, progress), (ticket, next)))
    })
}

/// The chunks of a stream, made as the model goes along: never more than what one step brought.
struct Chunks {
    job: Job,
    progress: SelectAll<ProgressStream>,
    pending: VecDeque<String>,
    /// Sequences whose answer is not complete.
    open: usize,
    ended: bool,
    passed: usize,
}

impl Chunks {
    async fn next(&mut self) -> Option<Result<Bytes, io::Error>> {
        loop {
            if let Some(chunk) = self.pending.pop_front() {
                return Some(Ok(self.passing(chunk).await));
            }
            if self.ended {
                return None;
            }
            match self.progress.next().await {
                Some((index, Some(progress))) => self.advance(index, progress),
                Some((_, None)) => {
                    self.job.end_is_noticed().await;
                    return Some(Err(io::ErrorKind::ConnectionReset.into()));
                }
                None => self.ended = true,
            }
        }
    }

    /// Breaks the connection when the faults say so.
    async fn passing(&mut self, chunk: String) -> Bytes {
        let at = self.passed;
        self.passed += 1;
        if [self.job.faults.reset_after, self.job.faults.half_close_after].contains(&Some(at)) {
            // A pause in the body makes the server flush, so that the chunks before this one do go out.
            tokio::task::yield_now().await;
        }
        if self.job.faults.reset_after == Some(at) {
            self.job.breaker.reset();
        } else if self.job.faults.half_close_after == Some(at) {
            self.job.breaker.half_close();
        } else if self.job.faults.half_close_after.is_some_and(|after| at > after) {
            // Nothing goes out any more; the client ends it.
            return std::future::pending().await;
        }
        chunk.into()
    }

    fn advance(&mut self, index: usize, progress: Progress) {
        let Some(sequence) = self.job.sequences.get_mut(index) else { return };
        sequence.progress = progress;
        let answer = Arc::clone(&sequence.answer);
        let first = !std::mem::replace(&mut sequence.started, true);
        let always = self.job.ask.usage.always;
        if first {
            let usage = always.then(|| self.job.usage(|sequence| sequence.sent));
            let opening = self.job.frame().opening(index, self.job.prompt(index), usage);
            self.pending.extend(opening);
        }
        let aborts = self.job.faults.abort_after_first;
        while self.job.sequences[index].sent < progress.said {
            let at = self.job.sequences[index].sent as usize;
            self.job.sequences[index].sent += 1;
            let last = at + 1 == answer.len();
            let finish = if aborts { Some(Finish::Abort) } else { last.then_some(self.job.finish) };
            self.say(index, &answer[at..=at], finish);
            if aborts {
                return;
            }
        }
        if progress.finished && (progress.said as usize) < answer.len() {
            self.say(index, &[], Some(Finish::Abort));
        }
    }

    fn say(&mut self, index: usize, tokens: &[u32], finish: Option<Finish>) {
        if finish.is_some() {
            self.open -= 1;
        }
        let ends = self.open == 0 && finish.is_some();
        let usage = self.job.ask.usage.always.then(|| self.job.usage(|sequence| sequence.sent));
        let piece = Piece { index, tokens, finish };
        let chunk = self.job.frame().piece(&piece, usage, ends && !self.job.ask.usage.at_end);
        self.pending.push_back(chunk);
        if finish.is_some() {
            self.job.note_end(index);
        }
        if ends {
            self.end();
        }
    }

    fn end(&mut self) {
        self.job.computed(None);
        let usage = self.job.usage(|sequence| sequence.sent);
        let first = self.job.sequences.first();
        let said = first.map(|sequence| &sequence.answer[..sequence.sent as usize]).unwrap_or_default();
        self.pending.extend(self.job.frame().ending(said, usage));
        if self.job.ask.store {
            self.job.keep(&responses::whole(&self.job.frame(), said, usage));
        }
        self.ended = true;
    }
}
