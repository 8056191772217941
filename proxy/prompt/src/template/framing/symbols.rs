//! What is known of a template's values for a message of which only the kind is known.

use std::collections::BTreeMap;

use super::frame::{Content, Piece, Test, Way};
use minijinja::Value;

/// The messages that frames are made for: a role, a text, perhaps a name, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    System,
    User,
    Assistant,
    /// The assistant's, with its reasoning beside its content, under both names.
    Reasoned,
    /// The same, under the name `reasoning_content` alone.
    ReasonedContent,
}

impl Kind {
    pub(super) const ALL: [Self; 5] =
        [Self::System, Self::User, Self::Assistant, Self::Reasoned, Self::ReasonedContent];

    pub(super) fn role(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant | Self::Reasoned | Self::ReasonedContent => "assistant",
        }
    }

    /// Whether it has this field besides role and content.
    pub(super) fn has(self, field: &str) -> bool {
        match field {
            "reasoning" => self == Self::Reasoned,
            "reasoning_content" => matches!(self, Self::Reasoned | Self::ReasonedContent),
            _ => false,
        }
    }
}

/// What stands behind the message in question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    Unknown,
    Nothing,
    Message(Kind),
}

/// What `loop` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    /// That over the messages from the first to the last.
    Forward,
    /// That over the messages from the last to the first.
    Reversed,
    /// Another, or none.
    Other,
}

/// Where a statement is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) facts: &'a Facts,
    /// The variable that holds the message.
    pub(super) target: &'a str,
    /// `None`: any message.
    pub(super) message: Option<Kind>,
    pub(super) first: bool,
    pub(super) next: Next,
    pub(super) within: Loop,
}

/// What holds in all of a template.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The variables that hold namespaces.
    pub(super) namespaces: Vec<String>,
    /// The attribute that holds the index of the last query, behind which no message is looked at.
    pub(super) last_query: Option<Key>,
    /// Those that are made from the messages, whatever they become later.
    pub(super) counted: Vec<Key>,
}

/// A namespace's variable and an attribute's name.
pub(super) type Key = (String, String);

pub(super) type Attributes = BTreeMap<Key, Value>;

/// What is known at some point, having come there by `way`.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) locals: BTreeMap<String, Symbol>,
    /// The attributes of namespaces whose values are known.
    pub(super) attributes: Attributes,
    /// Whether any attribute was set.
    pub(super) wrote: bool,
    pub(super) way: Way,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Symbol {
    Constant(Value),
    Text(Vec<Piece>),
    Answer(Test),
    /// Some text of the message that is not its content.
    OtherText,
    Split(Content, String),
    Message(Kind),
    Messages,
    Loop,
    Index,
    LastQuery,
    Namespace(String),
    Unknown,
}

/// A template that does more than is understood here, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) String);

pub(super) type Outcomes<T> = Result<Vec<(State, T)>, Refusal>;

impl Symbol {
    pub(super) fn undefined() -> Self {
        Self::Constant(Value::UNDEFINED)
    }

    pub(super) fn bool(value: bool) -> Self {
        Self::Constant(value.into())
    }

    /// The pieces it is printed as.
    pub(super) fn pieces(&self) -> Option<Vec<Piece>> {
        match self {
            Self::Text(pieces) => Some(pieces.clone()),
            Self::Constant(value) if value.is_undefined() => Some(Vec::new()),
            Self::Constant(value) => Some(match value.as_str()? {
                "" => Vec::new(),
                text => vec![Piece::Literal(text.to_owned())],
            }),
            _ => None,
        }
    }

    /// The message's content and nothing else.
    pub(super) fn content(&self) -> Option<&Content> {
        match self {
            Self::Text(pieces) => match pieces.as_slice() {
                [Piece::Content(content)] => Some(content),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Text(_) | Self::OtherText)
    }
}

impl State {
    /// What truth a value has, in each of the cases that there are. `None`: that cannot be told.
    pub(super) fn truth(self, symbol: &Symbol) -> Vec<(Self, Option<bool>)> {
        let (test, if_true) = match symbol {
            Symbol::Constant(value) => return vec![(self, Some(value.is_true()))],
            Symbol::Message(_) => return vec![(self, Some(true))],
            Symbol::Text(pieces) => match pieces.as_slice() {
                [] => return vec![(self, Some(false))],
                [Piece::Content(content)] => (Test::Empty(content.clone()), false),
                pieces if pieces.iter().any(|piece| matches!(piece, Piece::Literal(_))) => {
                    return vec![(self, Some(true))];
                }
                _ => return vec![(self, None)],
            },
            Symbol::Answer(test) => (test.clone(), true),
            _ => return vec![(self, None)],
        };
        if let Some((_, known)) = self.way.tests.iter().find(|(asked, _)| *asked == test) {
            let truth = *known == if_true;
            return vec![(self, Some(truth))];
        }
        [true, false]
            .map(|answer| {
                let mut state = self.clone();
                state.way.tests.push((test.clone(), answer));
                (state, Some(answer == if_true))
            })
            .into()
    }
}
