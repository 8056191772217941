//! What vLLM finds out about a template by rendering it, and then normalises Anthropic's requests by.

use minijinja::{Environment, context};
use serde_json::{Map, json};

use super::{Conversation, Template, python_json, python_values};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probed {
    /// System messages that come later are to be merged into the first (`_should_merge_inline_system`): a template refuses them where
    /// they stand.
    pub(crate) merges_system: bool,
    /// The `reasoning_effort` of a request without thinking (`_probe_disabled_thinking_effort`): `low` where `none` is refused or gives the
    /// text of another effort.
    pub(crate) disabled_effort: &'static str,
}

impl Default for Probed {
    fn default() -> Self {
        Self { merges_system: true, disabled_effort: "low" }
    }
}

const EFFORTS: [&str; 5] = ["low", "medium", "high", "xhigh", "max"];

impl Probed {
    /// `sources`: all that might be chosen.
    pub(super) fn of(template: &Template, sources: &[String]) -> Self {
        let merges_system = sources.is_empty() || !sources.iter().all(|source| takes_later_system(source));
        let hi = |effort: &str| {
            let kwargs = [("reasoning_effort", json!(effort)), ("enable_thinking", json!(effort != "none"))];
            let conversation = Conversation {
                messages: vec![json!({"role": "user", "content": "Hi"})],
                kwargs: Map::from_iter(kwargs.map(|(name, value)| (name.to_owned(), value))),
                ..Conversation::default()
            };
            template.render(&conversation).ok().map(|rendered| rendered.text)
        };
        let none = hi("none");
        let shared = none.is_none() || EFFORTS.iter().any(|effort| hi(effort) == none);
        Self { merges_system, disabled_effort: if shared { "low" } else { "none" } }
    }
}

/// As vLLM tries it: in an environment that has nothing of transformers' own.
fn takes_later_system(source: &str) -> bool {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    python_values::install(&mut environment);
    python_json::install(&mut environment);
    let roles = ["system", "user", "system", "user"];
    let messages = roles.map(|role| json!({"role": role, "content": "t"}));
    environment.render_str(source, context! { messages, add_generation_prompt => false }).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Config;

    fn probed(source: &str) -> Probed {
        let templates = vec![("default".to_owned(), source.to_owned())];
        Template::new(Config { templates, ..Config::default() }, None).unwrap().probed()
    }

    #[test]
    fn a_template_that_refuses_a_later_system_message_has_them_merged() {
        let plain = "{% for m in messages %}{{ m.content }}{% endfor %}";
        assert!(!probed(plain).merges_system);
        let strict = "{% for m in messages %}{% if m.role == 'system' and not loop.first %}{{ raise_exception('x') }}{% endif %}{% endfor %}";
        assert!(probed(strict).merges_system);
        assert!(Template::new(Config::default(), None).unwrap().probed().merges_system);
    }

    #[test]
    fn thinking_is_switched_off_where_the_template_can() {
        assert_eq!(probed("x").disabled_effort, "low");
        assert_eq!(probed("{{ enable_thinking }}").disabled_effort, "none");
        assert_eq!(
            probed("{{ raise_exception('no') if reasoning_effort == 'none' }}").disabled_effort,
            "low"
        );
    }
}
