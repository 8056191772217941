//! Serves generation requests: chooses the rank, hands the sequences to the model, answers when they are complete.

mod job;
mod stream;

use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode};

use super::ask::{self, Ask};
use super::conversations;
use super::faults::Active;
use super::feed::unix_seconds;
use super::frame::{Finish, Piece};
use super::incoming::Incoming;
use super::named_rank;
use super::refusal::{Failure, Refused};
use super::reply::{self, Body};
use super::responses;
use super::transfer::Leg;
use super::worker::Worker;
use crate::model::core::Refusal;
use crate::model::sequence::{Progress, Prompt};
use job::{Job, Sequence};
use rankwise_prompt::Api;

/// Simulated milliseconds to the first token, on answers that do not stream.
const FIRST_TOKEN_HEADER: &str = "x-sim-ttft-ms";

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
        return reply::refuse(&Refused::internal());
    }
    if worker.asleep().is_some() {
        return reply::refuse(&Refused::asleep());
    }
    if faults.stream_error {
        return reply::refuse_in_stream(&Refused::internal());
    }
    let read = ask::read(incoming.api, incoming.body, &worker.site.spec.model_name, &worker.text);
    let ask = match read.and_then(|ask| go_on(worker, ask)) {
        Ok(ask) => ask,
        Err(refused) => return reply::refuse(&refused),
    };
    let leg = match worker.transfers.join(&worker.site, &ask, &incoming).await {
        Ok(leg) => leg,
        Err(refused) => return reply::refuse(&refused),
    };
    let rank = match choose(worker, &ask, &incoming) {
        Ok(rank) => rank,
        Err((refused, true)) => return reply::refuse_in_stream(&refused),
        Err((refused, false)) => return reply::refuse(&refused),
    };
    let now = worker.faults.now();
    if now.dead_rank == Some(rank as u32) {
        return reply::refuse(&Refused::internal());
    }
    if let Some(dying) = now.dying(rank) {
        if dying.is_noticed() {
            return std::future::pending().await;
        }
        dying.noticed().await;
        return reply::refuse(&Refused::internal());
    }
    if now.hung_rank == Some(rank as u32) {
        return std::future::pending().await;
    }
    match begin(worker, rank, ask, leg, &incoming, faults) {
        Err(refused) => reply::refuse(&refused),
        Ok(job) if job.ask.stream => stream::answer(job),
        Ok(job) if job.ask.background => background_answer(job),
        Ok(job) => whole_answer(job).await,
    }
}

/// Puts what was said before in front of a prompt that goes on from a response.
fn go_on(worker: &Worker, mut ask: Ask) -> Result<Ask, Refused> {
    let stores = worker.site.spec.stores_responses;
    if ask.background && !(stores && ask.store) {
        return Err(Refused::body("background can only be used when `store` is true"));
    }
    ask.store &= stores;
    if let Some(id) = &ask.previous {
        let said = worker.stored.said(id)?;
        for prompt in &mut ask.prompts {
            prompt.splice(..0, said.iter().copied());
        }
    }
    Ok(ask)
}

/// The rank that serves it.
fn choose(worker: &Worker, ask: &Ask, incoming: &Incoming<'_>) -> Result<usize, Failure> {
    let spec = &worker.site.spec;
    let model_len = spec.model_len();
    if let Some(long) = ask.prompts.iter().map(Vec::len).find(|&tokens| tokens >= model_len as usize) {
        return Err((Refused::too_long(long, model_len), false));
    }
    let asked = named_rank::read(&worker.site, worker.instance_id(), incoming, ask.stream)?;
    let mut rank = asked.unwrap_or_else(|| {
        let conversation = conversations::name(spec, incoming);
        worker.conversations.rank_of(conversation, || worker.least_loaded_rank())
    });
    if worker.faults.now().ignore_pin {
        rank = (rank + 1) % spec.ranks;
    }
    worker.arrivals.set_rank(incoming.arrival, rank as u32);
    Ok(rank)
}

/// Hands its sequences, shorter than the model's longest, to the rank.
fn begin(
    worker: &Arc<Worker>,
    rank: usize,
    ask: Ask,
    leg: Leg,
    incoming: &Incoming<'_>,
    faults: Active,
) -> Result<Job, Refused> {
    let spec = &worker.site.spec;
    let model_len = spec.model_len();
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
                Refusal::Full => Refused::overloaded(),
                Refusal::TooLarge | Refusal::Empty => Refused::too_long(tokens.len(), model_len),
            })?;
            sequences.push(Sequence {
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
        Api::ChatCompletions => "chatcmpl-",
        Api::Responses => "resp_",
        _ => "cmpl-",
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
        id: format!("{prefix}{:08x}{:08x}", worker.site.index, incoming.arrival),
        created: unix_seconds() as u64,
        began: worker.clock.now(),
    })
}

/// Answers at once, and makes the response then.
fn background_answer(job: Job) -> Response<Body> {
    let queued = responses::queued(&job.frame());
    job.worker.stored.begin(&job.id, queued.clone());
    #[expect(clippy::disallowed_methods, reason = "ends with its sequences, at the latest with the engine")]
    tokio::spawn(whole_answer(job));
    reply::json(StatusCode::OK, &queued)
}

async fn whole_answer(mut job: Job) -> Response<Body> {
    for index in 0..job.sequences.len() {
        let Some(mut ticket) = job.sequences[index].ticket.take() else { continue };
        let last = job.sequences[index].answer.len() as u32 - 1;
        match ticket.more_than(last).await {
            Some(progress) => job.sequences[index].progress = progress,
            None => {
                job.end_is_noticed().await;
                return reply::refuse(&Refused::internal());
            }
        }
        job.note_end(index);
    }
    let pieces: Vec<_> = job
        .sequences
        .iter()
        .enumerate()
        .map(|(index, sequence)| {
            let said = &sequence.answer[..sequence.progress.said as usize];
            let finish = if said.len() < sequence.answer.len() { Finish::Abort } else { job.finish };
            Piece { index, tokens: said, finish: Some(finish) }
        })
        .collect();
    let usage = job.usage(|sequence| sequence.progress.said);
    let mut answer = job.frame().whole(&pieces, usage);
    drop(pieces);
    job.computed(Some(&mut answer));
    job.keep(&answer);
    let mut response = reply::json(StatusCode::OK, &answer);
    let first_token_us = job.sequences.iter().filter_map(|sequence| sequence.progress.first_token_us).max();
    let milliseconds = format!("{:.3}", first_token_us.unwrap_or(0) as f64 / 1e3);
    if let Ok(value) = HeaderValue::try_from(milliseconds) {
        response.headers_mut().insert(FIRST_TOKEN_HEADER, value);
    }
    response
}
