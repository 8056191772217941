//! Whether a server without the shim takes a rank in the body, which no version tells and single builds may.

use crate::discovery::{Answers, Overrides};

/// Two requests of one token. A server that takes the first and refuses the second knows the fields of a rank; one that takes both
/// takes anything, and shows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankProbe {
    /// To be posted to.
    pub path: &'static str,
    /// Names a rank.
    pub named: String,
    /// Has a field that no server knows.
    pub nonsense: String,
}

impl RankProbe {
    /// For a server that answered so, if there is anything to be probed: several ranks by config, and no shim.
    pub(crate) fn of(answers: &Answers<'_>, overrides: &Overrides) -> Option<Self> {
        let several = overrides.ranks.is_some_and(|ranks| ranks > 1);
        if !several || answers.get(super::discovery::WORKER).is_some() {
            return None;
        }
        let models = answers.get("/v1/models").and_then(|body| crate::discovery::models(body).ok());
        let model = models.as_ref().and_then(|models| models.first()).map(|card| card.id.as_str());
        let body = |field: &str, value: serde_json::Value| {
            let mut body = serde_json::json!({ "model": model, "prompt": "a", "max_tokens": 1 });
            body[field] = value;
            body
        };
        let mut named = body("attention_dp_rank", 0.into());
        named["attention_dp_relax"] = false.into();
        Some(Self {
            path: "/v1/completions",
            named: named.to_string(),
            nonsense: body("rankwise_no_such_field", 0.into()).to_string(),
        })
    }

    /// Whether the fields are taken, by whether each request was answered well.
    pub fn shows(named: bool, nonsense: bool) -> bool {
        named && !nonsense
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_of_several_ranks_without_the_shim_is_probed() {
        let several = Overrides { ranks: Some(4), ..Overrides::default() };
        let bare = Answers::default().with("/v1/models", br#"{"data":[{"id":"m"}]}"#);
        let probe = RankProbe::of(&bare, &several).unwrap();
        assert!(probe.named.contains(r#""model":"m""#) && probe.named.contains(r#""attention_dp_rank":0"#));
        assert!(!probe.nonsense.contains("attention_dp_rank"));
        assert_eq!(RankProbe::of(&bare, &Overrides::default()), None);
        let shim = Answers::default().with("/rankwise/worker", b"{}");
        assert_eq!(RankProbe::of(&shim, &several), None);
    }

    #[test]
    fn a_server_that_takes_anything_shows_nothing() {
        assert!(RankProbe::shows(true, false));
        assert!(!RankProbe::shows(true, true) && !RankProbe::shows(false, false));
    }
}
