//! What a name in `ORDER BY` means: by itself a column of the result; in an expression, or behind the name of a table, one of the tables.
//! The engine takes the result's in each case, so that columns of the result give their names up where both are there.

use std::{convert::Infallible, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, OrderByKind, Query, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, Value,
};

use super::{make::query_of, own};
use crate::sql::labels::{folded, told_apart};

/// Settles the names of a query that has its columns labelled. What is inside another gets its names back.
pub(super) fn settle(query: &mut Query, is_outermost: bool) {
    let SetExpr::Select(select) = &mut *query.body else { return };
    let Some(order) = &mut query.order_by else { return };
    let OrderByKind::Expressions(sorts) = &mut order.kind else { return };
    let mut asked: Vec<String> = Vec::new();
    for sort in sorts.iter().filter(|sort| !is_of_result(&sort.expr)) {
        let ControlFlow::Continue(()) = own::look(&sort.expr, |inner| {
            match inner {
                Expr::Identifier(name) => asked.push(folded(name)),
                Expr::CompoundIdentifier(parts) => asked.extend(parts.last().map(folded)),
                _ => {}
            }
            ControlFlow::<Infallible>::Continue(())
        });
    }
    let mut renamed = Vec::new();
    let has_all_names = select
        .projection
        .iter()
        .all(|item| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }));
    if asked.is_empty() || !is_outermost && !has_all_names {
        return;
    }
    for item in &mut select.projection {
        let SelectItem::ExprWithAlias { alias, .. } = item else { continue };
        let name = folded(alias);
        if asked.contains(&name) {
            *alias = Ident::with_quote('"', told_apart(&name, 0));
            renamed.push(name);
        }
    }
    for sort in sorts {
        if let Expr::Identifier(name) = &mut sort.expr
            && renamed.contains(&folded(name))
        {
            *name = Ident::with_quote('"', told_apart(&folded(name), 0));
        }
    }
    if is_outermost || renamed.is_empty() {
        return;
    }
    let items = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(shown(&folded(alias), &renamed)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(shown(&folded(name), &renamed)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => Some(shown(&folded(parts.last()?), &renamed)),
        _ => None,
    });
    let mut outer = query_of(items.collect());
    let alias =
        TableAlias { explicit: true, name: Ident::with_quote('"', "\u{1f}sorted"), columns: Vec::new(), at: None };
    if let SetExpr::Select(select) = &mut *outer.body {
        let inner = std::mem::replace(query, query_of(Vec::new()));
        let relation =
            TableFactor::Derived { lateral: false, subquery: Box::new(inner), alias: Some(alias), sample: None };
        select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
    }
    *query = outer;
}

/// A column by the name that it had.
fn shown(name: &str, renamed: &[String]) -> SelectItem {
    let known = renamed.iter().find(|known| told_apart(known, 0) == name);
    SelectItem::ExprWithAlias {
        expr: Expr::Identifier(Ident::with_quote('"', name)),
        alias: Ident::with_quote('"', known.map_or(name, String::as_str)),
    }
}

/// A name by itself, and a position.
fn is_of_result(expression: &Expr) -> bool {
    match expression {
        Expr::Identifier(_) => true,
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        _ => false,
    }
}
