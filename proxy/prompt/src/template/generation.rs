//! transformers' `{% generation %}` blocks, which mark what the assistant wrote and add nothing.

/// `source` with each generation block as a plain scope, whitespace control kept.
pub(super) fn strip(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        let space = tag.len() - tag.trim_start_matches(['-', '+']).trim_start().len();
        out.push_str(&tag[..space]);
        rest = &tag[space..];
        for (word, scope) in [("generation", "with"), ("endgeneration", "endwith")] {
            if let Some(after) = rest.strip_prefix(word)
                && after.trim_start().trim_start_matches(['-', '+']).starts_with("%}")
            {
                out.push_str(scope);
                rest = after;
                break;
            }
        }
    }
    out.push_str(rest);
    out
}
