//! Templates whose text grows only at its end when messages are appended, and what one more plain message adds to it.
//!
//! That cannot be seen from outside: some templates take earlier reasoning out once a further message follows, move system messages to the front
//! or print the date. So only templates that have been read are listed, by their whole source.

use rankwise_core::hash::HashKey;

use crate::cuts::Cuts;

/// What stands around a message's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framing {
    /// Before the role; an added token, so that the text may be cut here.
    open: &'static str,
    /// Between role and content.
    after_role: &'static str,
    /// After the content.
    close: &'static str,
    /// With `add_generation_prompt`, at the end.
    generation: &'static str,
}

const CHATML: Framing = Framing {
    open: "<|im_start|>",
    after_role: "\n",
    close: "<|im_end|>\n",
    generation: "<|im_start|>assistant\n",
};

/// Digest of a template's source, its length, and its framing: plain messages that are not the first are printed so.
const KNOWN: [(u128, usize, Framing); 2] = [
    // Qwen2.5-Instruct
    (0x4f1f_c00b_e9ba_e67d_34bb_ec68_b8a7_0a9e, 2507, CHATML),
    // ChatML, as transformers once had it by default
    (0x2434_f8e5_501d_f4de_3dab_cf27_9259_643c, 199, CHATML),
];

/// The roles whose messages are printed in this way.
const PLAIN_ROLES: [&str; 3] = ["system", "user", "assistant"];

impl Framing {
    /// The framing of a template, if it is known and the tokenizer's texts may be cut at it.
    pub(crate) fn of(source: &str, cuts: Option<&Cuts>) -> Option<Self> {
        let digest = digest(source);
        let known = KNOWN.iter().find(|known| (known.0, known.1) == (digest, source.len()));
        let framing = known.map(|known| known.2)?;
        let cuts = cuts?;
        let usable = cuts.is_at(framing.open.as_bytes())
            && cuts.is_at(framing.generation.as_bytes())
            && !cuts.may_straddle(framing.close, framing.open);
        usable.then_some(framing)
    }

    /// Appends a message. `false`, with nothing appended, for one that is not plain.
    pub(crate) fn push(&self, text: &mut String, message: &serde_json::Value) -> bool {
        plain(message).is_some_and(|(role, content)| self.push_text(text, role, content))
    }

    /// Appends a message of a role and a text. `false`, with nothing appended, if that role's messages are not plain.
    pub(crate) fn push_text(&self, text: &mut String, role: &str, content: &str) -> bool {
        if !PLAIN_ROLES.contains(&role) {
            return false;
        }
        for part in [self.open, role, self.after_role, content, self.close] {
            text.push_str(part);
        }
        true
    }

    /// Appends what invites the answer.
    pub(crate) fn push_generation(&self, text: &mut String) {
        text.push_str(self.generation);
    }

    /// `text` without the message at its end. `None` if that is not plain, or not as it should be.
    pub(crate) fn strip<'t>(&self, text: &'t str, message: &serde_json::Value) -> Option<&'t str> {
        let (role, content) = plain(message)?;
        [self.close, content, self.after_role, role, self.open]
            .iter()
            .try_fold(text, |text, part| text.strip_suffix(part))
    }

    /// `text` without what invites the answer.
    pub(crate) fn strip_generation<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.strip_suffix(self.generation)
    }
}

/// Role and content of a normalised message that has nothing else a template may print.
fn plain(message: &serde_json::Value) -> Option<(&str, &str)> {
    let message = message.as_object()?;
    let role = message.get("role")?.as_str().filter(|role| PLAIN_ROLES.contains(role))?;
    let others = message.keys().any(|key| !matches!(key.as_str(), "role" | "content" | "name"));
    if others { None } else { Some((role, message.get("content")?.as_str()?)) }
}

fn digest(source: &str) -> u128 {
    HashKey::new([0; 32]).bytes_wide(source.as_bytes())
}

#[cfg(test)]
mod tests;
