use serde_json::{Value, json};

use super::content_format::ContentFormat;
use super::python_text::{float_repr, repr};
use super::{Conversation, Template, generation};
use crate::files::Config;
use crate::test_support::data;
use crate::{BodyError, TokenizerFiles};

fn template(sources: &[(&str, &str)]) -> Template {
    let templates = sources.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect();
    Template::new(Config { templates, ..Config::default() }, None).unwrap()
}

fn request(messages: Value) -> Conversation {
    Conversation { messages: messages.as_array().unwrap().clone(), ..Conversation::default() }
}

#[test]
fn templates_render_as_in_python() {
    let cases = std::fs::read_to_string(data("jinja/cases.jsonl")).unwrap();
    let mut wrong = Vec::new();
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let mut request = request(json!([{"role": "user", "content": "hi"}]));
        request.kwargs = case["context"].as_object().unwrap().clone();
        let rendered = template(&[("default", case["template"].as_str().unwrap())]).render(&request);
        let rendered = rendered.map(|rendered| rendered.text);
        if rendered.as_deref().ok() != case["rendered"].as_str() {
            wrong.push(format!("{}: {:?} instead of {}", case["name"], rendered, case["rendered"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn floats_print_as_in_python() {
    let cases = std::fs::read_to_string(data("jinja/floats.txt")).unwrap();
    for (bits, expected) in cases.lines().map(|line| line.split_once(' ').unwrap()) {
        let number = f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
        assert_eq!(float_repr(number), expected);
        // As it comes from a body.
        let parsed: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(repr(&minijinja::Value::from_serialize(parsed)), expected);
    }
    assert_eq!((float_repr(f64::NAN), float_repr(f64::NEG_INFINITY)), ("nan".to_owned(), "-inf".to_owned()));
}

#[test]
fn generation_tags_become_plain_scopes() {
    assert_eq!(
        generation::strip("a{% generation %}b{%- endgeneration -%}{{ generation }}{% set generation = 1 %}"),
        "a{% with %}b{%- endwith -%}{{ generation }}{% set generation = 1 %}"
    );
    assert_eq!(generation::strip("{%"), "{%");
}

#[test]
fn contents_are_parts_if_the_template_loops_over_them() {
    let parts = [
        "{% for m in messages %}{% for c in m.content %}{% endfor %}{% endfor %}",
        "{%- for message in messages[1:] -%}{%- for content in message['content'] | list -%}{%- endfor -%}{%- endfor -%}",
        "{% set loop_messages = messages %}{% for m in loop_messages %}{% for c in m[\"content\"] if c %}{% endfor %}{% endfor %}",
        "{% set a = messages[1:] %}{% set b = a %}{% for m in b %}{% for c in m.content|selectattr('type', 'equalto', 'x)') %}{% endfor %}{% endfor %}",
    ];
    let text = [
        "{% for m in messages %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{% set content = m.content %}{% for c in content %}{% endfor %}{% endfor %}",
        "{% for m in others %}{% for c in m.content %}{% endfor %}{% endfor %}",
        "{% for m in messages %}{% for c in m.tool_calls %}{% endfor %}{% endfor %}",
        "{% macro f(content) %}{% for c in content %}{% endfor %}{% endmacro %}{% for m in messages %}{{ f(m.content) }}{% endfor %}",
        "",
        "{% for",
    ];
    for source in parts {
        assert_eq!(ContentFormat::detect(source), ContentFormat::Parts, "{source}");
    }
    for source in text {
        assert_eq!(ContentFormat::detect(source), ContentFormat::Text, "{source}");
    }
}

#[test]
fn a_request_with_tools_gets_the_template_for_tools() {
    let template =
        template(&[("default", "plain"), ("tool_use", "{{ tools|length }} tools"), ("rag", "{{ nonsense")]);
    let mut request = request(json!([{"role": "user", "content": ""}]));
    assert_eq!(template.render(&request).unwrap().text, "plain");
    request.tools = Some(json!([{}]));
    assert_eq!(template.render(&request).unwrap().text, "1 tools");
}

#[test]
fn a_template_may_refuse() {
    let template = template(&[("default", "{{ raise_exception('roles must alternate') }}")]);
    let refused = template.render(&request(json!([{}]))).map(|rendered| rendered.text);
    assert_eq!(refused, Err(BodyError::Template { message: "roles must alternate".to_owned() }));
    assert!(!refused.unwrap_err().is_client_fault());
}

#[test]
fn without_a_template_chats_are_refused_and_a_broken_one_does_not_load() {
    let none = Template::new(Config::default(), None).unwrap();
    assert!(matches!(none.render(&request(json!([{}]))), Err(BodyError::Template { .. })));
    let broken =
        Config { templates: vec![("default".to_owned(), "{% if %}".to_owned())], ..Config::default() };
    assert!(Template::new(broken, None).is_err());
}

#[test]
fn special_tokens_are_undefined_unless_set() {
    let config = Config::parse(&TokenizerFiles {
        tokenizer: Vec::new(),
        config: Some(
            json!({"bos_token": null, "eos_token": {"content": "</s>"}, "pad_token": "<p>",
                "chat_template": [{"name": "default", "template": "{{ bos_token is defined }}{{ eos_token }}{{ pad_token }}"}]})
            .to_string()
            .into_bytes(),
        ),
        chat_template: None,
    });
    let template = Template::new(config.unwrap(), None).unwrap();
    assert_eq!(template.render(&request(json!([{}]))).unwrap().text, "False</s><p>");
}

#[test]
fn the_final_message_is_left_open() {
    let continued = |source: &str, content: Value| {
        let mut request =
            request(json!([{"role": "user", "content": "a b"}, {"role": "assistant", "content": content}]));
        request.add_generation_prompt = false;
        request.continue_final_message = true;
        template(&[("default", source)]).render(&request).map(|rendered| rendered.text)
    };
    let plain = "{% for m in messages %}<{{ m.content }}>{% endfor %}";
    let trimmed = "{% for m in messages %}<{{ m.content|trim }}>{% endfor %}";
    assert_eq!(continued(plain, json!("a b ")).unwrap(), "<a b><a b ");
    assert_eq!(continued(trimmed, json!("a b ")).unwrap(), "<a b><a b");
    assert_eq!(continued(plain, json!("")).unwrap(), "<a b><");
    let parts = "{% for m in messages %}<{% for c in m.content %}{{ c.text }}{% endfor %}>{% endfor %}";
    assert_eq!(continued(parts, json!([{"text": "x"}, {"text": "y"}])).unwrap(), "<><xy");
    assert!(continued("{{ messages[0].content }}", json!("b")).is_err());
    assert!(continued(plain, json!(null)).is_err());
}

#[test]
fn the_clock_is_pythons() {
    let year = template(&[("default", "{{ strftime_now('%Y-%m-%d') }}")])
        .render(&request(json!([{}])))
        .unwrap()
        .text;
    assert_eq!(year.len(), 10, "{year}");
    assert!(year.starts_with("20"), "{year}");
}

#[test]
fn sglang_tells_parts_by_words_and_names() {
    let parts = [
        "{# vision #}",
        "{% for m in messages %}{% for c in m.content %}{% endfor %}{% endfor %}",
        "{% for c in message['content'] | list %}{% endfor %}",
        "{% for c in msg.content[1:] %}{% endfor %}",
    ];
    let text = [
        "",
        "{% for x in messages %}{% for c in x.content %}{% endfor %}{% endfor %}",
        "{% for c in message.tool_calls %}{% endfor %}",
    ];
    assert!(parts.iter().all(|source| ContentFormat::detect_as_sglang(source) == ContentFormat::Parts));
    assert!(text.iter().all(|source| ContentFormat::detect_as_sglang(source) == ContentFormat::Text));
}
