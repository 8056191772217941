use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Framing, Plain};
use crate::cuts::Cuts;
use crate::files::Config;
use crate::template::{CUT, Conversation, Template};
use crate::test_support::{qwen2_5, template};

const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const TOKENS: [&str; 17] = [
    "<|im_start|>",
    "<|im_end|>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<｜tool▁outputs▁end｜>",
    "<｜end▁of▁sentence｜>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|tool|>",
    "<|end|>",
    "<|im_user|>",
    "<|im_assistant|>",
    "<|im_system|>",
    "<start_of_turn>",
    "[INST]",
    "<|start|>",
];

fn cuts() -> Cuts {
    Cuts::new(&json!({"added_tokens": TOKENS.map(|content| json!({ "content": content }))})).unwrap()
}

/// A template of which everything is known, and what it was made from.
struct Known {
    name: &'static str,
    source: String,
    template: Template,
}

impl Known {
    fn new(name: &'static str, source: String) -> Self {
        let template = Template::new(config(&source), Some(&cuts())).unwrap();
        Self { name, source, template }
    }

    fn framing(&self) -> &Framing {
        self.template.framing(false).unwrap_or_else(|reason| panic!("{}: {reason}", self.name))
    }
}

fn config(source: &str) -> Config {
    Config { templates: vec![("default".to_owned(), source.to_owned())], ..Config::default() }
}

/// One of which nothing is known.
fn plain_template(source: &str) -> Template {
    Template::new(config(source), None).unwrap()
}

/// DeepSeek-V3's as DeepSeek-R1 changes it: the assistant's reasoning is taken out, an answer begins with reasoning.
fn deepseek_r1() -> String {
    let v3 = template("deepseek_v3");
    let printed = "{{'<｜Assistant｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}";
    let without = "{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}";
    assert!(v3.contains(printed));
    v3.replace(printed, without).replace("{{'<｜Assistant｜>'}}", "{{'<｜Assistant｜><think>\\n'}}")
}

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let qwen2_5 = Config::parse(qwen2_5()).unwrap().templates[0].1.clone();
    let forward = "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n{% if loop.index0 > ns.last and m.reasoning_content %}{{ m.reasoning_content }}{% endif %}{{ m.content|trim }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    let mut known = vec![
        Known::new("qwen2_5", qwen2_5),
        Known::new("chatml", CHATML.to_owned()),
        Known::new("qwen3", template("qwen3")),
        Known::new("deepseek_v3", template("deepseek_v3")),
        Known::new("deepseek_r1", deepseek_r1()),
        Known::new("forward", forward.to_owned()),
    ];
    known.extend(models::CONTINUED.map(|(name, source)| Known::new(name, source.to_owned())));
    known
});

#[test]
fn templates_that_only_grow_are_proven() {
    for known in KNOWN.iter() {
        known.framing();
    }
}

#[test]
fn what_must_stand_at_a_place_is_known() {
    let framing = |name: &str| KNOWN.iter().find(|known| known.name == name).unwrap().framing();
    let plain = |role: &str, content| Plain::of(role, content);
    let (user, assistant, system) = (plain("user", "a"), plain("assistant", "a"), plain("system", "a"));
    // DeepSeek's state behind an assistant's message depends on whether it called tools.
    for name in ["deepseek_v3", "deepseek_r1"] {
        let framing = framing(name);
        assert!(framing.goes_on_after(user, 5) && framing.goes_on_after(system, 1));
        assert!(
            !framing.goes_on_after(assistant, 5)
                && !framing.goes_on_after(system, 2)
                && !framing.goes_on_after(None, 3)
        );
        assert!(framing.may_end(assistant) && framing.may_end(None));
        // A later system message moves to the front.
        assert!(!framing.push(&mut String::new(), system.unwrap()));
    }
    let framing = framing("qwen3");
    assert!(framing.goes_on_after(assistant, 5) && framing.goes_on_after(None, 3));
    assert!(framing.may_end(user) && !framing.may_end(assistant) && !framing.may_end(None));
    // What a tool answered is no query.
    assert!(!framing.may_end(plain("user", "<tool_response>a</tool_response>")));
    assert!(framing.may_end(plain("user", "<tool_response>a")));
}

