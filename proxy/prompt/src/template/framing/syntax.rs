//! Looking at a template's syntax tree.

use minijinja::Value;
use minijinja::machinery::ast::{BinOpKind, CallArg, CallType, CompareOpKind, Expr, Stmt};

/// What a lookup by a fixed name is of, and the name: `a.b`, `a['b']`.
pub(super) fn attribute<'e, 's>(expr: &'e Expr<'s>) -> Option<(&'e Expr<'s>, String)> {
    match expr {
        Expr::GetAttr(get) => Some((&get.expr, get.name.to_owned())),
        Expr::GetItem(get) => Some((&get.expr, text(&get.subscript_expr)?)),
        _ => None,
    }
}

/// A constant text.
pub(super) fn text(expr: &Expr<'_>) -> Option<String> {
    expr.as_const()?.as_str().map(str::to_owned)
}

pub(super) fn is_var(expr: &Expr<'_>, name: &str) -> bool {
    variable(expr) == Some(name)
}

pub(super) fn variable<'s>(expr: &Expr<'s>) -> Option<&'s str> {
    match expr {
        Expr::Var(var) => Some(var.id),
        _ => None,
    }
}

/// Whether it is `left - right`, with what each side has to be.
pub(super) fn is_difference(
    expr: &Expr<'_>,
    left: impl Fn(&Expr<'_>) -> bool,
    right: impl Fn(&Expr<'_>) -> bool,
) -> bool {
    matches!(expr, Expr::BinOp(op) if matches!(op.op, BinOpKind::Sub) && left(&op.left) && right(&op.right))
}

/// Whether it is a whole number of at least this.
pub(super) fn is_at_least(expr: &Expr<'_>, minimum: i64) -> bool {
    expr.as_const().and_then(|value| i64::try_from(value).ok()).is_some_and(|number| number >= minimum)
}

pub(super) fn is_number(value: &Value, number: i64) -> bool {
    value.is_integer() && i64::try_from(value.clone()).is_ok_and(|value| value == number)
}

/// `loop.index0`
pub(super) fn is_index(expr: &Expr<'_>) -> bool {
    attribute(expr).is_some_and(|(of, name)| is_var(of, "loop") && name == "index0")
}

/// The function that is called by its name.
pub(super) fn function<'e, 's>(expr: &'e Expr<'s>) -> Option<(&'s str, &'e [CallArg<'s>])> {
    let Expr::Call(call) = expr else { return None };
    match call.identify_call() {
        CallType::Function(name) => Some((name, &call.args)),
        _ => None,
    }
}

/// A comparison of two values.
pub(super) fn comparison<'e, 's>(expr: &'e Expr<'s>) -> Option<(CompareOpKind, &'e Expr<'s>, &'e Expr<'s>)> {
    match expr {
        Expr::Compare(compare) => match compare.ops.as_slice() {
            [only] => Some((only.op, &compare.expr, &only.expr)),
            _ => None,
        },
        Expr::BinOp(op) => {
            let kind = match op.op {
                BinOpKind::Eq => CompareOpKind::Eq,
                BinOpKind::Ne => CompareOpKind::Ne,
                BinOpKind::Lt => CompareOpKind::Lt,
                BinOpKind::Lte => CompareOpKind::Lte,
                BinOpKind::Gt => CompareOpKind::Gt,
                BinOpKind::Gte => CompareOpKind::Gte,
                BinOpKind::In => CompareOpKind::In,
                _ => return None,
            };
            Some((kind, &op.left, &op.right))
        }
        _ => None,
    }
}

/// The parts of `a and b and c`, or of the same with `or`, in order.
pub(super) fn chain<'e, 's>(expr: &'e Expr<'s>, of: BinOpKind) -> Vec<&'e Expr<'s>> {
    match expr {
        Expr::BinOp(op) if std::mem::discriminant(&op.op) == std::mem::discriminant(&of) => {
            [chain(&op.left, of), chain(&op.right, of)].concat()
        }
        other => vec![other],
    }
}

/// The expressions that an expression is made of.
pub(super) fn operands<'e, 's>(expr: &'e Expr<'s>) -> Vec<&'e Expr<'s>> {
    fn arguments<'e, 's>(args: &'e [CallArg<'s>]) -> impl Iterator<Item = &'e Expr<'s>> {
        args.iter().map(|arg| match arg {
            CallArg::Pos(expr)
            | CallArg::Kwarg(_, expr)
            | CallArg::PosSplat(expr)
            | CallArg::KwargSplat(expr) => expr,
        })
    }
    match expr {
        Expr::Var(_) | Expr::Const(_) => Vec::new(),
        Expr::Slice(slice) => {
            let bounds = [&slice.start, &slice.stop, &slice.step];
            std::iter::once(&slice.expr).chain(bounds.into_iter().flatten()).collect()
        }
        Expr::UnaryOp(op) => vec![&op.expr],
        Expr::BinOp(op) => vec![&op.left, &op.right],
        Expr::Compare(compare) => {
            std::iter::once(&compare.expr).chain(compare.ops.iter().map(|op| &op.expr)).collect()
        }
        Expr::IfExpr(choice) => {
            [&choice.test_expr, &choice.true_expr].into_iter().chain(&choice.false_expr).collect()
        }
        Expr::Filter(filter) => filter.expr.iter().chain(arguments(&filter.args)).collect(),
        Expr::Test(test) => std::iter::once(&test.expr).chain(arguments(&test.args)).collect(),
        Expr::GetAttr(get) => vec![&get.expr],
        Expr::GetItem(get) => vec![&get.expr, &get.subscript_expr],
        Expr::Call(call) => std::iter::once(&call.expr).chain(arguments(&call.args)).collect(),
        Expr::List(list) => list.items.iter().collect(),
        Expr::Map(map) => map.keys.iter().chain(&map.values).collect(),
    }
}

/// Whether some variable in it, at any depth, is of this kind.
pub(super) fn mentions(expr: &Expr<'_>, is_meant: &impl Fn(&str) -> bool) -> bool {
    variable(expr).is_some_and(is_meant) || operands(expr).into_iter().any(|part| mentions(part, is_meant))
}

/// The statements directly inside of one, as far as their order and number can be told.
pub(super) fn bodies<'e, 's>(statement: &'e Stmt<'s>) -> Vec<&'e [Stmt<'s>]> {
    match statement {
        Stmt::ForLoop(each) => vec![&each.body, &each.else_body],
        Stmt::IfCond(choice) => vec![&choice.true_body, &choice.false_body],
        Stmt::WithBlock(with) => vec![&with.body],
        Stmt::SetBlock(set) => vec![&set.body],
        _ => Vec::new(),
    }
}

/// The expressions directly in a statement. Of what [`bodies`] does not know there are none.
pub(super) fn expressions<'e, 's>(statement: &'e Stmt<'s>) -> Vec<&'e Expr<'s>> {
    match statement {
        Stmt::EmitExpr(emit) => vec![&emit.expr],
        Stmt::ForLoop(each) => [&each.target, &each.iter].into_iter().chain(&each.filter_expr).collect(),
        Stmt::IfCond(choice) => vec![&choice.expr],
        Stmt::WithBlock(with) => {
            with.assignments.iter().flat_map(|(target, value)| [target, value]).collect()
        }
        Stmt::Set(set) => vec![&set.target, &set.expr],
        Stmt::SetBlock(set) => std::iter::once(&set.target).chain(&set.filter).collect(),
        _ => Vec::new(),
    }
}

/// The variables that an assignment sets: several, if to a list.
pub(super) fn assigned(target: &Expr<'_>) -> Vec<String> {
    match target {
        Expr::List(list) => list.items.iter().flat_map(assigned).collect(),
        one => variable(one).map(str::to_owned).into_iter().collect(),
    }
}

/// Whether something may be printed there. Of what [`bodies`] does not know it is said too.
pub(super) fn prints(statements: &[Stmt<'_>]) -> bool {
    statements.iter().any(|statement| match statement {
        Stmt::EmitRaw(raw) => !raw.raw.is_empty(),
        Stmt::Set(_) | Stmt::SetBlock(_) => false,
        Stmt::ForLoop(_) | Stmt::IfCond(_) | Stmt::WithBlock(_) => bodies(statement).into_iter().any(prints),
        _ => true,
    })
}

/// The attributes that are set at any depth, as variable and name, once for each place.
pub(super) fn writes(statements: &[Stmt<'_>]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for statement in statements {
        let target = match statement {
            Stmt::Set(set) => Some(&set.target),
            Stmt::SetBlock(set) => Some(&set.target),
            _ => None,
        };
        if let Some((of, name)) = target.and_then(attribute) {
            found.push((variable(of).unwrap_or_default().to_owned(), name));
        }
        bodies(statement).into_iter().for_each(|body| found.extend(writes(body)));
    }
    found
}
