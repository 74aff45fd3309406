//! Subqueries in expressions, in forms that the engine can join: it takes those that aggregate, wherever they stand.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArgumentClause, FunctionArguments, GroupByExpr, Ident, LimitClause,
    OrderByExpr, OrderByKind, OrderByOptions, Query, Select, SelectItem, SetExpr, TableAlias, TableAliasColumnDef,
    TableFactor, TableWithJoins, Value, WindowSpec, WindowType,
};

use super::{
    calls,
    make::{function, query_of, take},
    own,
};
use crate::sql::{functions::is_aggregate, labels::folded, single::SINGLE};

/// `(SELECT x FROM …)`, which is to be one row: an aggregate that sees to that.
pub(super) fn scalar(query: &mut Query) {
    if gives_one_row(query) || columns_of(&query.body) != Some(1) {
        return;
    }
    let limit = limit_of(query);
    let is_plain = !matches!(limit, Limit::Other) && plain(query).is_some_and(|select| !select.from.is_empty());
    if !is_plain {
        let value = Ident::with_quote('"', "\u{1f}single");
        let items = vec![SelectItem::UnnamedExpr(function(SINGLE, vec![Expr::Identifier(value.clone())]))];
        *query = query_from(items, query, vec![value]);
        return;
    }
    let order = query.order_by.take().map(|order| order.kind);
    query.limit_clause = None;
    let Some((value, alias)) = plain(query).and_then(only_item) else { return };
    let made = match (limit, order) {
        (Limit::One, order) => ordered("first_value", take(value), order, alias.as_ref()),
        _ => function(SINGLE, vec![take(value)]),
    };
    *value = made;
}

/// Whether there is one row whatever the tables hold: an aggregate of all rows, or no table at all.
pub(super) fn gives_one_row(query: &Query) -> bool {
    let SetExpr::Select(select) = &*query.body else { return false };
    let is_bare = select.from.is_empty() && select.selection.is_none();
    let values = || select.projection.iter().filter_map(value_of);
    matches!(limit_of(query), Limit::None)
        && !has_groups(select)
        && select.having.is_none()
        && !values().any(unnests)
        && (is_bare || values().any(aggregates_all))
}

pub(super) fn value_of(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => Some(value),
        _ => None,
    }
}

/// The one value that is selected, and its alias.
fn only_item(select: &mut Select) -> Option<(&mut Expr, Option<Ident>)> {
    match select.projection.as_mut_slice() {
        [SelectItem::UnnamedExpr(value)] => Some((value, None)),
        [SelectItem::ExprWithAlias { expr, alias }] => Some((expr, Some(alias.clone()))),
        _ => None,
    }
}

/// An aggregate of values in the order of the query that they come from.
fn ordered(name: &str, value: Expr, order: Option<OrderByKind>, alias: Option<&Ident>) -> Expr {
    let mut call = function(name, vec![value.clone()]);
    if let (Expr::Function(call), Some(OrderByKind::Expressions(mut order))) = (&mut call, order)
        && let FunctionArguments::List(list) = &mut call.args
    {
        // The value itself has no place and no name any more.
        for sort in &mut order {
            if means(&sort.expr, alias) {
                sort.expr = value.clone();
            }
        }
        // A constant would be read as a position.
        order.retain(|sort| !matches!(sort.expr, Expr::Value(_)));
        if !order.is_empty() {
            list.clauses = vec![FunctionArgumentClause::OrderBy(order)];
        }
    }
    call
}

/// What a query is called that another has been made around.
pub(in crate::sql) const INNER: &str = "\u{1f}inner";

/// `SELECT items FROM (query) AS t (columns)`.
pub(super) fn query_from(items: Vec<SelectItem>, query: &mut Query, columns: Vec<Ident>) -> Query {
    let columns = columns.into_iter().map(|name| TableAliasColumnDef { name, data_type: None }).collect();
    let alias = TableAlias { explicit: true, name: Ident::with_quote('"', INNER), columns, at: None };
    let subquery = Box::new(std::mem::replace(query, query_of(Vec::new())));
    let relation = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
    let mut made = query_of(items);
    if let SetExpr::Select(select) = &mut *made.body {
        select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
    }
    made
}

