//! Subqueries in expressions, in forms that the engine can join: it takes those that aggregate, wherever they stand.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    GroupByExpr, LimitClause, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, UnaryOperator, Value,
    Visit, VisitMut, Visitor, VisitorMut,
};

use super::{
    calls,
    make::{function, number, query_of, take},
};
use crate::sql::{functions::is_aggregate, single::SINGLE};

/// `(SELECT x FROM …)`, which is to be one row: an aggregate that sees to that.
pub(super) fn scalar(query: &mut Query) {
    let limit = limit_of(query);
    let Some(select) = plain(query) else { return };
    if select.from.is_empty() {
        return;
    }
    let [SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. }] =
        select.projection.as_mut_slice()
    else {
        return;
    };
    if aggregates(expression) {
        return;
    }
    let value = take(expression);
    match limit {
        Limit::None => {
            *expression = function(SINGLE, vec![value]);
            query.order_by = None;
        }
        Limit::One => {
            let order = query.order_by.take().map(|order| order.kind);
            let Some(select) = plain(query) else { return };
            let [SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. }] =
                select.projection.as_mut_slice()
            else {
                return;
            };
            let mut first = function("first_value", vec![value]);
            if let (Expr::Function(call), Some(OrderByKind::Expressions(mut order))) = (&mut first, order)
                && let FunctionArguments::List(list) = &mut call.args
            {
                by_value(&mut order, &list.args);
                list.clauses = vec![FunctionArgumentClause::OrderBy(order)];
            }
            *expression = first;
            query.limit_clause = None;
        }
        Limit::Other => *expression = value,
    }
}

/// `EXISTS`, `IN` and `ALL` of subqueries, where the engine only knows them as conditions.
pub(super) fn settle_values(expression: &mut Expr) {
    let mut settler = Settler { depth: 0 };
    let ControlFlow::Continue(()) = VisitMut::visit(expression, &mut settler);
}

struct Settler {
    depth: usize,
}

impl VisitorMut for Settler {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let made = match expression {
            Expr::Exists { subquery, negated } => exists(subquery, *negated),
            Expr::InSubquery { expr, subquery, negated } if !matches!(**expr, Expr::Tuple(_)) => array_of(subquery)
                .map(|array| {
                    let is_in = function("pilaster_any_eq", vec![take(expr), array]);
                    if *negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(is_in) } } else { is_in }
                }),
            _ => None,
        };
        if let Some(made) = made {
            *expression = made;
        }
        ControlFlow::Continue(())
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

fn exists(query: &mut Query, negated: bool) -> Option<Expr> {
    if !matches!(limit_of(query), Limit::None) {
        return None;
    }
    let select = plain(query)?;
    if select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => {
            aggregates(expression)
        }
        _ => false,
    }) {
        return None;
    }
    let mut count = function("count", Vec::new());
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut count {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)];
    }
    select.projection = vec![SelectItem::UnnamedExpr(count)];
    query.order_by = None;
    let subquery = Expr::Subquery(Box::new(std::mem::replace(query, query_of(Vec::new()))));
    Some(Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(subquery),
        op: if negated { BinaryOperator::Eq } else { BinaryOperator::Gt },
        right: Box::new(number(0)),
    })))
}

/// All values of the subquery, in its order.
pub(super) fn array_of(query: &mut Query) -> Option<Expr> {
    if !matches!(limit_of(query), Limit::None) {
        return None;
    }
    let order = query.order_by.take().map(|order| order.kind);
    let select = plain(query)?;
    let [SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. }] =
        select.projection.as_mut_slice()
    else {
        return None;
    };
    if aggregates(expression) {
        return None;
    }
    let mut array = function("array_agg", vec![take(expression)]);
    if let (Expr::Function(call), Some(OrderByKind::Expressions(mut order))) = (&mut array, order)
        && let FunctionArguments::List(list) = &mut call.args
    {
        by_value(&mut order, &list.args);
        list.clauses = vec![FunctionArgumentClause::OrderBy(order)];
    }
    *expression = array;
    let subquery = Expr::Subquery(Box::new(std::mem::replace(query, query_of(Vec::new()))));
    Some(function("pilaster_array_or_empty", vec![subquery]))
}

/// `ORDER BY 1` means the value itself, which has no place any more.
fn by_value(order: &mut [OrderByExpr], arguments: &[FunctionArg]) {
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) = arguments.first() else { return };
    for sort in order {
        if matches!(&sort.expr, Expr::Value(place) if matches!(place.value, Value::Number(..))) {
            sort.expr = value.clone();
        }
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
    let groups = match &select.group_by {
        GroupByExpr::Expressions(expressions, modifiers) => !expressions.is_empty() || !modifiers.is_empty(),
        GroupByExpr::All(_) => true,
    };
    (!groups && select.distinct.is_none() && select.having.is_none()).then_some(select)
}

fn aggregates(expression: &Expr) -> bool {
    let mut finder = Finder { depth: 0 };
    Visit::visit(expression, &mut finder).is_break()
}

struct Finder {
    depth: usize,
}

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            // A window needs all rows as well; what it makes of them is not one.
            Expr::Function(call) if self.depth == 0 => {
                let name = call.name.to_string().to_lowercase();
                if call.over.is_some() || is_aggregate(&name) || calls::AGGREGATES.contains(&name.as_str()) {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
