//! Templates put together from all that might tell a conversation from a longer one: few are proven, and those hold what was promised.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{conversation, cuts, plain_template, promise};
use crate::template::Framing;

const CONDITIONS: &[&str] = &[
    "m.role == 'user'",
    "m.role != 'user'",
    "m['role'] == 'assistant'",
    "m.role == 'tool'",
    "m.role == 'system'",
    "m.role in ['user', 'system']",
    "m.content",
    "m.content == ''",
    "m.content is string",
    "'</think>' in m.content",
    "'a' not in m.content",
    "m.content.startswith('a')",
    "m.content.endswith('a')",
    "m.reasoning_content",
    "m.reasoning_content is defined",
    "m.get('reasoning_content') is string",
    "'reasoning' in m",
    "'name' in m",
    "'x' in m.get('none')",
    "m.tool_calls",
    "m.tool_calls is not none",
    "m['tool_calls'] is defined",
    "loop.first",
    "loop.last",
    "loop.nextitem",
    "loop.previtem.role == 'tool'",
    "loop.index0 == 0",
    "loop.index0 > 0",
    "loop.index == 2",
    "loop.index0 > ns.last",
    "loop.index0 >= ns.last",
    "loop.index0 <= ns.last",
    "ns.last > 1",
    "ns.last",
    "ns.on",
    "ns.n > 2",
    "ns.a",
    "ns.a == 'u'",
    "ns",
    "x",
    "x is defined",
    "y",
    "first",
    "loop.last or messages[loop.index0 + 1].role != 'tool'",
    "not loop.first and messages[loop.index0 - 1].role == 'tool'",
    "messages[loop.index0 + 1].role == 'user'",
    "messages[loop.index0 - 1].role == 'tool'",
    "messages[0].role == 'system'",
    "messages[-1].role == 'user'",
    "messages|length > 3",
    "messages[1:]",
    "tools",
    "add_generation_prompt",
    "enable_thinking",
    "enable_thinking is defined and not enable_thinking",
    "true",
    "false",
    "ns.last == loop.index0",
    "loop.index0 >= ns.last and m.content",
    "loop.index0 < ns.last",
    "ns.on and tools",
    "ns.a is defined",
    "m is defined",
    "m.content == m.role",
    "m.content and m.reasoning_content",
    "m.content|trim == ''",
    "m.content.split('a')[0]",
    "m.role == messages[0].role",
    "m == messages[0]",
    "m == messages[-1]",
    "loop.previtem",
    "loop.previtem is defined and loop.previtem.content == m.content",
    "m.content is mapping",
    "m.name is defined",
    "'a' in (m.content or 'a')",
    "m.tool_calls is iterable",
];

const TEXTS: &[&str] = &[
    "'x'",
    "m.role",
    "m.content",
    "m.content|trim",
    "m.content.strip('a')",
    "m.content.lstrip()",
    "m.content.split('</think>')[-1]",
    "m.content.split('</think>')[0].split('<think>')[-1]",
    "m.content.split('\\n\\n')[-1].lstrip('\\n')",
    "(m.content + 'x')",
    "(m.role ~ m.content)",
    "('x' if m.content else 'y')",
    "(m.content or 'empty')",
    "(m.content and 'full')",
    "m.reasoning_content",
    "m.name",
    "messages[0].content",
    "messages[-1].content",
    "loop.index0",
    "loop.length",
    "loop.revindex",
    "loop.cycle('a', 'b')",
    "loop.changed(m.role)",
    "ns.a",
    "ns.n",
    "x",
    "y",
    "first",
    "tools|tojson",
    "('x' if add_generation_prompt)",
    "[m.content]",
    "messages|map(attribute='role')|join",
];

fn pick(from: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    select(from).prop_map(str::to_owned)
}

fn condition() -> impl Strategy<Value = String> {
    let one = pick(CONDITIONS);
    prop_oneof![
        6 => one.clone(),
        1 => one.clone().prop_map(|one| format!("not ({one})")),
        1 => (one.clone(), one.clone()).prop_map(|(one, other)| format!("({one}) and ({other})")),
        1 => (one.clone(), one).prop_map(|(one, other)| format!("({one}) or ({other})")),
    ]
}