/// How many columns there are; none where a `*` has to be looked into.
pub(super) fn columns_of(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(select) => {
            let is_one =
                |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
            select.projection.iter().all(is_one).then_some(select.projection.len())
        }
        SetExpr::Query(query) => columns_of(&query.body),
        SetExpr::SetOperation { left, .. } => columns_of(left),
        SetExpr::Values(values) => values.rows.first().map(|row| row.len()),
        _ => None,
    }
}

/// `x > ALL (SELECT …)` and `x = ANY (SELECT …)` with an array of what is selected.
pub(super) fn compared_as_whole(expression: &mut Expr) -> Option<Expr> {
    match expression {
        Expr::AnyOp { left, compare_op, right, .. } => compared("any", left, compare_op, right),
        Expr::AllOp { left, compare_op, right } => compared("all", left, compare_op, right),
        _ => None,
    }
}

fn compared(which: &str, left: &mut Expr, op: &BinaryOperator, right: &mut Expr) -> Option<Expr> {
    let Expr::Subquery(subquery) = right else { return None };
    if matches!(left, Expr::Tuple(_)) {
        return None;
    }
    let operator = operator_name(op)?;
    let array = array_of(subquery)?;
    Some(function(&format!("pilaster_{which}_{operator}"), vec![take(left), array]))
}

/// How the library calls a comparison with the elements of an array.
pub(super) const fn operator_name(op: &BinaryOperator) -> Option<&'static str> {
    Some(match op {
        BinaryOperator::Eq => "eq",
        BinaryOperator::NotEq => "ne",
        BinaryOperator::Lt => "lt",
        BinaryOperator::LtEq => "le",
        BinaryOperator::Gt => "gt",
        BinaryOperator::GtEq => "ge",
        BinaryOperator::PGLikeMatch => "like",
        BinaryOperator::PGNotLikeMatch => "not_like",
        BinaryOperator::PGILikeMatch => "ilike",
        BinaryOperator::PGNotILikeMatch => "not_ilike",
        BinaryOperator::PGRegexMatch => "match",
        BinaryOperator::PGRegexNotMatch => "not_match",
        BinaryOperator::PGRegexIMatch => "imatch",
        BinaryOperator::PGRegexNotIMatch => "not_imatch",
        _ => return None,
    })
}

/// All values of the subquery, in its order.
pub(super) fn array_of(query: &mut Query) -> Option<Expr> {
    if columns_of(&query.body) != Some(1) {
        return None;
    }
    let is_plain = matches!(limit_of(query), Limit::None) && !gives_one_row(query) && plain(query).is_some();
    if is_plain {
        let order = query.order_by.take().map(|order| order.kind);
        let (value, alias) = only_item(plain(query)?)?;
        *value = ordered("array_agg", take(value), order, alias.as_ref());
    } else {
        let value = Ident::with_quote('"', "\u{1f}element");
        let number = Ident::with_quote('"', "\u{1f}number");
        let mut array = function("array_agg", vec![Expr::Identifier(value.clone())]);
        let mut columns = vec![value.clone()];
        if let Some(sort) = numbered(query, &value, &number)
            && let Expr::Function(call) = &mut array
            && let FunctionArguments::List(list) = &mut call.args
        {
            if matches!(&sort.expr, Expr::Identifier(name) if *name == number) {
                columns.push(number);
            }
            list.clauses = vec![FunctionArgumentClause::OrderBy(vec![sort])];
        }
        *query = query_from(vec![SelectItem::UnnamedExpr(array)], query, columns);
    }
    let subquery = Expr::Subquery(Box::new(std::mem::replace(query, query_of(Vec::new()))));
    Some(function("pilaster_array_or_empty", vec![subquery]))
}

