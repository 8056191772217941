use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Framing, KNOWN, digest};
use crate::cuts::Cuts;
use crate::files::Config;
use crate::template::{Conversation, Template};
use crate::test_support::qwen2_5;

const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

fn sources() -> [String; 2] {
    let qwen = Config::parse(qwen2_5()).unwrap().templates[0].1.clone();
    [qwen, CHATML.to_owned()]
}

fn cuts() -> Cuts {
    let tokens = ["<|im_start|>", "<|im_end|>"].map(|content| json!({ "content": content }));
    Cuts::new(&json!({ "added_tokens": tokens })).unwrap()
}

fn render(source: &str, messages: &[Value], tools: bool, add_generation_prompt: bool) -> String {
    let config = Config { templates: vec![("default".to_owned(), source.to_owned())], ..Config::default() };
    let conversation = Conversation {
        messages: messages.to_vec(),
        tools: tools.then(|| json!([{"type": "function", "function": {"name": "f"}}])),
        add_generation_prompt,
        ..Conversation::default()
    };
    Template::new(config, None).unwrap().render(&conversation).unwrap().text
}

#[test]
fn each_known_template_is_one_of_those_tested() {
    let tested = sources().map(|source| (digest(&source), source.len()));
    assert_eq!(KNOWN.iter().map(|known| (known.0, known.1)).collect::<Vec<_>>(), tested, "{tested:#x?}");
    let mut changed = sources()[1].clone();
    changed.push(' ');
    assert!(Framing::of(&changed, Some(&cuts())).is_none());
}

#[test]
fn a_tokenizer_that_cannot_be_cut_there_has_no_framing() {
    for source in sources() {
        assert!(Framing::of(&source, Some(&cuts())).is_some());
        assert!(Framing::of(&source, None).is_none());
        let tokens = json!({"added_tokens": [{"content": "<|im_start|>"}, {"content": ">\n<"}]});
        assert!(Cuts::new(&tokens).map_or(true, |cuts| Framing::of(&source, Some(&cuts)).is_none()));
        let other = Cuts::new(&json!({"added_tokens": [{"content": "<s>"}]})).unwrap();
        assert!(Framing::of(&source, Some(&other)).is_none());
    }
}

fn message() -> impl Strategy<Value = Value> {
    let content = prop_oneof![".{0,20}", "(<\\|im_end\\|>|<\\|im_start\\|>|[\n a]){0,6}"];
    ("system|user|assistant|tool", content, any::<bool>()).prop_map(|(role, content, calls)| {
        let mut message = json!({"role": role, "content": content});
        if role == "assistant" && calls {
            message["tool_calls"] = json!([{"type": "function", "function": {"name": "f", "arguments": {}}}]);
        }
        message
    })
}

proptest! {
    /// The promise of the list: a plain message after any others adds its frame and changes nothing before.
    #[test]
    fn plain_messages_only_add(
        messages in prop::collection::vec(message(), 1..6), role in "system|user|assistant", content in ".{0,20}", tools in any::<bool>(),
    ) {
        for source in sources() {
            let framing = Framing::of(&source, Some(&cuts())).unwrap();
            let mut text = render(&source, &messages, tools, false);
            let added = json!({"role": role, "content": content});
            let longer = [&messages[..], std::slice::from_ref(&added)].concat();
            let before = text.len();
            prop_assert!(framing.push(&mut text, &added));
            prop_assert_eq!(&render(&source, &longer, tools, false), &text);
            prop_assert_eq!(framing.strip(&text, &added), Some(&text[..before]));
            framing.push_generation(&mut text);
            prop_assert_eq!(&render(&source, &longer, tools, true), &text);
            prop_assert!(framing.strip_generation(&text).is_some());
        }
    }
}
