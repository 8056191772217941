//! Serves generation requests: chooses the rank, hands the sequences to the model, answers as they come along.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, SelectAll};
use futures_util::{Stream, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame as BodyFrame;

use super::answer::DONE;
use super::arrivals::Served;
use super::ask::{self, Ask};
use super::driver::Ticket;
use super::faults::Active;
use super::frame::{Finish, Frame, Piece, Usage};
use super::http::{Body, json_response, text_body};
use super::io::Breaker;
use super::rank_header::{self, RankAsk};
use super::refusal::Refused;
use super::sglang;
use super::transfer::{self, Leg};
use super::trtllm;
use super::worker::Worker;
use crate::model::core::Refusal;
use crate::model::sequence::{Progress, Prompt};
use crate::{EngineWire, TrtllmServer};
use rankwise_prompt::Api;
use serde_json::Value;

/// Simulated milliseconds to the first token, on answers that do not stream.
const FIRST_TOKEN_HEADER: &str = "x-sim-ttft-ms";

/// One generation request as it came.
pub(super) struct Incoming<'a> {
    pub(super) api: Api,
    pub(super) arrival: u64,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    pub(super) breaker: Breaker,
}

/// Answers a generation request.
pub(super) async fn serve(worker: &Arc<Worker>, incoming: Incoming<'_>) -> Response<Body> {
    let faults = worker.faults.now();
    if faults.stall {
        return std::future::pending().await;
    }
    if let Some(delay) = faults.slow_first_byte {
        tokio::time::sleep(delay).await;
    }
    if faults.server_error {
        return refuse(&Refused::internal());
    }
    if faults.stream_error {
        return refuse_in_stream(&Refused::internal());
    }
    let ask = match ask::read(incoming.api, incoming.body, &worker.spec.model_name, &worker.text) {
        Ok(ask) => ask,
        Err(refused) => return refuse(&refused),
    };
    let leg = match transfer::join(worker, &ask, &incoming).await {
        Ok(leg) => leg,
        Err(refused) => return refuse(&refused),
    };
    match begin(worker, ask, leg, &incoming, faults) {
        // The engine's check runs after the head of a stream is sent.
        Err((refused, true)) => refuse_in_stream(&refused),
        Err((refused, false)) => refuse(&refused),
        Ok(job) if job.ask.stream => stream_answer(job),
        Ok(job) => whole_answer(job).await,
    }
}

fn refuse(refused: &Refused) -> Response<Body> {
    json_response(refused.status, &refused.json())
}

fn refuse_in_stream(refused: &Refused) -> Response<Body> {
    event_stream(text_body(refused.event() + DONE))
}

fn event_stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    response
}

/// A request whose sequences an engine works on.
struct Job {
    worker: Arc<Worker>,
    ask: Ask,
    leg: Leg,
    faults: Active,
    breaker: Breaker,
    arrival: u64,
    rank: usize,
    sequences: Vec<Running>,
    /// Why an answer that is said to its end ended.
    finish: Finish,
    id: String,
    created: u64,
    began: crate::Micros,
}

struct Running {
    ticket: Option<Ticket>,
    prompt: usize,
    answer: Arc<[u32]>,
    progress: Progress,
    /// Tokens that were put into chunks.
    sent: u32,
    started: bool,
}

/// An error, and whether it is told in the stream.
type Failure = (Refused, bool);

fn begin(
    worker: &Arc<Worker>,
    ask: Ask,
    leg: Leg,
    incoming: &Incoming<'_>,
    faults: Active,
) -> Result<Job, Failure> {
    let spec = &worker.spec;
    let model_len = spec.model_len();
    if let Some(long) = ask.prompts.iter().map(Vec::len).find(|&tokens| tokens >= model_len as usize) {
        return Err((Refused::too_long(long, model_len), false));
    }
    let pinned = incoming.headers.get(rank_header::NAME).map(HeaderValue::as_bytes);
    let asked = match spec.engine {
        // It hands no rank on from there.
        EngineWire::Vllm if ask.api == Api::Responses => None,
        EngineWire::Vllm => match rank_header::read(pinned, spec.ranks) {
            RankAsk::Any => None,
            RankAsk::Rank(rank) => Some(rank as usize),
            RankAsk::OutOfRange(rank) => return Err((Refused::rank(&rank, spec.ranks), ask.stream)),
        },
        // Its first chunk is there before the head is sent: errors are never told in the stream.
        EngineWire::Sglang => {
            sglang::rank(pinned, incoming.body, spec.ranks).map_err(|refused| (refused, false))?
        }
        EngineWire::Trtllm => {
            let named = match spec.trtllm {
                TrtllmServer::Shim => trtllm::rank(incoming.headers, spec.ranks),
                bare => trtllm::bare_rank(bare, incoming.body, spec.ranks),
            };
            named.map_err(|refused| (refused, false))?
        }
        EngineWire::Generic => None,
    };
    let mut rank = asked.unwrap_or_else(|| worker.least_loaded_rank());
    if faults.ignore_pin {
        rank = (rank + 1) % spec.ranks;
    }
    worker.arrivals.set_rank(incoming.arrival, rank as u32);
    let length = ask.max_tokens.unwrap_or(spec.default_output_tokens).max(1);
    let length = if leg.is_prefill() { 1 } else { length };
    let finish = if leg.is_prefill() || ask.max_tokens.is_some() { Finish::Length } else { Finish::Stop };
    let mut sequences = Vec::with_capacity(ask.prompts.len() * ask.n);
    for (prompt, tokens) in ask.prompts.iter().enumerate() {
        for choice in 0..ask.n {
            let length = length.min(model_len - tokens.len() as u32);
            let answer = worker.text.answer(spec.seed.wrapping_add(choice as u64), tokens, length);
            let asked = Prompt {
                tokens: tokens.clone(),
                answer: Arc::clone(&answer),
                salt: ask.salt.clone(),
                transferred: leg.is_transferred(),
                report_hits: ask.report_hits,
                stops: finish == Finish::Stop,
            };
            let ticket = worker.submit(rank, asked).map_err(|refusal| match refusal {
                Refusal::Full => (Refused::overloaded(), false),
                Refusal::TooLarge | Refusal::Empty => (Refused::too_long(tokens.len(), model_len), false),
            })?;
            sequences.push(Running {
                ticket: Some(ticket),
                prompt,
                answer,
                progress: Progress::default(),
                sent: 0,
                started: false,
            });
        }
    }
    let prefix = match ask.api {
        Api::ChatCompletions => "chatcmpl",
        Api::Responses => "resp",
        _ => "cmpl",
    };
    Ok(Job {
        worker: Arc::clone(worker),
        ask,
        leg,
        faults,
        breaker: incoming.breaker.clone(),
        arrival: incoming.arrival,
        rank,
        sequences,
        finish,
        id: format!("{prefix}-{:08x}{:08x}", worker.index, incoming.arrival),
        created: super::feed::unix_seconds() as u64,
        began: worker.clock.now(),
    })
}

