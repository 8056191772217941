//! `--fault [WORKER:]NAME[=VALUE]`.

use std::str::FromStr;
use std::time::Duration;

use crate::config::parse_duration;

/// A fault, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultAt {
    /// The worker, from 0; `None`: all of them.
    pub worker: Option<usize>,
    /// What it does wrong.
    pub fault: FaultKind,
}

/// What a simulated worker does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Requests are read and never answered.
    Stall,
    /// The reply's head comes so much later.
    SlowFirstByte(Duration),
    /// The connection is reset after so many chunks.
    ResetAfter(usize),
    /// The sending side is closed after so many chunks.
    HalfCloseAfter(usize),
    /// The port refuses connections.
    RefuseConnections,
    /// Requests are answered 500.
    ServerError,
    /// Requests are answered 200 with an error event.
    StreamError,
    /// Requests are aborted after the first token.
    AbortAfterFirst,
    /// KV events claim to be of this rank.
    LieAboutRank(u32),
    /// The next so many batches of KV events are not sent.
    DropEvents(u32),
    /// Replay requests are not answered.
    NoReplay,
    /// This rank publishes no KV events.
    SilentRank(u32),
    /// The metrics page stays as it is.
    StaleMetrics,
    /// The pinned rank is ignored.
    IgnorePin,
}

impl FromStr for FaultAt {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (worker, fault) = match text.split_once(':') {
            Some((worker, fault)) => (Some(number("worker", worker)?), fault),
            None => (None, text),
        };
        Ok(Self { worker, fault: fault.parse()? })
    }
}

impl FromStr for FaultKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let needed = || value.ok_or_else(|| format!("fault `{name}`: expected {name}=VALUE"));
        let fault = match name {
            "slow-first-byte" => return Ok(Self::SlowFirstByte(parse_duration(needed()?)?)),
            "reset-after" => return Ok(Self::ResetAfter(number(name, needed()?)?)),
            "half-close-after" => return Ok(Self::HalfCloseAfter(number(name, needed()?)?)),
            "lie-about-rank" => return Ok(Self::LieAboutRank(number(name, needed()?)?)),
            "drop-events" => return Ok(Self::DropEvents(number(name, needed()?)?)),
            "silent-rank" => return Ok(Self::SilentRank(number(name, needed()?)?)),
            "stall" => Self::Stall,
            "refuse-connections" => Self::RefuseConnections,
            "server-error" => Self::ServerError,
            "stream-error" => Self::StreamError,
            "abort-after-first" => Self::AbortAfterFirst,
            "no-replay" => Self::NoReplay,
            "stale-metrics" => Self::StaleMetrics,
            "ignore-pin" => Self::IgnorePin,
            _ => return Err(format!("unknown fault `{name}`: see --help")),
        };
        match value {
            Some(_) => Err(format!("fault `{name}` takes no value")),
            None => Ok(fault),
        }
    }
}

fn number<N: FromStr>(what: &str, text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("invalid {what} `{text}`: expected a whole number"))
}
