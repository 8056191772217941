//! What the demo's users say: conversations of several turns, some of which share long instructions.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde_json::{Value, json};

/// Turns of one conversation.
const TURNS: usize = 8;
/// Different sets of instructions; conversations share them.
const INSTRUCTIONS: usize = 6;
const INSTRUCTION_WORDS: usize = 350;
const QUESTION_WORDS: usize = 60;

const WORDS: [&str; 24] = [
    "request", "block", "prefix", "window", "answer", "number", "river", "engine", "table", "letter",
    "market", "signal", "garden", "paper", "metal", "winter", "morning", "question", "system", "bridge",
    "colour", "memory", "station", "island",
];

/// One conversation: what was said, and what is still to be said.
pub(super) struct Conversation {
    messages: Vec<Value>,
    random: fastrand::Rng,
    turns_left: usize,
}

/// Conversations that wait for their next turn.
pub(super) struct Conversations(Mutex<VecDeque<Conversation>>);

impl Conversations {
    /// As many as make `requests` turns together. The same ones every time.
    pub(super) fn new(requests: usize) -> Self {
        let mut left = requests;
        let mut conversations = VecDeque::new();
        while left > 0 {
            let turns = TURNS.min(left);
            conversations.push_back(Conversation::new(conversations.len(), turns));
            left -= turns;
        }
        Self(Mutex::new(conversations))
    }

    /// The one that has waited longest.
    pub(super) fn take(&self) -> Option<Conversation> {
        self.0.lock().pop_front()
    }

    /// It waits again, if it is not over.
    pub(super) fn put_back(&self, conversation: Conversation) {
        if conversation.turns_left > 0 {
            self.0.lock().push_back(conversation);
        }
    }
}

impl Conversation {
    fn new(number: usize, turns_left: usize) -> Self {
        let mut shared = fastrand::Rng::with_seed((number % INSTRUCTIONS) as u64);
        let system = text(&mut shared, INSTRUCTION_WORDS);
        let messages = vec![json!({ "role": "system", "content": system })];
        Self { messages, random: fastrand::Rng::with_seed(1000 + number as u64), turns_left }
    }

    /// The next request's body.
    pub(super) fn ask(&mut self) -> String {
        let question = text(&mut self.random, QUESTION_WORDS);
        self.messages.push(json!({ "role": "user", "content": question }));
        json!({ "model": "sim", "messages": self.messages, "max_tokens": 32, "stream": true }).to_string()
    }

    /// What came back.
    pub(super) fn answered(&mut self, answer: &str) {
        self.messages.push(json!({ "role": "assistant", "content": answer }));
        self.turns_left -= 1;
    }
}

fn text(random: &mut fastrand::Rng, words: usize) -> String {
    let mut text = String::with_capacity(words * 8);
    for _ in 0..words {
        text.push_str(WORDS[random.usize(..WORDS.len())]);
        text.push(' ');
    }
    text
}
