//! What expressions come to.

use minijinja::Value;
use minijinja::machinery::ast::{
    BinOpKind, CallArg, CallType, CompareOpKind, Expr, Filter, Test as Is, UnaryOpKind,
};
use minijinja::value::ValueKind;

use super::frame::{Content, Piece, Step, Test};
use super::symbols::{Loop, Next, Outcomes, Refusal, Scene, State, Symbol};
use super::syntax::{attribute, comparison, function, is_at_least, is_index, is_number, text};

/// More ways to come to an expression's end are not followed.
const WAYS_MAX: usize = 64;

/// Texts of more pieces, as come about where one is added to itself, are not followed.
const PIECES_MAX: usize = 256;

impl Scene<'_> {
    pub(super) fn value(&self, expr: &Expr<'_>, state: State) -> Outcomes<Symbol> {
        let outcomes = self.evaluate(expr, state)?;
        if outcomes.len() > WAYS_MAX {
            return Err(Refusal("too many cases".to_owned()));
        }
        Ok(outcomes)
    }

    /// The truth of an expression in each case.
    pub(super) fn truth(&self, expr: &Expr<'_>, state: State) -> Outcomes<Option<bool>> {
        let outcomes = self.value(expr, state)?;
        Ok(outcomes.into_iter().flat_map(|(state, symbol)| state.truth(&symbol)).collect())
    }

    fn evaluate(&self, expr: &Expr<'_>, state: State) -> Outcomes<Symbol> {
        let one = |state, symbol| Ok(vec![(state, symbol)]);
        if let Some(value) = expr.as_const() {
            return one(state, Symbol::Constant(value));
        }
        if let Some((of, name)) = attribute(expr) {
            return self.map(of, state, |state, of| self.attribute(state, of, &name));
        }
        if let Some((op, left, right)) = comparison(expr) {
            return self.map2(left, right, state, |left, right| self.compare(op, left, right));
        }
        match expr {
            Expr::Var(var) => {
                let symbol = self.named(&state, var.id);
                one(state, symbol)
            }
            Expr::GetItem(get) => match self.next_message(&get.expr, &get.subscript_expr, &state) {
                Some(symbol) => one(state, symbol),
                None => self.map2(&get.expr, &get.subscript_expr, state, part),
            },
            Expr::UnaryOp(op) if matches!(op.op, UnaryOpKind::Not) => {
                let not = |truth: Option<bool>| truth.map_or(Symbol::Unknown, |truth| Symbol::bool(!truth));
                let outcomes = self.truth(&op.expr, state)?;
                Ok(outcomes.into_iter().map(|(state, truth)| (state, not(truth))).collect())
            }
            Expr::BinOp(op) => match op.op {
                BinOpKind::ScAnd => self.either(&op.left, &op.right, false, state),
                BinOpKind::ScOr => self.either(&op.left, &op.right, true, state),
                BinOpKind::Add | BinOpKind::Concat => self.map2(&op.left, &op.right, state, joined),
                _ => one(state, Symbol::Unknown),
            },
            Expr::IfExpr(choice) => {
                let mut outcomes = Vec::new();
                for (state, truth) in self.truth(&choice.test_expr, state)? {
                    match (truth, &choice.false_expr) {
                        (Some(true), _) => outcomes.extend(self.value(&choice.true_expr, state)?),
                        (Some(false), Some(other)) => outcomes.extend(self.value(other, state)?),
                        (Some(false), None) => outcomes.push((state, Symbol::undefined())),
                        (None, _) => outcomes.push((state, Symbol::Unknown)),
                    }
                }
                Ok(outcomes)
            }
            Expr::Filter(filter) => match &filter.expr {
                Some(of) => self.map(of, state, |_, of| filtered(filter, of)),
                None => one(state, Symbol::Unknown),
            },
            Expr::Test(test) => self.map(&test.expr, state, |_, of| tested(test, of)),
            Expr::Call(call) => match call.identify_call() {
                CallType::Method(of, name) => {
                    self.map(of, state, |state, of| self.called(state, of, name, &call.args))
                }
                _ if function(expr).is_some_and(|(name, _)| name == "raise_exception") => {
                    Err(Refusal("an exception is raised".to_owned()))
                }
                _ => one(state, Symbol::Unknown),
            },
            _ => one(state, Symbol::Unknown),
        }
    }

    fn map(
        &self,
        expr: &Expr<'_>,
        state: State,
        change: impl Fn(&State, &Symbol) -> Symbol,
    ) -> Outcomes<Symbol> {
        let outcomes = self.value(expr, state)?;
        Ok(outcomes
            .into_iter()
            .map(|(state, symbol)| {
                let changed = change(&state, &symbol);
                (state, changed)
            })
            .collect())
    }

    fn map2(
        &self,
        left: &Expr<'_>,
        right: &Expr<'_>,
        state: State,
        change: impl Fn(&Symbol, &Symbol) -> Symbol,
    ) -> Outcomes<Symbol> {
        let mut outcomes = Vec::new();
        for (state, left) in self.value(left, state)? {
            outcomes.extend(self.map(right, state, |_, right| change(&left, right))?);
        }
        Ok(outcomes)
    }

    /// `and`, or `or`, which ends with its left side if that has the truth `ends`.
    fn either(&self, left: &Expr<'_>, right: &Expr<'_>, ends: bool, state: State) -> Outcomes<Symbol> {
        let mut outcomes = Vec::new();
        for (state, symbol) in self.value(left, state)? {
            for (state, truth) in state.truth(&symbol) {
                match truth {
                    Some(truth) if truth == ends => outcomes.push((
                        state,
                        match &symbol {
                            Symbol::Answer(_) => Symbol::bool(ends),
                            // Empty, as it is not true.
                            Symbol::Text(_) if !ends => Symbol::Text(Vec::new()),
                            symbol => symbol.clone(),
                        },
                    )),
                    Some(_) => outcomes.extend(self.value(right, state)?),
                    None => outcomes.push((state, Symbol::Unknown)),
                }
            }
        }
        Ok(outcomes)
    }

    pub(super) fn named(&self, state: &State, name: &str) -> Symbol {
        if let Some(symbol) = state.locals.get(name) {
            return symbol.clone();
        }
        match name {
            _ if name == self.target => self.message.map_or(Symbol::Unknown, Symbol::Message),
            "messages" => Symbol::Messages,
            "loop" if self.within == Loop::Forward => Symbol::Loop,
            _ if self.facts.namespaces.iter().any(|known| known == name) => {
                Symbol::Namespace(name.to_owned())
            }
            _ => Symbol::Unknown,
        }
    }

    /// `messages[loop.index0 + 1]`
    fn next_message(&self, of: &Expr<'_>, index: &Expr<'_>, state: &State) -> Option<Symbol> {
        let Expr::Var(var) = of else { return None };
        let Expr::BinOp(op) = index else { return None };
        let is_next = matches!(op.op, BinOpKind::Add)
            && is_index(&op.left)
            && is_at_least(&op.right, 1)
            && !is_at_least(&op.right, 2)
            && self.named(state, "loop") == Symbol::Loop
            && self.named(state, var.id) == Symbol::Messages;
        match self.next {
            Next::Message(kind) if is_next => Some(Symbol::Message(kind)),
            _ => None,
        }
    }

    fn attribute(&self, state: &State, of: &Symbol, name: &str) -> Symbol {
        match of {
            Symbol::Message(kind) => match name {
                "role" => Symbol::Constant(kind.role().into()),
                "content" => Symbol::Text(vec![Piece::Content(Content::default())]),
                field if kind.has(field) => Symbol::OtherText,
                "name" => Symbol::Unknown,
                _ => Symbol::undefined(),
            },
            Symbol::Loop => match (name, self.next) {
                ("first", _) => Symbol::bool(self.first),
                ("index0", _) => Symbol::Index,
                ("last", Next::Nothing) => Symbol::bool(true),
                ("last", Next::Message(_)) => Symbol::bool(false),
                _ => Symbol::Unknown,
            },
            Symbol::Namespace(namespace) => {
                let key = (namespace.clone(), name.to_owned());
                if self.facts.last_query.as_ref() == Some(&key) {
                    return Symbol::LastQuery;
                }
                state.attributes.get(&key).map_or(Symbol::Unknown, |value| Symbol::Constant(value.clone()))
            }
            _ => Symbol::Unknown,
        }
    }

    fn compare(&self, op: CompareOpKind, left: &Symbol, right: &Symbol) -> Symbol {
        use CompareOpKind::{Eq, Gt, Gte, In, Lt, Lte, Ne, NotIn};
        match (op, left, right) {
            (Ne, ..) => inverted(&self.compare(Eq, left, right)),
            (NotIn, ..) => inverted(&self.compare(In, left, right)),
            (Eq, Symbol::Constant(left), Symbol::Constant(right)) => Symbol::bool(left == right),
            (Eq, text, Symbol::Constant(value)) | (Eq, Symbol::Constant(value), text) if text.is_text() => {
                match (value.as_str(), text.content()) {
                    (None, _) => Symbol::bool(false),
                    (Some(""), Some(content)) => Symbol::Answer(Test::Empty(content.clone())),
                    _ => Symbol::Unknown,
                }
            }
            (In, Symbol::Constant(part), text) if text.is_text() => match (part.as_str(), text.content()) {
                (Some(part), Some(content)) => {
                    Symbol::Answer(Test::Contains(content.clone(), part.to_owned()))
                }
                _ => Symbol::Unknown,
            },
            (In, Symbol::Constant(key), Symbol::Message(kind)) => match key.as_str() {
                Some("role" | "content") => Symbol::bool(true),
                Some("name") | None => Symbol::Unknown,
                Some(field) => Symbol::bool(kind.has(field)),
            },
            (In, Symbol::Constant(one), Symbol::Constant(list))
                if list.as_str().is_none() && !list.is_none() =>
            {
                match list.try_iter() {
                    Ok(mut items) => Symbol::bool(items.any(|item| item == *one)),
                    Err(_) => Symbol::Unknown,
                }
            }
            // All that is looked at stands before the last query, or is it.
            (Gt, Symbol::Index, Symbol::LastQuery) | (Lt, Symbol::LastQuery, Symbol::Index) => {
                Symbol::bool(false)
            }
            (Lte, Symbol::Index, Symbol::LastQuery) | (Gte, Symbol::LastQuery, Symbol::Index) => {
                Symbol::bool(true)
            }
            (Eq, Symbol::Index, Symbol::Constant(zero)) if is_number(zero, 0) => Symbol::bool(self.first),
            (Gt, Symbol::Index, Symbol::Constant(zero)) if is_number(zero, 0) => Symbol::bool(!self.first),
            _ => Symbol::Unknown,
        }
    }

    fn called(&self, state: &State, of: &Symbol, name: &str, args: &[CallArg<'_>]) -> Symbol {
        let mut texts = Vec::new();
        for arg in args {
            match arg {
                CallArg::Pos(expr) => texts.extend(text(expr)),
                _ => return Symbol::Unknown,
            }
        }
        if texts.len() != args.len() || texts.len() > 1 {
            return Symbol::Unknown;
        }
        let argument = texts.pop();
        if let (Symbol::Message(_), "get", Some(key)) = (of, name, &argument) {
            return match self.attribute(state, of, key) {
                Symbol::Constant(value) if value.is_undefined() => Symbol::Constant(Value::from(())),
                symbol => symbol,
            };
        }
        let Some(content) = of.content() else { return Symbol::Unknown };
        let strip = |start, end| stripped(content, start, end, argument.clone());
        match (name, &argument) {
            ("strip", _) => strip(true, true),
            ("lstrip", _) => strip(true, false),
            ("rstrip", _) => strip(false, true),
            ("split", Some(separator)) if !separator.is_empty() => {
                Symbol::Split(content.clone(), separator.clone())
            }
            ("startswith", Some(part)) => Symbol::Answer(Test::StartsWith(content.clone(), part.clone())),
            ("endswith", Some(part)) => Symbol::Answer(Test::EndsWith(content.clone(), part.clone())),
            _ => Symbol::Unknown,
        }
    }
}