/// What the values of `query` are ordered by from outside: a number that they are given, or where only they can be ordered by, themselves.
fn numbered(query: &mut Query, value: &Ident, number: &Ident) -> Option<OrderByExpr> {
    let OrderByKind::Expressions(order) = &query.order_by.as_ref()?.kind else { return None };
    let mut order = order.clone();
    match &mut *query.body {
        SetExpr::Select(select) if select.distinct.is_none() => {
            let (item, alias) = only_item(select)?;
            for sort in &mut order {
                if means(&sort.expr, alias.as_ref()) {
                    sort.expr = item.clone();
                }
            }
            let mut call = function("row_number", Vec::new());
            if let Expr::Function(call) = &mut call {
                call.over = Some(WindowType::WindowSpec(WindowSpec {
                    window_name: None,
                    partition_by: Vec::new(),
                    order_by: order,
                    window_frame: None,
                }));
            }
            select.projection.push(SelectItem::ExprWithAlias { expr: call, alias: number.clone() });
            Some(ascending(number))
        }
        _ => {
            let [sort] = order.as_mut_slice() else { return None };
            sort.expr = Expr::Identifier(value.clone());
            order.pop()
        }
    }
}

fn ascending(name: &Ident) -> OrderByExpr {
    let options = OrderByOptions { asc: None, nulls_first: None };
    OrderByExpr { expr: Expr::Identifier(name.clone()), options, with_fill: None }
}

/// Whether `ORDER BY 1` or `ORDER BY alias` means the one value.
fn means(sort: &Expr, alias: Option<&Ident>) -> bool {
    match sort {
        Expr::Value(place) => matches!(place.value, Value::Number(..)),
        Expr::Identifier(name) => alias.is_some_and(|alias| folded(alias) == folded(name)),
        _ => false,
    }
}

enum Limit {
    None,
    One,
    Other,
}

fn limit_of(query: &Query) -> Limit {
    match (&query.limit_clause, &query.fetch) {
        (None, None) => Limit::None,
        (Some(LimitClause::LimitOffset { limit: Some(Expr::Value(value)), offset: None, limit_by }), None)
            if limit_by.is_empty() && matches!(&value.value, Value::Number(rows, _) if rows == "1") =>
        {
            Limit::One
        }
        _ => Limit::Other,
    }
}

/// The body, where it is a `SELECT` that neither groups nor removes rows that are equal.
fn plain(query: &mut Query) -> Option<&mut Select> {
    if query.with.is_some() {
        return None;
    }
    let SetExpr::Select(select) = &mut *query.body else { return None };
    let needs_all_rows = select.projection.iter().filter_map(value_of).any(aggregates);
    (is_ungrouped(select) && !needs_all_rows).then_some(select)
}

/// Whether there is a row for each of the tables'.
pub(super) fn is_ungrouped(select: &Select) -> bool {
    !has_groups(select) && select.distinct.is_none() && select.having.is_none()
}

fn has_groups(select: &Select) -> bool {
    match &select.group_by {
        GroupByExpr::Expressions(expressions, modifiers) => !expressions.is_empty() || !modifiers.is_empty(),
        GroupByExpr::All(_) => true,
    }
}

/// Whether it needs all rows, as a window does, too.
fn aggregates(expression: &Expr) -> bool {
    calls_any(expression, |call| call.over.is_some()) || aggregates_all(expression)
}

/// Whether it makes one row of all.
fn aggregates_all(expression: &Expr) -> bool {
    calls_any(expression, |call| {
        let name = call.name.to_string().to_lowercase();
        call.over.is_none() && (is_aggregate(&name) || calls::AGGREGATES.contains(&name.as_str()))
    })
}

/// Set-returning functions are this by now.
pub(super) fn unnests(expression: &Expr) -> bool {
    calls_any(expression, |call| call.name.to_string() == "unnest")
}

fn calls_any(expression: &Expr, is_it: fn(&Function) -> bool) -> bool {
    own::any(expression, |inner| matches!(inner, Expr::Function(call) if is_it(call)))
}
