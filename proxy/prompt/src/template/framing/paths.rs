//! What the body of a template's loop over the messages prints and sets for one of a kind.

use minijinja::machinery::ast::Stmt;

use super::frame::Way;
use super::symbols::{Refusal, Scene, State, Symbol};
use super::syntax::{attribute, variable};

/// More cases of one message are not followed.
const WAYS_MAX: usize = 64;

impl Scene<'_> {
    /// The states at the end of `statements`, one for each case. Whatever is not known to its end is refused: it might fail.
    pub(super) fn run(&self, statements: &[Stmt<'_>], state: State) -> Result<Vec<State>, Refusal> {
        let mut states = vec![state];
        for statement in statements {
            let mut after = Vec::new();
            for state in states {
                after.extend(self.step(statement, state)?);
            }
            if after.len() > WAYS_MAX {
                return Err(Refusal("too many cases".to_owned()));
            }
            states = after;
        }
        Ok(states)
    }

    fn step(&self, statement: &Stmt<'_>, mut state: State) -> Result<Vec<State>, Refusal> {
        match statement {
            Stmt::EmitRaw(raw) => {
                state.way.push(super::frame::Piece::Literal(raw.raw.to_owned()));
                Ok(vec![state])
            }
            Stmt::EmitExpr(emit) => {
                let mut states = Vec::new();
                for (mut state, symbol) in self.value(&emit.expr, state)? {
                    let pieces = symbol.pieces().ok_or_else(|| self.refusal("prints something unknown"))?;
                    pieces.into_iter().for_each(|piece| state.way.push(piece));
                    states.push(state);
                }
                Ok(states)
            }
            Stmt::IfCond(choice) => {
                let mut states = Vec::new();
                for (state, truth) in self.truth(&choice.expr, state)? {
                    let body = match truth {
                        Some(true) => &choice.true_body,
                        Some(false) => &choice.false_body,
                        None => return Err(self.refusal("depends on something unknown")),
                    };
                    states.extend(self.run(body, state)?);
                }
                Ok(states)
            }
            Stmt::Set(set) => {
                let mut states = Vec::new();
                for (mut state, symbol) in self.value(&set.expr, state)? {
                    if symbol == Symbol::Unknown {
                        return Err(self.refusal("keeps something unknown"));
                    }
                    if let Some(name) = variable(&set.target) {
                        state.locals.insert(name.to_owned(), symbol);
                    } else if let Some((of, name)) = attribute(&set.target)
                        && let Some(Symbol::Namespace(namespace)) =
                            variable(of).map(|of| self.named(&state, of))
                    {
                        let key = (namespace, name);
                        match symbol {
                            Symbol::Constant(value) => state.attributes.insert(key, value),
                            _ => state.attributes.remove(&key),
                        };
                        state.wrote = true;
                    } else {
                        return Err(self.refusal("sets something unknown"));
                    }
                    states.push(state);
                }
                Ok(states)
            }
            Stmt::ForLoop(each) => {
                let mut states = Vec::new();
                for (state, symbol) in self.value(&each.iter, state)? {
                    match symbol {
                        Symbol::Constant(value) if value.is_undefined() => {
                            states.extend(self.run(&each.else_body, state)?);
                        }
                        _ => return Err(self.refusal("goes through something unknown")),
                    }
                }
                Ok(states)
            }
            Stmt::WithBlock(with) if with.assignments.is_empty() => {
                let outer = state.locals.clone();
                let mut states = self.run(&with.body, state)?;
                states.iter_mut().for_each(|state| state.locals.clone_from(&outer));
                Ok(states)
            }
            _ => Err(self.refusal("does something unknown")),
        }
    }

    fn refusal(&self, what: &str) -> Refusal {
        let role = self.message.map_or("any", super::symbols::Kind::role);
        Refusal(format!("the template {what} for a message of role {role}"))
    }
}

/// What they print.
pub(super) fn ways(states: &[State]) -> Vec<Way> {
    states.iter().map(|state| state.way.clone()).collect()
}
