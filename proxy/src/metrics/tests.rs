//! The metrics reference says what the code registers, in the same words, and nothing else.

use std::collections::BTreeMap;

const SOURCES: [&str; 5] = [
    include_str!("decisions.rs"),
    include_str!("families.rs"),
    include_str!("gauges.rs"),
    include_str!("pools.rs"),
    include_str!("targets.rs"),
];
const REFERENCE: &str = include_str!("../../docs/metrics.md");

fn is_family(word: &str) -> bool {
    word.starts_with("rankwise_") && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Names and help as registered: a literal that is a name is followed by the literal that is its help.
fn registered() -> BTreeMap<&'static str, &'static str> {
    let mut families = BTreeMap::new();
    for source in SOURCES {
        let pieces: Vec<&str> = source.split('"').collect();
        for piece in pieces.windows(3).filter(|piece| is_family(piece[0])) {
            assert_eq!(families.insert(piece[0], piece[2]), None, "{} is registered twice", piece[0]);
        }
    }
    families
}

/// Names and meanings by the tables of the reference.
fn documented() -> BTreeMap<&'static str, &'static str> {
    let mut families = BTreeMap::new();
    for line in REFERENCE.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", name, _, _, meaning, ""] = cells[..]
            && let name = name.trim_matches('`')
            && is_family(name)
        {
            assert_eq!(families.insert(name, meaning), None, "{name} is documented twice");
        }
    }
    families
}

#[test]
fn the_reference_has_every_family_and_no_other() {
    assert!(registered().len() > 40, "{:?}", registered());
    assert_eq!(documented(), registered());
}

#[test]
fn counters_alone_are_called_total() {
    for line in REFERENCE.lines().filter(|line| line.starts_with("| `rankwise_")) {
        assert_eq!(line.contains("_total` |"), line.contains("| counter |"), "{line}");
    }
}
