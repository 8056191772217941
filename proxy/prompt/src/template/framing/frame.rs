//! What a message adds to a text, as a function of its content.

use crate::template::python_values;

/// The text of one message, by what its content is like.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame {
    /// Exactly one applies to any content.
    pub(super) ways: Vec<Way>,
}

/// What is printed where some tests come out so.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Way {
    pub(super) tests: Vec<(Test, bool)>,
    pub(super) pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Literal(String),
    Content(Content),
}

/// The message's content with something taken off it, step by step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Content(pub(super) Vec<Step>);

/// A step, as Python takes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// `strip` at the chosen ends, of these characters or of white space.
    Strip { start: bool, end: bool, characters: Option<String> },
    /// `split(separator)[0]`
    First(String),
    /// `split(separator)[-1]`
    Last(String),
}

/// A question that a template asks of the content.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    Empty(Content),
    Contains(Content, String),
    StartsWith(Content, String),
    EndsWith(Content, String),
}

impl Frame {
    /// Appends what a message with this content adds.
    pub(super) fn push(&self, text: &mut String, content: &str) {
        let Some(way) = self.ways.iter().find(|way| holds(&way.tests, content)) else { return };
        for piece in &way.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Content(steps) => text.push_str(steps.of(content)),
            }
        }
    }
}

/// Whether all tests come out as they should.
pub(super) fn holds(tests: &[(Test, bool)], content: &str) -> bool {
    tests.iter().all(|(test, expected)| test.ask(content) == *expected)
}

impl Way {
    pub(super) fn push(&mut self, piece: Piece) {
        match (self.pieces.last_mut(), piece) {
            (_, Piece::Literal(literal)) if literal.is_empty() => {}
            (Some(Piece::Literal(last)), Piece::Literal(literal)) => last.push_str(&literal),
            (_, piece) => self.pieces.push(piece),
        }
    }
}

impl Content {
    pub(super) fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    fn of<'t>(&self, content: &'t str) -> &'t str {
        self.0.iter().fold(content, |text, step| match step {
            Step::Strip { start, end, characters } => {
                python_values::strip(text, characters.as_deref(), *start, *end)
            }
            Step::First(separator) => text.split(separator.as_str()).next().unwrap_or(text),
            // Found from the start, as Python does: `\n\n` in `\n\n\n` leaves a `\n`.
            Step::Last(separator) => text.split(separator.as_str()).last().unwrap_or(text),
        })
    }
}

impl Test {
    fn ask(&self, content: &str) -> bool {
        match self {
            Self::Empty(steps) => steps.of(content).is_empty(),
            Self::Contains(steps, part) => steps.of(content).contains(part.as_str()),
            Self::StartsWith(steps, part) => steps.of(content).starts_with(part.as_str()),
            Self::EndsWith(steps, part) => steps.of(content).ends_with(part.as_str()),
        }
    }
}