#[test]
fn reasoning_is_taken_off_as_the_template_does() {
    let pushed = |name: &str, message: Value| {
        let known = KNOWN.iter().find(|known| known.name == name).unwrap();
        let mut text = String::new();
        assert!(known.framing().push(&mut text, Plain::read(&message).unwrap()));
        text
    };
    let thought = json!({"role": "assistant", "content": "<think>\na\n</think>\n\nb"});
    assert_eq!(pushed("qwen3", thought.clone()), "<|im_start|>assistant\nb<|im_end|>\n");
    assert_eq!(pushed("deepseek_r1", thought.clone()), "<｜Assistant｜>\n\nb<｜end▁of▁sentence｜>");
    assert!(pushed("deepseek_v3", thought).contains("<think>"));
    let beside =
        json!({"role": "assistant", "content": "b</think>", "reasoning": "r", "reasoning_content": "r"});
    assert_eq!(pushed("qwen3", beside), "<|im_start|>assistant\nb</think><|im_end|>\n");
}

/// The body of a loop that prints messages as ChatML does, between other parts.
fn around(before: &str, inside: &str, after: &str) -> String {
    let plain = "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n";
    format!("{before}{{% for message in messages %}}{plain}{inside}{{% endfor %}}{after}")
}

#[test]
fn templates_that_look_ahead_or_back_are_refused() {
    let cuts = cuts();
    let refused = [
        around("", "{{ loop.length }}", ""),
        around("", "{% if loop.last %}x{% endif %}", ""),
        around("", "{% if message.tool_calls %}{{ messages|length }}{% endif %}", ""),
        around("", "{% if message.role == 'tool' and messages[loop.index0 + 1].role != 'tool' %}x{% endif %}", ""),
        around("", "{% if message.role == 'tool' and messages[loop.index0 - 1].role != 'tool' %}x{% endif %}", ""),
        around("", "{{ messages[-1].content }}", ""),
        around("", "{% for other in messages %}{{ other.role }}{% endfor %}", ""),
        around("", "{{ loop.revindex }}", ""),
        around("", "{{ loop.index0 }}", ""),
        around("", "{% if loop.index0 % 2 == 0 %}x{% endif %}", ""),
        around("", "{% if message.name %}x{% endif %}", ""),
        around("", "{{ strftime_now('%Y') }}", ""),
        around("{{ strftime_now('%Y') }}", "", ""),
        around("{{ messages|length }}", "", ""),
        around("{{ messages[1].content }}", "", ""),
        around("{% set all = messages %}{{ all|length }}", "", ""),
        around("", "", "{{ messages[-1].role }}"),
        around("", "", "{{ messages[0].role }}"),
        around("{% set first = messages[0].content %}", "", "{{ first }}"),
        around("{% if messages[0].role == 'user' %}{% set first = 1 %}{% endif %}", "", "{{ first }}"),
        around("{% set ns = namespace(n=0) %}", "{% set ns.n = ns.n + 1 %}{{ ns.n }}", ""),
        around("{% set ns = namespace(n=0) %}", "{% set ns.n = ns.n + 1 %}", "{{ ns.n }}"),
        around("{% set ns = namespace(n=messages|length) %}{{ ns.n }}", "", ""),
        around("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "", ""),
        around("{% set ns = namespace(n='') %}{% for m in messages %}{% if loop.last %}{% set ns.n = 1 %}{% endif %}{% endfor %}{{ ns.n }}", "", ""),
        around("{% set ns = namespace(n='') %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.n = m.content %}{% endif %}{% endfor %}{{ ns.n }}", "", ""),
        around("{% set ns = namespace(n=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.n = loop.index0 %}{% endif %}{% endfor %}{{ ns.n }}", "", ""),
        around("{% set ns = namespace(n=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.n = loop.index0 %}{% endif %}{% endfor %}", "{% if loop.index0 >= ns.n %}x{% endif %}", ""),
        around("{% set ns = namespace(n=0, on=false) %}{% for m in messages[::-1] %}{% if ns.on and m.role == 'user' %}{% set ns.on = false %}{% set ns.n = (messages|length - 1) - loop.index0 %}{% endif %}{% endfor %}", "{% if loop.index0 > ns.n %}x{% endif %}", ""),
        around("{% set ns = namespace(n=messages|length) %}{{ ns.n }}{% for m in messages %}{% if m.role == 'user' %}{% set ns.n = loop.index0 %}{% endif %}{% endfor %}", "", ""),
        around("{% set ns = namespace(n=0) %}{% for m in messages %}{% if m.tool_calls[0].x or m.role == 'user' %}{% set ns.n = loop.index0 %}{% endif %}{% endfor %}", "{% if loop.index0 > ns.n %}x{% endif %}", ""),
        around("", "{% if message.role == 'user' %}{{ raise_exception('no') }}{% endif %}", ""),
        around("", "{% if message.content == 'stop' %}x{% endif %}", ""),
        around("", "{% if message.role == 'user' %}{% break %}{% endif %}", ""),
        "{% for message in messages[1:] %}<|im_start|>{{ message.role }}{{ message.content }}{% endfor %}".to_owned(),
        "{% for message in messages if message.content %}<|im_start|>{{ message.role }}{{ message.content }}{% endfor %}".to_owned(),
        "{% if true %}{% for message in messages %}<|im_start|>{{ message.content }}{% endfor %}{% endif %}".to_owned(),
        "{% macro m(x) %}{{ x }}{% endmacro %}{% for message in messages %}<|im_start|>{{ m(message.content) }}{% endfor %}".to_owned(),
        "{% for message in messages %}{{ message.content }}{% endfor %}".to_owned(),
        // What looks ahead where it is not expected.
        around("{% set first, second = messages[0].content, 1 %}", "", "{% if first == 'k' %}x{% endif %}"),
        around("{{ [strftime_now][0]('%S') }}", "", ""),
        around("{% set call = {'now': strftime_now} %}{{ call.now('%S') }}", "", ""),
        around("{% set ns = 1 %}{% set ns = namespace(n=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.n = loop.index0 %}{% endif %}{% endfor %}{{ ns.n }}", "", ""),
        around("{% set ns = namespace(n=messages|length) %}{{ ns.n }}{% for m in messages %}{% if m.role == 'user' %}{% set ns.n = loop.index0 %}{% endif %}{% endfor %}", "", ""),
        around("{% set ns = namespace(n=0, on=true) %}{% for m in messages[::-1] %}{% set m = (messages|length - 1) - loop.index0 %}{% if ns.on and m.role == 'user' %}{% set ns.on = false %}{% set ns.n = m %}{% endif %}{% endfor %}", "{% if loop.index0 > ns.n %}x{% endif %}", ""),
        around("{% set messages = namespace(n=0) %}", "", ""),
        around("{% set ns = namespace() %}", "{% if ns %}x{% endif %}{% if message.role == 'tool' %}{% set ns.n = 1 %}{% endif %}", ""),
        around("", "{% if message.role == 'assistant' and 'x' in none %}x{% endif %}", ""),
        around("", "{{ loop.changed(message.role) }}", ""),
        around("", "{{ loop.cycle('a', 'b') }}", ""),
        around("", "{% if loop.nextitem is defined %}x{% endif %}", ""),
        around("", "{% if message.role == 'tool' and loop.nextitem.role == 'user' %}x{% endif %}", ""),
        around("", "{{ (messages | selectattr('role', 'equalto', 'user') | list | length) if message.role == 'tool' }}", ""),
        "x".to_owned(),
    ];
    for source in refused {
        let found = Framing::of(&source, &cuts);
        assert!(found.is_err(), "{source}: {found:?}");
    }
    for source in [
        around("", "", ""),
        around("{{ messages[0].role }}{{ bos_token }}", "", "{% if tools %}x{% endif %}"),
        around("{% set a = tools %}", "", "{% if a %}x{% endif %}"),
        around(
            "",
            "{% if message.role == 'tool' and (loop.last or messages[loop.index0 + 1].role != 'tool') %}x{% endif %}",
            "",
        ),
        around(
            "",
            "{% if message.role == 'tool' and not loop.first and messages[loop.index0 - 1].role != 'tool' %}x{% endif %}",
            "",
        ),
    ] {
        Framing::of(&source, &cuts).unwrap_or_else(|reason| panic!("{source}: {reason}"));
    }
}

/// However much a template makes of it, the proof is done at once.
#[test]
fn what_a_proof_costs_is_bounded() {
    let cuts = cuts();
    let many = |part: &str, count: usize| part.repeat(count);
    let cases: String =
        (0..40).map(|at| format!("{{% if 'a{at}' in message.content %}}x{{% endif %}}")).collect();
    let each_other: String = (0..70).map(|at| format!("('a{at}' in message.content or ")).collect();
    for source in [
        around("", &cases, ""),
        around("", &format!("{{% if {each_other}true{} %}}x{{% endif %}}", many(")", 70)), ""),
        around(
            "",
            &format!("{{% set x = message.content %}}{}{{{{ x }}}}", many("{% set x = x + x %}", 60)),
            "",
        ),
        around("", &format!("{{% set x = 'x' %}}{}{{{{ x }}}}", many("{% set x = x + x %}", 60)), ""),
        around("", &format!("{{{{ message.content{} }}}}", many(" + bos_token", 1000)), ""),
        around("", &format!("{{% if false %}}{}{{% endif %}}", many("{% elif message.name %}x", 500)), ""),
        around("", &many("<|im_start|>", 10_000), ""),
    ] {
        let found = Framing::of(&source, &cuts);
        assert!(found.is_err(), "{}", &source[..source.len().min(300)]);
    }
}

#[test]
fn messages_must_begin_where_the_tokenizer_may_be_cut() {
    let other = Cuts::new(&json!({"added_tokens": [{"content": "<s>"}]})).unwrap();
    for known in KNOWN.iter() {
        assert!(Framing::of(&known.source, &other).is_err());
    }
}

/// What proofs rest on is tried once more: this template hides what it does in a filter that is not what it is called.
#[test]
fn a_framing_that_does_not_hold_is_dropped() {
    let source = around("", "", "");
    let mut known = Known::new("plain", source);
    assert!(known.template.framing(false).is_ok());
    known.template.environment.set_formatter(|out, _, _| Ok(out.write_str("x")?));
    known.template.try_framings();
    assert!(known.template.framing(false).is_err());
}

fn message() -> impl Strategy<Value = Value> {
    let content = prop_oneof![
        ".{0,20}",
        "[\na]{0,5}",
        "(<\\|im_end\\|>|<\\|im_start\\|>|<think>|</think>|<tool_response>|</tool_response>|<｜User｜>|[\n a]){0,6}",
    ];
    ("system|user|user|user|assistant|assistant|assistant|tool|developer", content, 0..6u8).prop_map(
        |(role, content, more)| {
            let mut message = json!({"role": role, "content": content});
            if role == "assistant" && more == 1 {
                message["tool_calls"] =
                    json!([{"type": "function", "function": {"name": "f", "arguments": "{}"}}]);
            }
            if more == 4 {
                message["name"] = json!("n");
            }
            if more == 5 && role != "user" {
                message["content"] = json!(null);
            }
            if role == "assistant" && (more == 2 || more == 3) {
                if more == 2 {
                    message["reasoning"] = json!("\nr ");
                }
                message["reasoning_content"] = json!("\nr ");
            }
            message
        },
    )
}

/// Messages, what is appended to them now and another time, and with which settings.
#[derive(Clone, Debug)]
struct Talk {
    before: Vec<Value>,
    ends: Vec<Vec<Value>>,
    settings: Conversation,
}

fn conversation() -> impl Strategy<Value = Talk> {
    let before = prop::collection::vec(message(), 1..7);
    let ends = prop::collection::vec(prop::collection::vec(message(), 0..5), 2..4);
    (before, ends, any::<bool>(), any::<bool>(), prop::option::of(any::<bool>())).prop_map(
        |(before, ends, tools, add_generation_prompt, thinks)| {
            let kwargs = thinks.map(|thinks| ("enable_thinking".to_owned(), json!(thinks)));
            let settings = Conversation {
                tools: tools.then(|| json!([{"type": "function", "function": {"name": "f"}}])),
                add_generation_prompt,
                kwargs: kwargs.into_iter().collect(),
                ..Conversation::default()
            };
            Talk { before, ends, settings }
        },
    )
}

/// The promise: whatever was said, messages that may be appended add their frames, and nothing before them changes.
fn promise(name: &str, template: &Template, framing: &Framing, talk: &Talk) {
    let Talk { before, ends, settings } = talk;
    if !framing.goes_on_after(before.last().and_then(Plain::read), before.len()) {
        return;
    }
    let mut stem: Option<String> = None;
    for end in ends {
        let mut added = String::new();
        let framed = end
            .iter()
            .all(|message| Plain::read(message).is_some_and(|plain| framing.push(&mut added, plain)));
        let messages = [&before[..], end].concat();
        if !framed || !framing.may_end(messages.last().and_then(Plain::read)) {
            continue;
        }
        let conversation = Conversation { messages, ..settings.clone() };
        let Ok(rendered) = template.render(&conversation) else { continue };
        let text = rendered.text;
        let Some(ending) = template.ending(framing, settings) else {
            // It is taken from behind a text that may be no query.
            assert!(!framing.may_end(Plain::of("user", CUT)), "{name}\n{talk:#?}\nhas no ending");
            continue;
        };
        let rest = text.strip_suffix(&ending).and_then(|text| text.strip_suffix(&added));
        let rest = rest.unwrap_or_else(|| {
            panic!("{name}\n{talk:#?}\n{text:?}\ndoes not end in\n{added:?}\nand\n{ending:?}")
        });
        assert_eq!(stem.get_or_insert_with(|| rest.to_owned()), rest, "{name}\n{talk:#?}");
        let mut longer = text.strip_suffix(&ending).unwrap();
        for message in end.iter().rev() {
            longer = framing.strip(longer, Plain::read(message).unwrap()).unwrap();
        }
        assert_eq!(longer, rest);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn messages_only_add(talk in conversation()) {
        for known in KNOWN.iter() {
            promise(known.name, &known.template, known.framing(), &talk);
        }
    }
}

mod made_up;
mod models;
