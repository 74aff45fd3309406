//! The same guards outside of conditions: in lists, aggregates, groups, windows and orders.

use datafusion::{
    common::{
        Result, ScalarValue,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        BinaryExpr, Case, Expr, LogicalPlan, Operator, expr_rewriter::NamePreserver, utils::split_binary_owned,
    },
};

use super::guard::computes;

/// Of conditions that a guard writes twice; larger ones have none, so that conditions within conditions do not grow without end.
const NODES_MAX: usize = 500;

/// The optimised plan, whose conditions within expressions evaluate what can fail only where it is asked for. To be called last: an
/// optimiser that sees what this makes takes it for the condition that it was.
pub(super) fn guarded_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(node)?.data)
}

fn node(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    // Conditions of their own have guards that do not evaluate anything twice.
    if matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_) | LogicalPlan::TableScan(_)) {
        return Ok(Transformed::no(node));
    }
    let names = NamePreserver::new(&node);
    node.map_expressions(|expression| {
        let name = names.save(&expression);
        let made = expression.transform_down(guarded)?;
        Ok(if made.transformed { made.update_data(|made| name.restore(made)) } else { made })
    })
}

/// `CASE WHEN a IS FALSE THEN false WHEN b IS FALSE THEN false ELSE a AND b END`, and the like for `OR`.
fn guarded(expression: Expr) -> Result<Transformed<Expr>> {
    let op = match &expression {
        Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) => *op,
        _ => return Ok(Transformed::no(expression)),
    };
    let parts = split_binary_owned(expression.clone(), op);
    if !parts.iter().skip(1).any(may_fail) {
        return Ok(Transformed::no(expression));
    }
    let parts = parts.into_iter().map(|part| Ok(part.transform_down(guarded)?.data)).collect::<Result<Vec<_>>>()?;
    let is_large = parts.iter().map(size).sum::<usize>() > NODES_MAX;
    let answer = Expr::Literal(ScalarValue::Boolean(Some(op == Operator::Or)), None);
    let decides = |part: &Expr| {
        let part = Box::new(part.clone());
        Box::new(if op == Operator::And { Expr::IsFalse(part) } else { Expr::IsTrue(part) })
    };
    let when_then_expr = parts.iter().map(|part| (decides(part), Box::new(answer.clone()))).collect();
    let open = parts
        .into_iter()
        .reduce(|left, right| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        .unwrap_or_default();
    let made = match is_large {
        true => open,
        false => Expr::Case(Case { expr: None, when_then_expr, else_expr: Some(Box::new(open)) }),
    };
    Ok(Transformed::new(made, true, TreeNodeRecursion::Jump))
}

fn size(expression: &Expr) -> usize {
    let mut nodes = 0;
    let counted = expression.apply(|_| {
        nodes += 1;
        Ok(TreeNodeRecursion::Continue)
    });
    if counted.is_ok() { nodes } else { usize::MAX }
}

/// Whether there may be a row that the expression fails for. Comparisons of columns and literals never do.
fn may_fail(expression: &Expr) -> bool {
    expression
        .exists(|inner| {
            Ok(match inner {
                Expr::BinaryExpr(binary) => computes(binary.op),
                Expr::ScalarFunction(_) | Expr::Cast(_) | Expr::Negative(_) => true,
                _ => false,
            })
        })
        .unwrap_or(true)
}
