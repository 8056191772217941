//! How deep a template may be. What parses, compiles and frees its syntax tree goes down it by recursion, and the parser bounds brackets
//! and blocks only: sums, attributes, filters and `elif` deepen the tree without end, and a stack that overflows takes the process
//! with it. So what would become of the source is told from its tokens.

use minijinja::machinery::{Token, tokenize};

/// Bytes of a template that is looked at: many times what models come with.
const SOURCE_BYTES_MAX: usize = 1 << 20;

/// Operators, attributes, filters, brackets and branches that stand in each other at one place; those of models are a few dozen.
const DEPTH_MAX: usize = 256;

/// Whether the template may be parsed.
///
/// # Errors
/// Why not. What is no template is for the parser to refuse.
pub(super) fn check(source: &str) -> Result<(), String> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(format!("longer than {SOURCE_BYTES_MAX} bytes"));
    }
    let mut place = Place::default();
    // Behind an error nothing is parsed.
    for (token, span) in tokenize(source, false, Default::default(), Default::default()).map_while(Result::ok)
    {
        place.go_on(&token);
        if place.depth() > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX} in line {}", span.start_line));
        }
    }
    Ok(())
}

/// A place in a source, and what it stands in.
#[derive(Default)]
struct Place {
    /// For each block `if` around it, the branches so far.
    branches: Vec<usize>,
    /// For each bracket around it within its tag, the tag first: what the operand that is being read hangs off.
    links: Vec<usize>,
    /// The token before opened a block.
    begins_block: bool,
}

impl Place {
    fn depth(&self) -> usize {
        self.branches.iter().chain(&self.links).sum()
    }

    fn go_on(&mut self, token: &Token<'_>) {
        let begins_block = std::mem::replace(&mut self.begins_block, matches!(token, Token::BlockStart));
        match token {
            Token::VariableStart | Token::BlockStart => self.links = vec![0],
            Token::VariableEnd | Token::BlockEnd => self.links.clear(),
            Token::Ident("if") if begins_block => self.branches.push(1),
            Token::Ident("elif") if begins_block => {
                if let Some(branches) = self.branches.last_mut() {
                    *branches += 1;
                }
            }
            Token::Ident("endif") if begins_block => {
                self.branches.pop();
            }
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                self.link();
                self.links.push(0);
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                self.links.pop();
            }
            // What follows stands beside what came before, not around it.
            Token::Comma | Token::Colon => {
                if let Some(links) = self.links.last_mut() {
                    *links = 0;
                }
            }
            Token::Ident("and" | "or" | "not" | "is" | "in" | "if" | "else") => self.link(),
            Token::TemplateData(_)
            | Token::Ident(_)
            | Token::Str(_)
            | Token::String(_)
            | Token::Int(_)
            | Token::Int128(_)
            | Token::Float(_)
            | Token::Assign => {}
            // Operators, the dot and the pipe.
            _ => self.link(),
        }
    }

    fn link(&mut self) {
        if let Some(links) = self.links.last_mut() {
            *links += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Config;
    use crate::template::Template;

    fn load(source: String) -> Result<(), String> {
        let config = Config { templates: vec![("default".to_owned(), source)], ..Config::default() };
        Template::new(config, None).map(drop).map_err(|error| error.to_string())
    }

    /// Templates of `depth` parts that stand in each other, each in its own way.
    fn deep(depth: usize) -> Vec<String> {
        let joined = |part: &str, by: &str| format!("{{{{ {} }}}}", vec![part; depth].join(by));
        let repeated =
            |open: &str, close: &str| format!("{{{{ {}x{} }}}}", open.repeat(depth), close.repeat(depth));
        vec![
            joined("x", " + "),
            joined("x", " ~ "),
            joined("x", " and "),
            joined("x", " if y else "),
            joined("x", " == "),
            joined("x", "."),
            joined("x", "|"),
            joined("x", " is "),
            repeated("not ", ""),
            repeated("-", ""),
            repeated("", "[0]"),
            repeated("", "()"),
            repeated("(", ")"),
            repeated("[", "]"),
            repeated("{0:", " }"),
            format!("{{% if x %}}{}{{% endif %}}", "{% elif x %}a".repeat(depth)),
            format!("{}{}", "{% if x %}".repeat(depth), "{% endif %}".repeat(depth)),
            format!("{}{}", "{% for x in y %}".repeat(depth), "{% endfor %}".repeat(depth)),
            format!("{{% filter {} %}}{{% endfilter %}}", vec!["x"; depth].join("|")),
            format!("{{% set x = {} %}}", vec!["x"; depth].join(" + ")),
        ]
    }

    #[test]
    fn a_template_that_would_overflow_the_stack_does_not_load() {
        for depth in [1_000, 15_000] {
            for source in deep(depth) {
                let error = load(source.clone()).unwrap_err();
                let is_said = ["nested deeper than 256 in line 1", "recursion"]
                    .iter()
                    .any(|words| error.contains(words));
                assert!(is_said, "{}: {error}", &source[..40]);
            }
        }
        assert!(load("x".repeat(SOURCE_BYTES_MAX + 1)).unwrap_err().contains("longer than"));
    }

    #[test]
    fn what_may_be_parsed_loads_or_is_refused_and_no_more() {
        for depth in [1, 20, 60, 120, 250] {
            for source in deep(depth) {
                let loaded = load(source.clone());
                assert!(loaded.is_ok() || depth > 20, "{source}: {loaded:?}");
            }
        }
    }

    #[test]
    fn what_stands_side_by_side_is_not_deep() {
        let items = vec!["'a' + x.y[0]|trim"; 5_000].join(", ");
        for source in [
            format!("{{% set all = [{items}] %}}"),
            "{% if x is defined and y %}{{ x.y|trim }}{% elif z %}b{% endif %}\n".repeat(5_000),
            format!("{{{{ f({}) }}}}", vec!["x.y + 1"; 1_500].join(", ")),
        ] {
            assert_eq!(check(&source), Ok(()), "{}", &source[..40]);
        }
    }
}
