//! Whether a template takes a message's content as one text or as a list of parts: vLLM's detection, and SGLang's.
//!
//! vLLM looks for a loop over some message's `content` (`_detect_content_format`), where a message is what a loop over
//! `messages`, or over a variable set to it, yields. Only names, slices, filters and tests of them count.

/// The form of a message's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentFormat {
    /// vLLM's "string": texts joined.
    Text,
    /// vLLM's "openai": a list of typed parts.
    Parts,
}

impl ContentFormat {
    pub(crate) fn detect(source: &str) -> Self {
        let statements = statements(source);
        let mut lists = vec!["messages"];
        let mut next = 0;
        while let Some(list) = lists.get(next).copied() {
            next += 1;
            for statement in &statements {
                if let Statement::Set { name, access: Some((base, None)) } = statement
                    && *base == list
                    && !lists.contains(name)
                {
                    lists.push(name);
                }
            }
        }
        let messages: Vec<&str> = statements
            .iter()
            .filter_map(|statement| match statement {
                Statement::For { name, access: Some((base, None)) } if lists.contains(base) => Some(*name),
                _ => None,
            })
            .collect();
        let loops_over_content = statements.iter().any(|statement| match statement {
            Statement::For { access: Some((base, Some("content"))), .. } => messages.contains(base),
            _ => false,
        });
        if loops_over_content { Self::Parts } else { Self::Text }
    }

    /// SGLang's (`detect_jinja_template_content_format`): by words, else by a loop over the content of what has one of three names.
    pub(crate) fn detect_as_sglang(source: &str) -> Self {
        let is_multimodal = ["image", "audio", "video", "vision"].iter().any(|word| source.contains(word));
        let loops_over_content = |statement: &Statement<'_>| match statement {
            Statement::For { access: Some((base, Some("content"))), .. } => {
                ["message", "msg", "m"].contains(base)
            }
            _ => false,
        };
        if is_multimodal || statements(source).iter().any(loops_over_content) {
            Self::Parts
        } else {
            Self::Text
        }
    }
}

/// A variable, and the key taken of it, if any.
type Access<'a> = (&'a str, Option<&'a str>);

enum Statement<'a> {
    For { name: &'a str, access: Option<Access<'a>> },
    Set { name: &'a str, access: Option<Access<'a>> },
}

fn statements(source: &str) -> Vec<Statement<'_>> {
    let mut found = Vec::new();
    for after in source.split("{%").skip(1) {
        let Some((inside, _)) = after.split_once("%}") else { continue };
        let inside = inside.trim_matches(['-', '+']).trim();
        if let Some((target, list)) = inside.strip_prefix("for ").and_then(|rest| rest.split_once(" in ")) {
            found.push(Statement::For { name: target.trim(), access: access(list, true) });
        } else if let Some((target, value)) =
            inside.strip_prefix("set ").and_then(|rest| rest.split_once('='))
        {
            found.push(Statement::Set { name: target.trim(), access: access(value, false) });
        }
    }
    found
}

/// Reads `name`, `name.key` or `name['key']`, followed by slices, filters and tests only; in a loop also by its condition.
fn access(expression: &str, in_loop: bool) -> Option<Access<'_>> {
    let (name, mut rest) = identifier(expression.trim_start())?;
    let mut key = None;
    if let Some(after) = rest.strip_prefix('.') {
        let (attribute, after) = identifier(after)?;
        key = Some(attribute);
        rest = after;
    } else if rest.starts_with('[') {
        let (inside, after) = bracketed(rest)?;
        let quoted = inside.trim();
        if let Some(text) = ['\'', '"']
            .iter()
            .find_map(|quote| quoted.strip_prefix(*quote).and_then(|text| text.strip_suffix(*quote)))
        {
            key = Some(text);
            rest = after;
        }
    }
    loop {
        rest = rest.trim_start();
        if rest.is_empty() || (in_loop && (rest.starts_with("if ") || rest == "recursive")) {
            return Some((name, key));
        }
        if rest.starts_with('[') {
            let (inside, after) = bracketed(rest)?;
            if !inside.contains(':') {
                return None;
            }
            rest = after;
            continue;
        }
        let after = rest
            .strip_prefix('|')
            .or_else(|| rest.strip_prefix("is not "))
            .or_else(|| rest.strip_prefix("is "))?;
        let (_, after) = identifier(after.trim_start())?;
        rest = if after.starts_with('(') { bracketed(after)?.1 } else { after };
    }
}

fn identifier(text: &str) -> Option<(&str, &str)> {
    let length =
        text.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(text.len());
    (length > 0).then(|| text.split_at(length))
}

/// What stands in the brackets that `text` begins with, and what follows them.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => {
                depth -= 1;
                if depth == 0 {
                    return Some((&text[1..at], &text[at + 1..]));
                }
            }
            _ => {}
        }
    }
    None
}
