//! Comparisons of comparisons, as `a < b < c` or `a IS DISTINCT FROM b IS NULL`, of which Postgres's grammar has no reading.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Statement, UnaryOperator, Visit, Visitor};

use crate::error::{Code, Error, Result};

/// Refuses a statement that has one. To be asked before anything in it is rewritten.
pub(in crate::sql) fn refuse_chains(statement: &Statement) -> Result<()> {
    match statement.visit(&mut Chains) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(operator) => {
            Err(Error::new(Code::InvalidSql, format!("syntax error at or near {operator:?}"))
                .with_sqlstate("42601")
                .with_hint("say with parentheses which comes first"))
        }
    }
}

struct Chains;

impl Visitor for Chains {
    type Break = String;

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<String> {
        match expression {
            Expr::BinaryOp { left, op, .. } if is_comparison(op) && compares(left) => {
                ControlFlow::Break(op.to_string())
            }
            Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) if begins_with_is(right) => {
                ControlFlow::Break("IS".to_owned())
            }
            Expr::Between { low, .. } if matches!(&**low, Expr::UnaryOp { op: UnaryOperator::Not, .. }) => {
                ControlFlow::Break("NOT".to_owned())
            }
            other if memberships(other).is_some_and(|(_, operand)| memberships(operand).is_some()) => {
                ControlFlow::Break(memberships(other).map_or_else(String::new, |(name, _)| name.to_owned()))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Whether the first of a chain of `AND` and `OR`, which the parser takes to be the right side, is of an `IS`.
fn begins_with_is(expression: &Expr) -> bool {
    match expression {
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, .. } => begins_with_is(left),
        Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_) => true,
        _ => false,
    }
}

/// What binds as `LIKE` does, by its name, with the operand to the left.
fn memberships(expression: &Expr) -> Option<(&'static str, &Expr)> {
    match expression {
        Expr::Like { expr, .. } => Some(("LIKE", expr)),
        Expr::ILike { expr, .. } => Some(("ILIKE", expr)),
        Expr::SimilarTo { expr, .. } => Some(("SIMILAR", expr)),
        Expr::InList { expr, .. } | Expr::InSubquery { expr, .. } => Some(("IN", expr)),
        Expr::Between { expr, .. } => Some(("BETWEEN", expr)),
        _ => None,
    }
}

fn compares(expression: &Expr) -> bool {
    matches!(expression, Expr::BinaryOp { op, .. } if is_comparison(op))
}

const fn is_comparison(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}
