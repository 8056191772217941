//! Where Dynamo's frontend in direct mode looks for worker and rank: it chooses neither, and obeys.

use http::HeaderMap;

use super::super::refusal::Refused;

/// Headers that name the worker, by its instance id.
const WORKER: [&str; 2] = ["x-worker-instance-id", "x-dynamo-worker-instance-id"];

/// Headers that name the rank.
const RANK: [&str; 3] = ["x-data-parallel-rank", "x-dp-rank", "x-dynamo-dp-rank"];

/// The worker that a request names.
pub(in super::super) fn worker(headers: &HeaderMap) -> Option<u64> {
    number(headers, &WORKER)
}

fn number(headers: &HeaderMap, names: &[&str]) -> Option<u64> {
    names.iter().find_map(|name| headers.get(*name)?.to_str().ok()?.parse::<u64>().ok())
}

/// The rank that a request names, to the worker with this instance id; `None`: the worker chooses.
pub(super) fn read(headers: &HeaderMap, instance_id: u64, ranks: usize) -> Result<Option<usize>, Refused> {
    if worker(headers) != Some(instance_id) {
        return Err(Refused::body("Invalid request"));
    }
    match number(headers, &RANK) {
        None => Ok(None),
        Some(rank) => match usize::try_from(rank).ok().filter(|rank| *rank < ranks) {
            Some(rank) => Ok(Some(rank)),
            None => Err(Refused::body(&format!("dp_rank {rank} is out of bounds for dp_size {ranks}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn asked(headers: &[(&'static str, &'static str)]) -> Result<Option<usize>, Refused> {
        let header = |&(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        read(&headers.iter().map(header).collect(), 42, 4)
    }

    #[test]
    fn worker_and_rank_are_obeyed() {
        assert_eq!(
            asked(&[("x-worker-instance-id", "42"), ("x-data-parallel-rank", "3")]).ok(),
            Some(Some(3))
        );
        assert_eq!(asked(&[("x-dynamo-worker-instance-id", "42"), ("x-dp-rank", "0")]).ok(), Some(Some(0)));
        assert_eq!(asked(&[("x-worker-instance-id", "42")]).ok(), Some(None));
    }

    #[test]
    fn no_worker_another_one_and_too_high_a_rank_are_refused() {
        for headers in [
            &[("x-data-parallel-rank", "3")][..],
            &[("x-worker-instance-id", "7"), ("x-data-parallel-rank", "3")],
            &[("x-worker-instance-id", "42"), ("x-data-parallel-rank", "4")],
        ] {
            assert!(asked(headers).is_err(), "{headers:?}");
        }
    }
}
