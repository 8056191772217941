//! Which of the workers behind a Dynamo frontend an entry means, found by proof: each is sent one request of one token, pinned
//! to rank 0, and the one of whose blocks the entry's event port tells is meant.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::HeaderValue;
use rankwise_engines::discovery::EventEndpoints;
use rankwise_engines::dynamo::INSTANCE_HEADER;
use rankwise_engines::events::{self, BatchLimits, Content, Event};
use tokio::time::{Instant, sleep, sleep_until};
use zeromq::{SocketRecv, SubSocket, ZmqError};

use super::description::Description;
use super::frontends::Seat;
use crate::feeds::subscribe;
use crate::proving::request::{ANSWER_BYTES_MAX, BLOCK_TOKENS_MAX, PATH, TOKENS_MIN, question, tokens};
use crate::upstream::Origin;

/// Why it is not known which worker is meant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// There is nothing to tell them apart by.
    #[error(
        "/health: several workers may be it, {ids}: set events and block_size (at most {BLOCK_TOKENS_MAX}) to have it found, or name it by {INSTANCE_HEADER} \
         among the headers"
    )]
    NoEvents {
        /// Them.
        ids: Ids,
    },
    /// None of those there is left.
    #[error("/health: every worker there is another entry's: {ids}")]
    NoneLeft {
        /// Them.
        ids: Ids,
    },
    /// The event port does not answer.
    #[error("{endpoint}: {source}: no events to find the worker by")]
    Connect {
        /// Where.
        endpoint: String,
        /// Why.
        source: ZmqError,
    },
    /// Nobody serves a request.
    #[error("{PATH}: none of the workers {ids} answers: {said}")]
    Unanswered {
        /// Whom was asked.
        ids: Ids,
        /// What one of them said.
        said: String,
    },
    /// It tells of no request.
    #[error("{endpoint} tells of nothing that the workers {ids} were sent: is it the worker's?")]
    Silent {
        /// Where.
        endpoint: String,
        /// Whom was asked.
        ids: Ids,
    },
    /// It tells of several workers' requests.
    #[error("{endpoint} tells of what each of the workers {ids} was sent: it is not one worker's alone")]
    Ambiguous {
        /// Where.
        endpoint: String,
        /// Whose.
        ids: Ids,
    },
    /// Another entry has found it meanwhile.
    #[error("worker {id} is that of {owner} too, whose events come from elsewhere")]
    Taken {
        /// Which.
        id: u64,
        /// Whose.
        owner: String,
    },
    /// As before.
    #[error("{0}")]
    Again(String),
}

/// Workers' ids.
#[derive(Debug)]
pub struct Ids(Vec<u64>);

impl std::fmt::Display for Ids {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        out.write_str(&ids.join(", "))
    }
}

/// A subscription takes effect some time after it is sent; what is told before is told to nobody, so all is asked twice.
const SUBSCRIBED: Duration = Duration::from_millis(100);
const ROUNDS: usize = 2;

/// Events come within milliseconds of the answers; a busy machine takes longer.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(2);
/// For a second worker's, which should not be there.
const OTHERS_TIMEOUT: Duration = Duration::from_millis(200);

/// Workers that are asked at the same time.
const ASKED_AT_ONCE: usize = 8;

/// Finds out which worker an entry means, where that is the question, and puts it into the description. `times`: to connect to the event
/// port, and for an answer.
///
/// # Errors
/// When it cannot be found.
pub async fn identify(
    seat: Option<&Seat>,
    origin: &Origin,
    description: &mut Description,
    times: (Duration, Duration),
) -> Result<(), FindError> {
    let there = std::mem::take(&mut description.instances);
    let Some(seat) = seat.filter(|_| !there.is_empty()) else { return Ok(()) };
    if let Some(id) = seat.kept(&there) {
        description.instance = Some(id);
        return Ok(());
    }
    let open = seat.open(&there);
    let (id, shown) = match open.as_slice() {
        [] => return Err(FindError::NoneLeft { ids: Ids(there) }),
        [only] if seat.is_alone() => (*only, false),
        _ => {
            if let Some(error) = seat.failed(&open, Instant::now()) {
                return Err(FindError::Again(error));
            }
            let found = find(origin, description, &open, times).await;
            // Only what engines had to serve is worth a pause.
            if let Err(error @ (FindError::Silent { .. } | FindError::Ambiguous { .. })) = &found {
                seat.fail(open, error.to_string(), Instant::now());
            }
            (found?, true)
        }
    };
    seat.take(id, shown).map_err(|owner| FindError::Taken { id, owner: owner.to_string() })?;
    description.instance = Some(id);
    Ok(())
}

/// A worker and the prompt that it was sent.
type Asked = (u64, Vec<u32>);

/// The one of these workers of whose requests the entry's first event port tells.
async fn find(
    origin: &Origin,
    description: &Description,
    open: &[u64],
    (connect_timeout, answer_timeout): (Duration, Duration),
) -> Result<u64, FindError> {
    let ids = || Ids(open.to_vec());
    let events = description.ranks.first().and_then(|rank| rank.events.as_ref());
    let block_size = description.block_size.filter(|size| size.0 <= BLOCK_TOKENS_MAX);
    let (Some(EventEndpoints { live, topic, .. }), Some(block_size)) = (events, block_size) else {
        return Err(FindError::NoEvents { ids: ids() });
    };
    let lost = |source| FindError::Connect { endpoint: live.clone(), source };
    let mut socket = subscribe(topic, live, connect_timeout).await.map_err(lost)?;
    sleep(SUBSCRIBED).await;
    let mut asked: Vec<Asked> = Vec::new();
    for _ in 0..ROUNDS {
        let before = asked.len();
        asked.extend(open.iter().map(|id| (*id, tokens(block_size.0.max(TOKENS_MIN)))));
        let asking: Vec<_> =
            asked[before..].iter().map(|asked| ask(origin, description, asked, answer_timeout)).collect();
        let Heard { told, unanswered } = listen(&mut socket, &asked, asking).await.map_err(lost)?;
        match told.as_slice() {
            [] => {}
            [only] => return Ok(*only),
            _ => return Err(FindError::Ambiguous { endpoint: live.clone(), ids: Ids(told) }),
        }
        if let Some(said) = unanswered.first()
            && unanswered.len() == open.len()
        {
            return Err(FindError::Unanswered { ids: ids(), said: said.clone() });
        }
    }
    Err(FindError::Silent { endpoint: live.clone(), ids: ids() })
}

