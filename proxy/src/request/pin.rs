//! A client's own choice of worker and rank, where the listener trusts it.

use http::HeaderMap;
use http::StatusCode;
use rankwise_core::ids::DpRank;

use crate::error::{ProxyError, Stage};

/// The header that names a worker.
pub(super) const WORKER: &str = "x-rankwise-worker";
/// The header that names one of its ranks.
pub(super) const DP_RANK: &str = "x-rankwise-dp-rank";

/// Where a client wants its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pin<'a> {
    /// The worker's name.
    pub worker: &'a str,
    /// Its rank; none where the engine is to choose.
    pub rank: Option<DpRank>,
}

impl<'a> Pin<'a> {
    /// Reads the two headers; none without both.
    ///
    /// # Errors
    /// 400 for a rank without a worker, for one that is no plain number, and for a header that is there twice.
    pub(super) fn read(headers: &'a HeaderMap) -> Result<Option<Self>, ProxyError> {
        let rank = only(headers, DP_RANK)?;
        let Some(worker) = only(headers, WORKER)? else {
            return match rank {
                Some(_) => Err(bad(format!("{DP_RANK} needs {WORKER} beside it"))),
                None => Ok(None),
            };
        };
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
        let rank = match rank {
            None => None,
            Some(text) => match number(text).flatten() {
                Some(rank) => Some(DpRank(rank)),
                None => return Err(bad(format!("{DP_RANK}: expected the number of a dp rank"))),
            },
        };
        Ok(Some(Self { worker, rank }))
    }
}

/// 400, at the request's head.
pub(super) fn bad(message: impl Into<String>) -> ProxyError {
    ProxyError::new(Stage::Head, message).status(StatusCode::BAD_REQUEST)
}

fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ProxyError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad(format!("{name} is there twice")));
    }
    value.to_str().map(|text| Some(text.trim())).map_err(|_| bad(format!("{name}: expected visible ASCII")))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn read(headers: &[(&'static str, &'static str)]) -> Result<Option<(String, Option<u32>)>, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        match Pin::read(&map) {
            Ok(pin) => Ok(pin.map(|pin| (pin.worker.to_owned(), pin.rank.map(|rank| rank.0)))),
            Err(error) => {
                assert_eq!(error.status, 400);
                Err(error.message)
            }
        }
    }

    #[test]
    fn a_worker_and_its_rank() {
        assert_eq!(read(&[("x-data-parallel-rank", "1")]), Ok(None));
        assert_eq!(read(&[(WORKER, "a")]), Ok(Some(("a".to_owned(), None))));
        assert_eq!(read(&[(WORKER, "a"), (DP_RANK, "07")]), Ok(Some(("a".to_owned(), Some(7)))));
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused() {
        assert_eq!(
            read(&[(DP_RANK, "1")]),
            Err("x-rankwise-dp-rank needs x-rankwise-worker beside it".into())
        );
        for rank in ["", "+1", "-1", "1.0", "1, 2", "x", "99999999999"] {
            assert!(read(&[(WORKER, "a"), (DP_RANK, rank)]).is_err(), "{rank}");
        }
        assert!(read(&[(WORKER, "a"), (WORKER, "b")]).is_err());
    }
}
