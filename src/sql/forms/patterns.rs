//! `LIKE`, `SIMILAR TO` and `IS NORMALIZED`.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value, ValueWithSpan,
};

use super::make::{function, take, text};

/// The form as a call; none where the engine's own does what Postgres does.
pub(super) fn rewrite(expression: &mut Expr) -> Option<Expr> {
    match expression {
        Expr::Like { negated, any, expr, pattern, escape_char } => {
            let name = if *negated { "!~~" } else { "~~" };
            like(name, *any, expr, pattern, escape_char.take())
        }
        Expr::ILike { negated, any, expr, pattern, escape_char } => {
            let name = if *negated { "!~~*" } else { "~~*" };
            like(name, *any, expr, pattern, escape_char.take())
        }
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            let escape = escape_char.take().map(Expr::Value);
            let arguments = [Some(take(pattern)), escape].into_iter().flatten().collect();
            let pattern = function("similar_to_escape", arguments);
            Some(function(if *negated { "!~" } else { "~" }, vec![take(expr), pattern]))
        }
        Expr::IsNormalized { expr, form, negated } => {
            let form = form.as_ref().map(|form| text(&form.to_string()));
            let is = function("is_normalized", [Some(take(expr)), form].into_iter().flatten().collect());
            Some(if *negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(is) } } else { is })
        }
        _ => None,
    }
}

fn like(name: &str, any: bool, value: &mut Expr, pattern: &mut Expr, escape: Option<ValueWithSpan>) -> Option<Expr> {
    if any {
        return any_of(name, "any", value, pattern);
    }
    if let Expr::Function(call) = &mut *pattern
        && call.name.to_string().eq_ignore_ascii_case("all")
        && let FunctionArguments::List(list) = &mut call.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(patterns))) = list.args.first_mut()
    {
        return any_of(name, "all", value, patterns);
    }
    if let Some(escape) = escape {
        let pattern = function("like_escape", vec![take(pattern), Expr::Value(escape)]);
        return Some(function(name, vec![take(value), pattern]));
    }
    let is_plain = match &*pattern {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(pattern) => !pattern.ends_with('\\'),
            _ => true,
        },
        _ => false,
    };
    (!is_plain).then(|| function(name, vec![take(value), take(pattern)]))
}

/// `x LIKE ANY (…)`: of an array, or of patterns one after the other.
fn any_of(name: &str, quantifier: &str, value: &mut Expr, pattern: &mut Expr) -> Option<Expr> {
    let patterns = match pattern {
        Expr::Tuple(patterns) => std::mem::take(patterns),
        array => {
            let which = match name {
                "~~" => "like",
                "!~~" => "not_like",
                "~~*" => "ilike",
                _ => "not_ilike",
            };
            return Some(function(&format!("pilaster_{quantifier}_{which}"), vec![take(value), take(array)]));
        }
    };
    let value = take(value);
    patterns
        .into_iter()
        .map(|pattern| function(name, vec![value.clone(), pattern]))
        .reduce(|left, right| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Or, right: Box::new(right) })
}