/// What came of a round.
struct Heard {
    /// Of whose requests the port told.
    told: Vec<u64>,
    /// What those said that did not serve.
    unanswered: Vec<String>,
}

/// Has workers answer, and listens to the port until a while after the last answer, or after the first event of theirs: one that hangs holds
/// up nobody.
async fn listen(
    socket: &mut SubSocket,
    asked: &[Asked],
    asking: Vec<impl Future<Output = Option<String>>>,
) -> Result<Heard, ZmqError> {
    let mut told = BTreeSet::new();
    let mut unanswered = Vec::new();
    let count = asking.len();
    let mut answers = stream::iter(asking).buffer_unordered(ASKED_AT_ONCE);
    let mut all_answered = false;
    let mut until = None;
    loop {
        let end = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = socket.recv() => {
                let frames = message?.into_vec();
                told.extend(frames.last().into_iter().flat_map(|payload| tells_of(payload, asked)));
                if !told.is_empty() {
                    let soon = Instant::now() + OTHERS_TIMEOUT;
                    until = Some(until.map_or(soon, |until: Instant| until.min(soon)));
                }
            }
            answer = answers.next(), if !all_answered => match answer {
                Some(answer) => unanswered.extend(answer),
                None => {
                    all_answered = true;
                    if unanswered.len() == count {
                        break;
                    }
                    until = until.or_else(|| Some(Instant::now() + EVENTS_TIMEOUT));
                }
            },
            () = end => break,
        }
    }
    Ok(Heard { told: told.into_iter().collect(), unanswered })
}

/// Has a worker's rank 0 answer with one token; what it said, if it did not.
async fn ask(
    origin: &Origin,
    description: &Description,
    (id, prompt): &Asked,
    within: Duration,
) -> Option<String> {
    let mut origin = origin.clone();
    origin.headers.insert(INSTANCE_HEADER, HeaderValue::from(*id));
    let count = u32::try_from(description.ranks.len()).unwrap_or(u32::MAX);
    let pin = description.ranks.first().and_then(|rank| description.pinning.pin(rank.header_rank, count));
    if let Some((name, value)) = pin.and_then(|pin| crate::workers::Pin::from(pin).header) {
        origin.headers.insert(name, value);
    }
    let model = description.models.iter().find(|model| !description.adapters.contains(model));
    let body = question(model.map(String::as_str), prompt);
    match origin.post(PATH, body, ANSWER_BYTES_MAX, within).await {
        Ok(answer) if answer.status.is_success() => None,
        Ok(answer) => Some(format!("status {} of {id}", answer.status.as_u16())),
        Err(error) => Some(format!("{error}, asked of {id}")),
    }
}

/// Whose requests one message tells of.
fn tells_of(payload: &[u8], asked: &[Asked]) -> Vec<u64> {
    let Ok(batch) = events::decode(payload, BatchLimits::default()) else { return Vec::new() };
    let stored = batch.events.iter().filter_map(|event| match event {
        Event::Stored(stored) => match &stored.content {
            // Fewer may be anybody's.
            Content::Tokens(tokens) if tokens.len() >= TOKENS_MIN as usize => Some(tokens),
            _ => None,
        },
        _ => None,
    });
    let whose = |tokens: &Vec<u32>| asked.iter().find(|(_, prompt)| prompt.starts_with(tokens));
    stored.filter_map(whose).map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch that stores a block of these tokens, as msgpack; each below 128.
    fn stored(tokens: &[u8]) -> Vec<u8> {
        let word = |text: &str| [&[0xa0 | text.len() as u8], text.as_bytes()].concat();
        let list = [&[0xdc, 0, tokens.len() as u8], tokens].concat();
        let fields = [("type", word("BlockStored")), ("block_hashes", vec![0x91, 7]), ("token_ids", list)];
        let fields = fields.into_iter().chain([("block_size", vec![tokens.len() as u8])]);
        let fields: Vec<u8> = fields.flat_map(|(name, value)| [word(name), value].concat()).collect();
        [&[0x92, 0xc0, 0x91, 0x84][..], &fields].concat()
    }

    #[test]
    fn an_event_tells_of_the_request_whose_beginning_it_stores() {
        let prompt = |first: u32| (0..17).map(|token| first + token).collect::<Vec<_>>();
        let asked = [(7, prompt(1)), (9, prompt(50)), (7, prompt(90))];
        let block = |first: u8| (first..first + 16).collect::<Vec<_>>();
        assert_eq!(tells_of(&stored(&block(1)), &asked), [7]);
        assert_eq!(tells_of(&stored(&block(50)), &asked), [9]);
        assert_eq!(tells_of(&stored(&block(90)), &asked), [7]);
        // Somebody else's, what goes on from a beginning, and too little of one.
        for payload in [stored(&block(30)), stored(&block(2)), stored(&block(1)[..8]), b"?".to_vec()] {
            assert!(tells_of(&payload, &asked).is_empty());
        }
    }
}
