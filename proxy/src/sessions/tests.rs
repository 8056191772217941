use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::*;

fn sessions() -> PoolSessions {
    let config = config::Sessions {
        header: Some(HeaderName::from_static("x-conversation")),
        tenant_header: Some(HeaderName::from_static("x-tenant")),
        sessions_max: NonZeroUsize::MIN,
        ttl: Duration::from_secs(60),
        prefix_tokens: NonZeroU32::MIN.saturating_add(3),
    };
    PoolSessions::new(&config, &HashKey::new([1; 32]))
}

fn key(headers: &[(&'static str, &'static str)], prompt_cache_key: Option<&str>) -> u64 {
    let headers = headers
        .iter()
        .map(|&(name, value)| (HeaderName::from_static(name), http::HeaderValue::from_static(value)))
        .collect();
    let body =
        SessionKeys { prompt_cache_key: prompt_cache_key.map(str::to_owned), ..SessionKeys::default() };
    sessions().belongs(&headers, &body).session.map_or(0, Session::key)
}

#[test]
fn the_first_of_the_sources_names_the_session() {
    let order = ["x-conversation", "x-session-id", "x-session-affinity", "x-dynamo-session-id"];
    let names = ["a", "b", "c", "d"];
    for first in 0..4 {
        let mut later: Vec<_> = order.into_iter().zip(names).skip(first).collect();
        later.reverse();
        assert_eq!(key(&later, Some("e")), key(&[("x-session-id", names[first])], None), "{first}");
    }
    assert_eq!(key(&[], Some("e")), key(&[("x-session-id", "e")], None));
    assert_eq!(
        key(&[("x-session-id", " "), ("x-session-affinity", "c")], None),
        key(&[("x-session-id", "c")], None)
    );
    assert_eq!(key(&[("x-request-id", "r")], None), 0);
    assert_eq!(key(&[], Some("")), 0);
}

#[test]
fn tenants_have_sessions_of_their_own() {
    let of = |tenant| key(&[("x-session-id", "1"), ("x-tenant", tenant)], None);
    assert_eq!(of("red"), of("red"));
    assert_ne!(of("red"), of("blue"));
    assert_ne!(of("red"), key(&[("x-session-id", "1")], None));
}

#[test]
fn prompts_that_begin_alike_have_the_same_prefix_key() {
    let sessions = sessions();
    assert_eq!(sessions.prefix_key(&[1, 2, 3, 4, 5]), sessions.prefix_key(&[1, 2, 3, 4, 9, 9]));
    assert_ne!(sessions.prefix_key(&[1, 2, 3, 4]), sessions.prefix_key(&[1, 2, 3, 5]));
    assert_ne!(sessions.prefix_key(&[1]), 0);
    assert_eq!(sessions.prefix_key(&[]), 0);
}
