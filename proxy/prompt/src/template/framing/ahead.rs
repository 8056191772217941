//! Whether a template, at any of its messages, looks at what comes later: if it does, that message's text may change when others are
//! appended.

use minijinja::machinery::ast::{BinOpKind, Expr, Stmt};

use super::symbols::{Loop, Refusal, Scene, State, Symbol};
use super::syntax::{
    attribute, chain, function, is_at_least, is_difference, is_index, is_number, is_var, operands, variable,
};

/// One place of a template with all that may stand behind a message: what comes to the same in all of them does not depend on it.
pub(super) struct Ahead<'s, 'f> {
    pub(super) scenes: &'s [Scene<'f>],
}

/// Functions that give the same whenever they are called, and change nothing.
const FUNCTIONS: [&str; 3] = ["raise_exception", "range", "dict"];

/// Those that do not: they may be called by another name too.
const FICKLE_FUNCTIONS: [&str; 3] = ["strftime_now", "namespace", "debug"];

/// Filters that do not.
const FICKLE_FILTERS: [&str; 1] = ["random"];

impl Ahead<'_, '_> {
    /// Refuses statements that look at later messages, at how many there are, or at the clock.
    pub(super) fn check(&self, statements: &[Stmt<'_>], state: &mut State) -> Result<(), Refusal> {
        for statement in statements {
            match statement {
                Stmt::EmitRaw(_) | Stmt::Continue(_) => {}
                Stmt::EmitExpr(emit) => self.expression(&emit.expr, state)?,
                Stmt::IfCond(choice) => match self.agreed(&choice.expr, state) {
                    Some(true) => self.check(&choice.true_body, state)?,
                    Some(false) => self.check(&choice.false_body, state)?,
                    None => {
                        self.expression(&choice.expr, state)?;
                        self.check(&choice.true_body, state)?;
                        self.check(&choice.false_body, state)?;
                    }
                },
                Stmt::Set(set) => {
                    self.expression(&set.expr, state)?;
                    self.target(&set.target, state)?;
                }
                Stmt::SetBlock(set) => {
                    self.check(&set.body, state)?;
                    set.filter.iter().try_for_each(|filter| self.expression(filter, state))?;
                    self.target(&set.target, state)?;
                }
                Stmt::WithBlock(with) => {
                    for (target, value) in &with.assignments {
                        self.expression(value, state)?;
                        self.variable(target, state)?;
                    }
                    self.check(&with.body, state)?;
                }
                Stmt::ForLoop(each) => {
                    self.expression(&each.iter, state)?;
                    self.check(&each.else_body, state)?;
                    let scenes: Vec<_> =
                        self.scenes.iter().map(|scene| Scene { within: Loop::Other, ..*scene }).collect();
                    let inner = Ahead { scenes: &scenes };
                    inner.variable(&each.target, state)?;
                    each.filter_expr.iter().try_for_each(|filter| inner.expression(filter, state))?;
                    inner.check(&each.body, state)?;
                }
                _ => return Err(Refusal("the template has a statement that is not understood".to_owned())),
            }
        }
        Ok(())
    }

    /// What may be set: a variable of its own, or an attribute of a known namespace.
    fn target(&self, target: &Expr<'_>, state: &mut State) -> Result<(), Refusal> {
        let of = attribute(target).and_then(|(of, _)| variable(of));
        let is_known = of.is_some_and(|of| self.is_namespace(of, state));
        if is_known { Ok(()) } else { self.variable(target, state) }
    }

    /// A variable that begins to be something else, or several.
    fn variable(&self, target: &Expr<'_>, state: &mut State) -> Result<(), Refusal> {
        if let Expr::List(list) = target {
            return list.items.iter().try_for_each(|item| self.variable(item, state));
        }
        match variable(target) {
            Some(name) if !matches!(name, "messages" | "loop") && !self.is_namespace(name, state) => {
                state.locals.insert(name.to_owned(), Symbol::Unknown);
                Ok(())
            }
            _ => Err(Refusal("the template sets something unknown".to_owned())),
        }
    }

    fn is_namespace(&self, name: &str, state: &State) -> bool {
        self.scenes.iter().any(|scene| matches!(scene.named(state, name), Symbol::Namespace(_)))
    }

    /// The truth of an expression that it has whatever comes later.
    fn agreed(&self, expr: &Expr<'_>, state: &State) -> Option<bool> {
        let mut truths = self.scenes.iter().map(|scene| {
            let cases = scene.truth(expr, state.clone()).ok()?;
            match cases.as_slice() {
                [(_, truth)] => *truth,
                _ => None,
            }
        });
        let first = truths.next()??;
        truths.all(|truth| truth == Some(first)).then_some(first)
    }

    /// Refuses an expression that looks ahead, unless it comes to the same.
    pub(super) fn expression(&self, expr: &Expr<'_>, state: &State) -> Result<(), Refusal> {
        let comes_to_the_same = matches!(expr, Expr::BinOp(_) | Expr::Compare(_) | Expr::UnaryOp(_));
        if comes_to_the_same && self.agreed(expr, state).is_some() {
            return Ok(());
        }
        let ahead = |what: &str| Err(Refusal(format!("the template asks for {what} at any message")));
        let forward = self.scenes.iter().all(|scene| scene.within == Loop::Forward);
        if let Some((of, name)) = attribute(expr) {
            let symbol =
                self.scenes.first().map(|scene| scene.named(state, variable(of).unwrap_or_default()));
            match symbol {
                Some(Symbol::Loop)
                    if forward && matches!(name.as_str(), "first" | "index" | "index0" | "previtem") =>
                {
                    return Ok(());
                }
                Some(Symbol::Namespace(namespace)) => {
                    let key = (namespace, name);
                    let counts = |scene: &Scene<'_>| {
                        scene.facts.last_query.as_ref() == Some(&key) || scene.facts.counted.contains(&key)
                    };
                    return if self.scenes.iter().any(counts) { ahead("how many there are") } else { Ok(()) };
                }
                _ if is_var(of, "loop") && self.scenes.iter().any(|scene| scene.within != Loop::Other) => {
                    return ahead(&format!("loop.{name}"));
                }
                _ => {}
            }
        }
        match expr {
            Expr::Var(var) if var.id == "messages" => return ahead("messages"),
            Expr::Var(var) if FICKLE_FUNCTIONS.contains(&var.id) => {
                return Err(Refusal(format!("the template calls {}", var.id)));
            }
            Expr::Var(var) if self.is_namespace(var.id, state) => return ahead("a whole namespace"),
            Expr::Var(var)
                if var.id == "loop" && self.scenes.iter().any(|scene| scene.within != Loop::Other) =>
            {
                return ahead("the loop");
            }
            Expr::GetItem(get) if is_var(&get.expr, "messages") => {
                let index = &get.subscript_expr;
                // Before the first stands the last.
                let before = forward
                    && self.scenes.iter().all(|scene| !scene.first)
                    && is_difference(index, is_index, |back| is_at_least(back, 1) && !is_at_least(back, 2));
                let first = index.as_const().is_some_and(|index| is_number(&index, 0));
                return if before || first { Ok(()) } else { ahead("another message") };
            }
            // Behind what settles the matter nothing is looked at.
            Expr::BinOp(op) if matches!(op.op, BinOpKind::ScAnd | BinOpKind::ScOr) => {
                let ends = matches!(op.op, BinOpKind::ScOr);
                for part in chain(expr, op.op) {
                    self.expression(part, state)?;
                    if self.agreed(part, state) == Some(ends) {
                        return Ok(());
                    }
                }
                return Ok(());
            }
            Expr::Call(_) => {
                if let Some((name, _)) = function(expr)
                    && !FUNCTIONS.contains(&name)
                {
                    return Err(Refusal(format!("the template calls {name}")));
                }
            }
            Expr::Filter(filter) if FICKLE_FILTERS.contains(&filter.name) => {
                return Err(Refusal(format!("the template uses {}", filter.name)));
            }
            _ => {}
        }
        operands(expr).into_iter().try_for_each(|part| self.expression(part, state))
    }
}
