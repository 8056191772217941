//! `--fault [WORKER:]NAME[=VALUE]`.

use std::str::FromStr;

use rankwise_sim::Fault;

use crate::config::parse_duration;
use crate::simulate::{FaultAt, Trouble};

pub(in crate::cli) fn parse(text: &str) -> Result<FaultAt, String> {
    let (worker, fault) = match text.split_once(':') {
        Some((worker, fault)) => (Some(number("worker", worker)?), fault),
        None => (None, text),
    };
    let (name, value) = match fault.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (fault, None),
    };
    Ok(FaultAt { worker, trouble: named(name, value)? })
}

fn needed<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, String> {
    value.ok_or_else(|| format!("fault `{name}`: expected {name}=VALUE"))
}

fn named(name: &str, value: Option<&str>) -> Result<Trouble, String> {
    let announced = match name {
        "restart" => false,
        "announced-restart" => true,
        _ => return lasting(name, value).map(Trouble::Fault),
    };
    Ok(Trouble::Restart { after: parse_duration(needed(name, value)?)?, announced })
}

fn lasting(name: &str, value: Option<&str>) -> Result<Fault, String> {
    let needed = || needed(name, value);
    let fault = match name {
        "slow-start" => return Ok(Fault::SlowStart(parse_duration(needed()?)?)),
        "slow-first-byte" => return Ok(Fault::SlowFirstByte(parse_duration(needed()?)?)),
        "late-events" => return Ok(Fault::LateEvents(parse_duration(needed()?)?)),
        "reset-after" => return Ok(Fault::ResetAfter(number(name, needed()?)?)),
        "half-close-after" => return Ok(Fault::HalfCloseAfter(number(name, needed()?)?)),
        "lie-about-rank" => return Ok(Fault::LieAboutRank(number(name, needed()?)?)),
        "drop-events" => return Ok(Fault::DropEvents(number(name, needed()?)?)),
        "silent-rank" => return Ok(Fault::SilentRank(number(name, needed()?)?)),
        "dead-rank" => return Ok(Fault::DeadRank(number(name, needed()?)?)),
        "dying-rank" => {
            let expected = || format!("fault `{name}`: expected {name}=RANK,DURATION");
            let (rank, after) = needed()?.split_once(',').ok_or_else(expected)?;
            return Ok(Fault::DyingRank(number(name, rank)?, parse_duration(after)?));
        }
        "hung-rank" => return Ok(Fault::HungRank(number(name, needed()?)?)),
        "stall" => Fault::Stall,
        "refuse-connections" => Fault::RefuseConnections,
        "server-error" => Fault::ServerError,
        "stream-error" => Fault::StreamError,
        "abort-after-first" => Fault::AbortAfterFirst,
        "no-replay" => Fault::NoReplay,
        "stale-metrics" => Fault::StaleMetrics,
        "ignore-pin" => Fault::IgnorePin,
        "unhealthy" => Fault::Unhealthy,
        _ => return Err(format!("unknown fault `{name}`: see --help")),
    };
    match value {
        Some(_) => Err(format!("fault `{name}` takes no value")),
        None => Ok(fault),
    }
}

fn number<N: FromStr>(what: &str, text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("invalid {what} `{text}`: expected a whole number"))
}