fn inverted(symbol: &Symbol) -> Symbol {
    match symbol {
        Symbol::Constant(value) => Symbol::bool(!value.is_true()),
        // An answer could be turned round, but nobody asks so.
        _ => Symbol::Unknown,
    }
}

fn stripped(content: &Content, start: bool, end: bool, characters: Option<String>) -> Symbol {
    Symbol::Text(vec![Piece::Content(content.then(Step::Strip { start, end, characters }))])
}

/// `split(..)[0]` and `split(..)[-1]`
fn part(of: &Symbol, index: &Symbol) -> Symbol {
    let (Symbol::Split(content, separator), Symbol::Constant(index)) = (of, index) else {
        return Symbol::Unknown;
    };
    let step = match i64::try_from(index.clone()) {
        Ok(0) => Step::First(separator.clone()),
        Ok(-1) => Step::Last(separator.clone()),
        _ => return Symbol::Unknown,
    };
    Symbol::Text(vec![Piece::Content(content.then(step))])
}

fn joined(left: &Symbol, right: &Symbol) -> Symbol {
    let pieces = |symbol: &Symbol| match symbol {
        // Nothing is added to what is not there.
        Symbol::Constant(value) if value.is_undefined() => None,
        symbol => symbol.pieces(),
    };
    match (pieces(left), pieces(right)) {
        (Some(left), Some(right)) if left.len() + right.len() <= PIECES_MAX => {
            Symbol::Text([left, right].concat())
        }
        _ => Symbol::Unknown,
    }
}

