//! `GROUP BY coalesce(x, 0)` and `coalesce(x, 0) + 1`: what stands in an operator is of its type when the operator is chosen, and would not be
//! found in the list of keys again. So it is of its type there, too, and wherever it stands by itself.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Value, VisitMut, VisitorMut,
};

use super::{is_choice, item_at, make::take};

/// The operator that gives its left side its type. What stands to the right of it means nothing.
pub(in crate::sql) const TYPED: &str = "\u{1f}typed";

/// Marks the keys, and what is like one.
pub(super) fn settle(select: &mut Select) {
    let GroupByExpr::Expressions(groups, _) = &select.group_by else { return };
    let named = |name: &Expr| {
        let Expr::Identifier(name) = name else { return None };
        select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if alias == name => Some(expr.clone()),
            _ => None,
        })
    };
    let meant =
        |group: &Expr| item_at(&select.projection, group).or_else(|| named(group)).unwrap_or_else(|| group.clone());
    let keys: Vec<Expr> = groups.iter().map(meant).filter(is_typed_late).collect();
    if !keys.is_empty() {
        let _: ControlFlow<()> = VisitMut::visit(select, &mut Marker { keys });
    }
}

/// Marks what is like a key in the query's order.
pub(super) fn settle_order(query: &mut Query) {
    let SetExpr::Select(select) = &*query.body else { return };
    let GroupByExpr::Expressions(groups, _) = &select.group_by else { return };
    let items = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => Some(value),
        _ => None,
    });
    let keys: Vec<Expr> = groups.iter().chain(items).filter_map(marked).cloned().collect();
    if keys.is_empty() {
        return;
    }
    if let Some(order) = &mut query.order_by
        && let OrderByKind::Expressions(expressions) = &mut order.kind
    {
        let mut marker = Marker { keys };
        for ordered in expressions {
            let _: ControlFlow<()> = VisitMut::visit(&mut ordered.expr, &mut marker);
        }
    }
}

fn is_typed_late(key: &Expr) -> bool {
    match key {
        Expr::Subquery(_) => false,
        Expr::Function(call) if call.name.to_string() == "pilaster_said_like" => true,
        other => is_choice(other),
    }
}

fn marked(expression: &Expr) -> Option<&Expr> {
    match expression {
        Expr::BinaryOp { left, op: BinaryOperator::Custom(name), .. } if name == TYPED => Some(left),
        _ => None,
    }
}

struct Marker {
    keys: Vec<Expr>,
}

impl VisitorMut for Marker {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if self.keys.contains(expression) {
            *expression = Expr::BinaryOp {
                left: Box::new(take(expression)),
                op: BinaryOperator::Custom(TYPED.to_owned()),
                right: Box::new(Expr::Value(Value::Null.into())),
            };
        }
        ControlFlow::Continue(())
    }
}