impl Job {
    fn frame(&self) -> Frame<'_> {
        Frame {
            ask: &self.ask,
            text: &self.worker.text,
            id: self.id.clone(),
            created: self.created,
            model: &self.worker.spec.model_name,
            fingerprint: self.worker.fingerprint(),
        }
    }

    fn prompt(&self, index: usize) -> &[u32] {
        let sequence = self.sequences.get(index);
        sequence
            .and_then(|sequence| self.ask.prompts.get(sequence.prompt))
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn usage(&self, output: impl Fn(&Running) -> u32) -> Usage {
        let block_size = u64::from(self.worker.spec.block_size);
        let mut usage = Usage::default();
        for (at, sequence) in self.sequences.iter().enumerate() {
            usage.output += u64::from(output(sequence));
            // The choices of one prompt share it.
            if at % self.ask.n == 0 {
                let prompt = self.prompt(at).len() as u64;
                let cached = u64::from(sequence.progress.cached_tokens);
                usage.prompt += prompt;
                usage.cached += cached;
                if self.ask.api == Api::ChatCompletions {
                    let created = (prompt / block_size * block_size).saturating_sub(cached);
                    usage.created = Some(usage.created.unwrap_or(0) + created);
                }
            }
        }
        usage
    }

    fn computed(&mut self, answer: Option<&mut Value>) {
        let prompt = self.ask.prompts.first().map(Vec::as_slice).unwrap_or_default();
        self.leg.computed(&self.worker, self.rank, prompt, answer);
    }

    fn note_end(&self, index: usize) {
        let Some(sequence) = self.sequences.get(index) else { return };
        self.worker.served.push(Served {
            arrival: self.arrival,
            rank: self.rank as u32,
            prompt_tokens: self.prompt(index).len() as u32,
            cached_tokens: sequence.progress.cached_tokens,
            output_tokens: sequence.progress.said,
            first_token_us: sequence.progress.first_token_us.unwrap_or(0),
            total_us: self.worker.clock.now().since(self.began),
        });
    }
}

async fn whole_answer(mut job: Job) -> Response<Body> {
    for index in 0..job.sequences.len() {
        let Some(mut ticket) = job.sequences[index].ticket.take() else { continue };
        let last = job.sequences[index].answer.len() as u32 - 1;
        match ticket.more_than(last).await {
            Some(progress) => job.sequences[index].progress = progress,
            None => return refuse(&Refused::internal()),
        }
        job.note_end(index);
    }
    let pieces: Vec<_> = job
        .sequences
        .iter()
        .enumerate()
        .map(|(index, sequence)| Piece { index, tokens: &sequence.answer, finish: Some(job.finish) })
        .collect();
    let usage = job.usage(|sequence| sequence.progress.said);
    let mut answer = job.frame().whole(&pieces, usage);
    drop(pieces);
    job.computed(Some(&mut answer));
    let mut response = json_response(StatusCode::OK, &answer);
    let first_token_us = job.sequences.iter().filter_map(|sequence| sequence.progress.first_token_us).max();
    let milliseconds = format!("{:.3}", first_token_us.unwrap_or(0) as f64 / 1e3);
    if let Ok(value) = HeaderValue::try_from(milliseconds) {
        response.headers_mut().insert(FIRST_TOKEN_HEADER, value);
    }
    response
}

fn stream_answer(mut job: Job) -> Response<Body> {
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
    event_stream(StreamBody::new(body).boxed_unsync())
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
                Some((_, None)) => return Some(Err(io::ErrorKind::ConnectionReset.into())),
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
            if finish.is_some() {
                self.open -= 1;
            }
            let ends = self.open == 0 && finish.is_some();
            let usage = always.then(|| self.job.usage(|sequence| sequence.sent));
            let piece = Piece { index, tokens: &answer[at..=at], finish };
            let chunk = self.job.frame().piece(&piece, usage, ends && !self.job.ask.usage.at_end);
            self.pending.push_back(chunk);
            if finish.is_some() {
                self.job.note_end(index);
            }
            if ends {
                self.end();
            }
            if aborts {
                return;
            }
        }
    }

    fn end(&mut self) {
        self.job.computed(None);
        let usage = self.job.usage(|sequence| sequence.sent);
        let said =
            self.job.sequences.first().map(|sequence| Arc::clone(&sequence.answer)).unwrap_or_default();
        self.pending.extend(self.job.frame().ending(&said, usage));
        self.ended = true;
    }
}
