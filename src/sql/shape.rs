//! The shape of a parsed statement: columns named, forms rewritten, parameters numbered, long chains made shallow, and what is still
//! too deep refused.
//!
//! A parser that reads `a OR b OR c …` in a loop makes a tree as deep as the chain is long, and whatever walks, copies or drops
//! that tree later needs as much stack. Chains of one of `AND` and `OR` become balanced trees, which mean the same; others have a
//! length that is allowed.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, Select, SetExpr, Statement, TableFactor, Value, VisitMut, VisitorMut,
    helpers::attached_token::AttachedToken,
};

use super::{forms, labels::label};
use crate::error::{Code, Error, Result};

/// How deep a tree of expressions, and a chain of set operations, may be. Postgres gives up at a few thousand.
const DEPTH_MAX: usize = 1_000;
/// Chains up to this length stay as they are.
const CHAIN_MIN: usize = 64;

/// Numbers the parameters of `statement` by `names`, balances its chains, and refuses what is deeper than anything should be.
///
/// Recurses as deep as the statement is, so the caller sees to the stack.
pub(super) fn settle(statement: &mut Statement, names: &[String]) -> Result<()> {
    let mut shaper = Shaper { names, depth: 0, queries: 0 };
    match VisitMut::visit(statement, &mut shaper) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Shaper<'a> {
    names: &'a [String],
    depth: usize,
    /// How many queries the one that is visited is in, with itself.
    queries: usize,
}

impl VisitorMut for Shaper<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.queries += 1;
        if !query.locks.is_empty() {
            let error = Error::new(Code::UnsupportedSql, "FOR UPDATE and FOR SHARE are not allowed here")
                .with_sqlstate("0A000")
                .with_hint("send one SELECT; the engine answers from a snapshot and changes nothing");
            return ControlFlow::Break(Box::new(error));
        }
        if let Err(error) = forms::settle_order(query) {
            return ControlFlow::Break(Box::new(error));
        }
        let mut chain = 0;
        let mut body = &*query.body;
        while let SetExpr::SetOperation { left, .. } = body {
            chain += 1;
            body = left;
        }
        too_deep(chain, "UNION, INTERSECT and EXCEPT are chained")
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        label(select);
        match forms::settle_names(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        forms::settle_select(select);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.queries -= 1;
        match forms::settle_query(query, self.queries == 0) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } = factor {
            let error = Error::new(Code::UnsupportedSql, "TABLESAMPLE is not supported")
                .with_sqlstate("0A000")
                .with_hint("choose rows by a condition, such as id % 100 = 0");
            return ControlFlow::Break(Box::new(error));
        }
        forms::settle_table(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        balance(expression);
        forms::prepare(expression);
        if let Expr::Value(value) = expression
            && let Value::Placeholder(written) = &mut value.value
            && let Some(index) = self.names.iter().position(|name| name == &written[1..])
        {
            *written = format!("${}", index + 1);
        }
        self.depth += 1;
        too_deep(self.depth, "an expression nests")
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        forms::rewrite(expression);
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

fn too_deep(depth: usize, what: &str) -> ControlFlow<Box<Error>> {
    if depth <= DEPTH_MAX {
        return ControlFlow::Continue(());
    }
    let error = Error::new(Code::StatementTooLarge, format!("{what} more than {DEPTH_MAX} levels deep"))
        .with_sqlstate("54001")
        .with_hint("long lists belong in a parameter, as in WHERE id = ANY($ids)");
    ControlFlow::Break(Box::new(error))
}

/// Makes `a OR b OR c OR d` of `((a OR b) OR c) OR d` into `(a OR b) OR (c OR d)`; the same for `AND`.
fn balance(expression: &mut Expr) {
    let Expr::BinaryOp { op, .. } = expression else { return };
    if !matches!(op, BinaryOperator::And | BinaryOperator::Or) {
        return;
    }
    let op = op.clone();
    let mut length = 1;
    let mut node = &*expression;
    while let Expr::BinaryOp { left, op: next, .. } = node
        && *next == op
    {
        length += 1;
        node = left;
    }
    if length <= CHAIN_MIN {
        return;
    }
    let mut parts = Vec::with_capacity(length);
    let mut rest = std::mem::replace(expression, nothing());
    loop {
        match rest {
            Expr::BinaryOp { left, op: next, right } if next == op => {
                parts.push(*right);
                rest = *left;
            }
            first => {
                parts.push(first);
                break;
            }
        }
    }
    parts.reverse();
    *expression = tree(parts, &op);
}

fn tree(mut parts: Vec<Expr>, op: &BinaryOperator) -> Expr {
    if parts.len() == 1 {
        return parts.pop().unwrap_or_else(nothing);
    }
    let right = parts.split_off(parts.len() / 2);
    Expr::BinaryOp { left: Box::new(tree(parts, op)), op: op.clone(), right: Box::new(tree(right, op)) }
}

fn nothing() -> Expr {
    Expr::Wildcard(AttachedToken::empty())
}
