//! `IN (SELECT …)` and `EXISTS (SELECT …)`. The engine joins them where they are conditions of their own, or are combined by `AND` and `OR`;
//! there NULL and false are the same to it. Elsewhere they become values.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, SelectItem, SetExpr,
    UnaryOperator, Value,
};

use super::{
    make::{function, number, query_of, take},
    own,
    subqueries::{array_of, columns_of, gives_one_row, is_ungrouped, query_from, unnests, value_of},
};

/// `EXISTS` and `IN` of a subquery that has one row whatever the tables hold.
pub(super) fn of_one_row(expression: &mut Expr) -> Option<Expr> {
    match expression {
        Expr::Exists { subquery, negated } if gives_one_row(subquery) => {
            Some(Expr::Value(Value::Boolean(!*negated).into()))
        }
        Expr::InSubquery { expr, subquery, negated }
            if gives_one_row(subquery) && columns_of(&subquery.body) == Some(1) =>
        {
            let op = if *negated { BinaryOperator::NotEq } else { BinaryOperator::Eq };
            Some(nested(
                take(expr),
                op,
                Expr::Subquery(Box::new(std::mem::replace(&mut **subquery, query_of(Vec::new())))),
            ))
        }
        _ => None,
    }
}

/// Makes values of all that stand in an expression.
pub(super) fn settle_values(expression: &mut Expr) {
    own::change(expression, |inner| {
        let made = match inner {
            Expr::Exists { subquery, negated } => {
                let op = if *negated { BinaryOperator::Eq } else { BinaryOperator::Gt };
                Some(nested(count_of(subquery), op, number(0)))
            }
            Expr::InSubquery { expr, subquery, negated } if !matches!(**expr, Expr::Tuple(_)) => array_of(subquery)
                .map(|array| {
                    let is_in = function("pilaster_any_eq", vec![take(expr), array]);
                    if *negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(is_in) } } else { is_in }
                }),
            _ => None,
        };
        if let Some(made) = made {
            *inner = made;
        }
    });
}

/// The same for a condition, `is_whole` where it is not part of an `OR`, where only those that the engine does not join are to be.
pub(super) fn settle_condition(condition: &mut Expr, is_whole: bool) {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            settle_condition(left, is_whole);
            settle_condition(right, is_whole);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
            settle_condition(left, false);
            settle_condition(right, false);
        }
        Expr::Nested(inner) => settle_condition(inner, is_whole),
        Expr::InSubquery { expr, subquery, negated: false } => {
            if let Expr::Tuple(row) = &mut **expr
                && let Some(made) = row_of(row, subquery)
            {
                *condition = made;
            }
        }
        Expr::InSubquery { negated: true, .. } if is_whole => {}
        Expr::InSubquery { expr, subquery, negated: true } => {
            if let Some(made) = none_of(expr, subquery) {
                *condition = made;
            }
        }
        Expr::Exists { .. } => {}
        other => settle_values(other),
    }
}

/// How many rows there are.
fn count_of(query: &mut Query) -> Expr {
    let mut count = function("count", Vec::new());
    if let Expr::Function(call) = &mut count
        && let FunctionArguments::List(list) = &mut call.args
    {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)];
    }
    let items = vec![SelectItem::UnnamedExpr(count)];
    let is_plain = query.limit_clause.is_none() && query.fetch.is_none() && query.with.is_none();
    if let SetExpr::Select(select) = &mut *query.body
        && is_plain
        && is_ungrouped(select)
        && !select.projection.iter().filter_map(value_of).any(unnests)
    {
        select.projection = items;
        query.order_by = None;
        return Expr::Subquery(Box::new(std::mem::replace(query, query_of(Vec::new()))));
    }
    Expr::Subquery(Box::new(query_from(items, query, Vec::new())))
}

/// `(a, b) IN (SELECT …)` as `EXISTS`.
fn row_of(row: &mut Vec<Expr>, query: &mut Query) -> Option<Expr> {
    if columns_of(&query.body) != Some(row.len()) {
        return None;
    }
    let names: Vec<Ident> =
        (0..row.len()).map(|place| Ident::with_quote('"', format!("\u{1f}member {place}"))).collect();
    let pairs = std::mem::take(row).into_iter().zip(&names);
    let pairs = pairs.map(|(value, name)| nested(Expr::Identifier(name.clone()), BinaryOperator::Eq, value));
    let are_equal = pairs.reduce(|left, right| nested(left, BinaryOperator::And, right));
    let mut made = query_from(vec![SelectItem::UnnamedExpr(number(1))], query, names);
    if let SetExpr::Select(select) = &mut *made.body {
        select.selection = are_equal;
    }
    Some(Expr::Exists { subquery: Box::new(made), negated: false })
}

/// `x NOT IN (SELECT …)` where the engine forgets about NULL: nothing is in what is empty, and nobody knows what is in one with a NULL.
fn none_of(value: &mut Expr, query: &mut Query) -> Option<Expr> {
    if matches!(value, Expr::Tuple(_)) || columns_of(&query.body) != Some(1) {
        return None;
    }
    let name = Ident::with_quote('"', "\u{1f}member");
    let counted = |condition: Option<Expr>| {
        let mut inner = query.clone();
        let mut count = query_from(Vec::new(), &mut inner, vec![name.clone()]);
        if let SetExpr::Select(select) = &mut *count.body {
            select.selection = condition;
        }
        nested(count_of(&mut count), BinaryOperator::Eq, number(0))
    };
    let is_empty = counted(None);
    let has_no_null = counted(Some(Expr::IsNull(Box::new(Expr::Identifier(name.clone())))));
    let value = take(value);
    let is_known = Expr::IsNotNull(Box::new(Expr::Nested(Box::new(value.clone()))));
    let is_out = Expr::InSubquery {
        expr: Box::new(value),
        subquery: Box::new(std::mem::replace(query, query_of(Vec::new()))),
        negated: true,
    };
    let is_none = nested(nested(is_known, BinaryOperator::And, is_out), BinaryOperator::And, has_no_null);
    Some(nested(is_empty, BinaryOperator::Or, is_none))
}

fn nested(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }))
}
