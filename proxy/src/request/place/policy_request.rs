//! What a policy is told of a request.

use http::HeaderMap;
use rankwise_core::policy::{Fact, Facts, Needs, PolicyRequest};
use rankwise_core::sessions::Session;

use super::Placement;
use crate::pool::{Pool, PoolLimits};

/// For the decision with this sequence number.
pub(super) fn of(
    pool: &Pool,
    placement: &Placement<'_>,
    needs: Option<&Needs>,
    sequence: u64,
) -> PolicyRequest {
    PolicyRequest {
        sequence,
        seed: fastrand::u64(..),
        phase: placement.request.phase,
        facts: facts(pool, placement),
        text: text_for(pool, placement, needs),
    }
}

/// The headers of a request, for a policy with these needs.
pub(super) fn text_for(
    pool: &Pool,
    placement: &Placement<'_>,
    needs: Option<&Needs>,
) -> Vec<(String, String)> {
    text(needs.map_or(&[][..], |needs| &needs.headers), placement.headers, &pool.limits)
}

fn facts(pool: &Pool, placement: &Placement<'_>) -> Facts {
    let request = &placement.request;
    let mut facts = Facts::default();
    facts.set(Fact::PromptTokens, request.prompt.map_or(0, |prompt| prompt.tokens.into()));
    facts.set(
        Fact::PromptBlocks,
        request.prompt.map_or(0, |prompt| u64::from(prompt.tokens / pool.block_size().0.max(1))),
    );
    facts.set(Fact::MaxOutputTokens, request.max_output_tokens.unwrap_or(0).into());
    facts.set(Fact::Sequences, request.sequences.into());
    if let Some(priority) = placement.priority {
        facts.set(Fact::Priority, (i64::from(priority) + (1 << 31)) as u64);
    }
    facts.set(Fact::Attempt, placement.attempt.into());
    facts.set(Fact::SessionKey, placement.belongs.session.map_or(0, Session::key));
    facts.set(Fact::PrefixKey, request.prompt.map_or(0, |prompt| prompt.prefix_key));
    facts.set(Fact::TenantKey, placement.belongs.tenant_key);
    // The only deadline that there is runs from sending on, anew for each attempt.
    let deadline_ms = pool.limits.first_byte_timeout.as_millis();
    facts.set(Fact::DeadlineMs, u64::try_from(deadline_ms).unwrap_or(u64::MAX));
    facts
}

/// The values of the headers that the policy asks for and the pool allows, in the policy's order, as many and as long as
/// the limits have room for. One that is not visible ASCII is left out.
fn text(names: &[String], headers: &HeaderMap, limits: &PoolLimits) -> Vec<(String, String)> {
    let mut text = Vec::new();
    let mut room = limits.policy_headers_bytes_max;
    for name in names.iter().filter(|name| limits.policy_headers.contains(name)) {
        for value in headers.get_all(name.as_str()).iter().filter_map(|value| value.to_str().ok()) {
            if text.len() == limits.policy_headers_max {
                return text;
            }
            if let Some(left) = room.checked_sub(value.len()) {
                room = left;
                text.push((name.clone(), value.to_owned()));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderName, HeaderValue};

    use super::*;

    fn limits(allowed: &[&str], values_max: usize, bytes_max: usize) -> PoolLimits {
        PoolLimits {
            queue_time_max: Duration::ZERO,
            queue_requests_max: 0,
            policy_headers: allowed.iter().map(ToString::to_string).collect(),
            policy_headers_max: values_max,
            policy_headers_bytes_max: bytes_max,
            first_byte_timeout: Duration::ZERO,
            silence_max: Duration::ZERO,
            connections_per_worker_max: 0,
            retries: 0,
            retry_statuses: Vec::new(),
        }
    }

    fn given(asked: &[&str], limits: &PoolLimits) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("x-a", "one"), ("x-a", "two"), ("x-b", "longer"), ("x-c", "\u{e9}"), ("x-c", "3")]
        {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let asked: Vec<_> = asked.iter().map(ToString::to_string).collect();
        text(&asked, &headers, limits)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn only_what_is_asked_for_and_allowed_is_given() {
        let limits = limits(&["x-c", "x-a"], 16, 4096);
        assert_eq!(given(&["x-a", "x-b", "x-d"], &limits), pairs(&[("x-a", "one"), ("x-a", "two")]));
        assert_eq!(given(&["x-c"], &limits), pairs(&[("x-c", "3")]), "what is no text is left out");
        assert_eq!(given(&[], &limits), []);
    }

    #[test]
    fn values_are_bounded_in_number_and_bytes() {
        let all = &["x-a", "x-b", "x-c"];
        assert_eq!(given(all, &limits(all, 1, 4096)), pairs(&[("x-a", "one")]));
        assert_eq!(
            given(all, &limits(all, 16, 8)),
            pairs(&[("x-a", "one"), ("x-a", "two"), ("x-c", "3")]),
            "what does not fit is left out whole"
        );
        assert_eq!(given(all, &limits(all, 16, 0)), []);
    }
}
