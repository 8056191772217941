//! What most messages are, a role and a text, read without making a tree of values.

use std::borrow::Cow;

use serde::Deserialize;

use super::ContentFormat;

/// A message of nothing else, which the engine shows to the template as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlainMessage<'a> {
    #[serde(borrow)]
    pub(crate) role: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) content: Cow<'a, str>,
}

impl<'a> PlainMessage<'a> {
    /// `None` for any other: [`super::later_message`] knows more.
    pub(crate) fn read(raw: &'a [u8], format: ContentFormat) -> Option<Self> {
        // A list would be read too, its elements as the fields.
        if format != ContentFormat::Text || raw.first() != Some(&b'{') {
            return None;
        }
        // A system message may begin with a line that engines take out.
        serde_json::from_slice(raw).ok().filter(|message: &Self| message.role != "system")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::PlainMessage;
    use crate::chat::later_message;
    use crate::dialect::Dialect;
    use crate::template::ContentFormat;

    fn message() -> impl Strategy<Value = String> {
        let raw = prop_oneof![
            Just(r#"{"role":"user","role":"assistant","content":"a"}"#.to_owned()),
            Just(r#"{"role":"user","content":"\ud800"}"#.to_owned()),
            Just(r#"["user","a"]"#.to_owned()),
            Just(r#"{"role":"user","content":null}"#.to_owned()),
            Just(r#"{"role":"user","content":[{"type":"text","text":"a"}]}"#.to_owned()),
            Just(r#"{"role":"user"}"#.to_owned()),
        ];
        let plain =
            ("user|assistant|system|tool|developer|\\\\n", "\\PC{0,20}|[\"\\\\\n\t]{0,4}", any::<bool>())
                .prop_map(|(role, content, named)| {
                    let mut message = json!({"content": content, "role": role});
                    if named {
                        message["name"] = json!("n");
                    }
                    message.to_string()
                });
        prop_oneof![1 => raw, 4 => plain]
    }

    proptest! {
        #[test]
        fn it_is_what_the_longer_way_makes_of_it(raw in message(), parts in any::<bool>()) {
            let format = if parts { ContentFormat::Parts } else { ContentFormat::Text };
            if let Some(plain) = PlainMessage::read(raw.as_bytes(), format) {
                let whole = later_message(Dialect::Vllm, 1, raw.as_bytes(), format).unwrap();
                prop_assert_eq!(whole.get("role"), Some(&Value::from(&*plain.role)));
                prop_assert_eq!(whole.get("content"), Some(&Value::from(&*plain.content)));
                if let Some(other) = later_message(Dialect::Sglang, 1, raw.as_bytes(), format) {
                    prop_assert_eq!(other.get("role"), whole.get("role"));
                    prop_assert_eq!(other.get("content"), whole.get("content"));
                }
            }
        }
    }

    #[test]
    fn escapes_are_read_and_other_forms_left_alone() {
        let read = |raw: &'static str| PlainMessage::read(raw.as_bytes(), ContentFormat::Text);
        let message = read(r#"{"role":"user","content":"a\n\u00e9"}"#).unwrap();
        assert_eq!((&*message.role, &*message.content), ("user", "a\né"));
        assert!(read(r#"{"role":"user","role":"assistant","content":"a"}"#).is_none());
        assert!(read(r#"{"role":"user","content":"a","name":"n"}"#).is_none());
        assert!(read(r#"{"role":"system","content":"a"}"#).is_none());
    }
}
