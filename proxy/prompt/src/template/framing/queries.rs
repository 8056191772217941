//! Loops that look for the last message of some kind, as templates do to show reasoning only behind it.

use minijinja::Value;
use minijinja::machinery::ast::{BinOpKind, Expr, ForLoop, Stmt};

use super::frame::Test;
use super::symbols::{Attributes, Key, Loop, Refusal, Scene, State};
use super::syntax::{attribute, chain, is_at_least, is_difference, is_index, is_var, variable};

/// If a loop does nothing but find the index of the last message that fulfils some conditions: the attribute where it is kept, and the
/// conditions. Whether there is one does not matter: of conversations that do not end with one nothing is said.
pub(super) fn last_index<'e, 's>(
    each: &'e ForLoop<'s>,
    within: Loop,
    all: &[Key],
    made: &Attributes,
) -> Option<(Key, Vec<&'e Expr<'s>>)> {
    let once = |key: &Key| all.iter().filter(|place| *place == key).count() == 1;
    let key = |expr: &Expr<'_>| attribute(expr).and_then(|(of, name)| Some((variable(of)?.to_owned(), name)));
    // What `index` is called, if it has a name of its own.
    let (named, choice) = match each.body.as_slice() {
        [Stmt::IfCond(choice)] => (None, choice),
        [Stmt::Set(set), Stmt::IfCond(choice)] if is_reversed_index(&set.expr) => {
            let named = variable(&set.target).filter(|named| variable(&each.target) != Some(named))?;
            (Some(named), choice)
        }
        _ => return None,
    };
    if !choice.false_body.is_empty() {
        return None;
    }
    let sets = choice.true_body.iter().map(|statement| match statement {
        Stmt::Set(set) => Some((key(&set.target)?, &set.expr)),
        _ => None,
    });
    let sets: Vec<_> = sets.collect::<Option<_>>()?;
    let mut conditions = chain(&choice.expr, BinOpKind::ScAnd);
    match (within, sets.as_slice()) {
        (Loop::Forward, [(place, value)]) if is_index(value) && once(place) => {
            Some((place.clone(), conditions))
        }
        // The first that is found from the end, told by a flag that is lowered then.
        (Loop::Reversed, [one, other]) => {
            let is_lowered = |(_, value): &(_, &Expr<'_>)| value.as_const() == Some(Value::from(false));
            let (flag, place) = if is_lowered(one) { (one, other) } else { (other, one) };
            let is_place = named.is_some_and(|named| is_var(place.1, named)) || is_reversed_index(place.1);
            let known = conditions.iter().position(|condition| key(condition).as_ref() == Some(&flag.0))?;
            conditions.remove(known);
            let is_raised = made.get(&flag.0) == Some(&Value::from(true));
            (is_lowered(flag) && is_raised && is_place && once(&flag.0) && once(&place.0))
                .then(|| (place.0.clone(), conditions))
        }
        _ => None,
    }
}

/// `(messages|length - 1) - loop.index0`
fn is_reversed_index(expr: &Expr<'_>) -> bool {
    let is_length = |expr: &Expr<'_>| match expr {
        Expr::Filter(filter) => {
            filter.name == "length" && filter.expr.as_ref().is_some_and(|of| is_var(of, "messages"))
        }
        _ => false,
    };
    let is_one = |expr: &Expr<'_>| is_at_least(expr, 1) && !is_at_least(expr, 2);
    is_difference(expr, |left| is_difference(left, is_length, is_one), is_index)
}

/// What a message's content may be like for it to fulfil all conditions.
pub(super) fn queries(
    scene: &Scene<'_>,
    conditions: &[&Expr<'_>],
) -> Result<Vec<Vec<(Test, bool)>>, Refusal> {
    let mut cases = vec![State::default()];
    for condition in conditions {
        let mut fulfilled = Vec::new();
        for state in cases {
            for (state, truth) in scene.truth(condition, state)? {
                match truth {
                    Some(true) => fulfilled.push(state),
                    Some(false) => {}
                    None => {
                        return Err(Refusal(
                            "the template looks for a last message of an unknown kind".to_owned(),
                        ));
                    }
                }
            }
        }
        cases = fulfilled;
    }
    Ok(cases.into_iter().map(|state| state.way.tests).collect())
}