fn statement() -> impl Strategy<Value = String> + Clone {
    let leaf = prop_oneof![
        3 => pick(TEXTS).prop_map(|text| format!("{{{{ {text} }}}}")),
        1 => Just("<|end|>".to_owned()),
        1 => (select(&["x", "y", "first", "x, y", "ns.a"][..]), pick(TEXTS)).prop_map(|(to, text)| {
            let text = if to.contains(',') { format!("{text}, 'z'") } else { text };
            format!("{{% set {to} = {text} %}}")
        }),
        1 => (select(&["ns.a", "ns.on", "x"][..]), select(&["'u'", "''", "true", "false"][..]))
            .prop_map(|(to, value)| format!("{{% set {to} = {value} %}}")),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            2 => (condition(), inner.clone(), inner.clone())
                .prop_map(|(if_, then, other)| format!("{{% if {if_} %}}{then}{{% else %}}{other}{{% endif %}}")),
            1 => (condition(), inner.clone()).prop_map(|(if_, then)| format!("{{% if {if_} %}}{then}{{% endif %}}")),
            1 => (inner.clone(), inner).prop_map(|(one, other)| format!("{one}{other}")),
        ]
    })
    .boxed()
}

/// What may stand before the loop that prints.
fn beginning() -> impl Strategy<Value = String> {
    let namespace = select(
        &[
            "",
            "{% set ns = namespace(a='', on=true, last=-1, n=0) %}",
            "{% set ns = namespace(a='', on=true, last=messages|length - 1) %}",
            "{% set ns = 1 %}{% set ns = namespace(a='', on=true, last=-1) %}",
            "{% set ns = namespace() %}",
        ][..],
    );
    let silent = prop_oneof![
        3 => Just(String::new()),
        1 => Just("{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}".to_owned()),
        1 => condition().prop_map(|if_| format!("{{% for m in messages %}}{{% if {if_} %}}{{% set ns.last = loop.index0 %}}{{% endif %}}{{% endfor %}}")),
        1 => Just("{% for m in messages[::-1] %}{% set i = (messages|length - 1) - loop.index0 %}{% if ns.on and m.role == 'user' and '</think>' not in m.content %}{% set ns.on = false %}{% set ns.last = i %}{% endif %}{% endfor %}".to_owned()),
        2 => (select(&["messages", "messages[::-1]"][..]), condition(), pick(TEXTS))
            .prop_map(|(over, if_, text)| format!("{{% for m in {over} %}}{{% if {if_} %}}{{% set ns.a = {text} %}}{{% endif %}}{{% endfor %}}")),
    ];
    (
        namespace,
        prop_oneof![2 => Just(String::new()), 1 => statement()],
        silent,
        prop_oneof![2 => Just(String::new()), 1 => statement()],
    )
        .prop_map(|(namespace, one, silent, other)| format!("{namespace}{one}{silent}{other}"))
}

fn template() -> impl Strategy<Value = String> {
    let opening = select(
        &[
            "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n",
            "<|im_start|>{{ m.role }}\n",
            "{% if m.role == 'tool' %}<|end|>{% elif m.role == 'user' %}<|user|>{{ m.content }}{% else %}<|assistant|>{% endif %}",
            "{% if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}{% endif %}",
        ][..],
    );
    let end = prop_oneof![
        2 => Just("{% if add_generation_prompt %}<|assistant|>{% endif %}".to_owned()),
        1 => statement(),
    ];
    (beginning(), opening, vec(statement(), 0..3), end).prop_map(|(beginning, opening, inside, end)| {
        format!("{beginning}{{% for m in messages %}}{opening}{}{{% endfor %}}{end}", inside.concat())
    })
}

/// The proof alone, without the trial that follows it when a template is loaded.
#[test]
fn no_template_breaks_its_promise() {
    let cuts = cuts();
    let mut runner = TestRunner::default();
    let mut proven = 0;
    for _ in 0..TEMPLATES {
        let source = template().new_tree(&mut runner).unwrap().current();
        let Ok(framing) = Framing::of(&source, &cuts) else { continue };
        let template = plain_template(&source);
        proven += 1;
        for _ in 0..CONVERSATIONS {
            let conversation = conversation().new_tree(&mut runner).unwrap().current();
            promise(&source, &template, &framing, &conversation);
        }
    }
    assert!(proven > TEMPLATES / 100, "{proven} of {TEMPLATES}");
}

const TEMPLATES: usize = 1000;
const CONVERSATIONS: usize = 16;