fn filtered(filter: &Filter<'_>, of: &Symbol) -> Symbol {
    match (filter.name, of.content()) {
        ("trim", Some(content)) if filter.args.is_empty() => stripped(content, true, true, None),
        ("string", _) if filter.args.is_empty() && of.is_text() => of.clone(),
        _ => Symbol::Unknown,
    }
}

fn tested(test: &Is<'_>, of: &Symbol) -> Symbol {
    if !test.args.is_empty() {
        return Symbol::Unknown;
    }
    let value = match of {
        Symbol::Constant(value) => match test.name {
            "defined" => !value.is_undefined(),
            "undefined" => value.is_undefined(),
            "none" => value.is_none(),
            "string" => value.as_str().is_some(),
            "true" => *value == Value::from(true) && value.kind() == ValueKind::Bool,
            "false" => *value == Value::from(false) && value.kind() == ValueKind::Bool,
            _ => return Symbol::Unknown,
        },
        text if text.is_text() => match test.name {
            "defined" | "string" => true,
            "undefined" | "none" | "mapping" | "true" | "false" => false,
            _ => return Symbol::Unknown,
        },
        Symbol::Message(_) => match test.name {
            "defined" | "mapping" => true,
            "undefined" | "none" | "string" => false,
            _ => return Symbol::Unknown,
        },
        _ => return Symbol::Unknown,
    };
    Symbol::bool(value)
}
