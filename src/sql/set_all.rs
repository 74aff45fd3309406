//! `INTERSECT ALL` and `EXCEPT ALL`: rows that are equal are numbered on both sides, and each finds the one of its number. The engine's
//! own keeps a row for as often as it stands on the left.

use std::sync::Arc;

use datafusion::{
    common::{Column, NullEquality, Result, tree_node::Transformed},
    functions_window::row_number::row_number_udwf,
    logical_expr::{Distinct, Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, expr::WindowFunction},
};

/// What tells equal rows apart.
const COPY: &str = "\u{1f}copy";

/// The plan with its rows numbered. To be called before anything else changes it: by its form alone is such a join known. Once is enough.
pub(super) fn apply(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(node)?.data)
}

fn node(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = &node else { return Ok(Transformed::no(node)) };
    let is_numbered = join.on.iter().any(|(left, _)| matches!(left, Expr::Column(column) if column.name == COPY));
    if !is_set_operation(join) || is_numbered || matches!(&*join.left, LogicalPlan::Distinct(Distinct::All(_))) {
        return Ok(Transformed::no(node));
    }
    let columns: Vec<Expr> = join.left.schema().columns().into_iter().map(Expr::Column).collect();
    let number = Column::new_unqualified(COPY);
    let other = Column::new_unqualified("\u{1f}other copy");
    let left = numbered(&join.left, &number)?;
    let right = numbered(&join.right, &other)?;
    let mut join = join.clone();
    join.on.push((Expr::Column(number), Expr::Column(other)));
    let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = join.on.into_iter().unzip();
    let plan =
        LogicalPlanBuilder::from(left).join_with_expr_keys(right, join.join_type, (left_keys, right_keys), None)?;
    let LogicalPlan::Join(mut joined) = plan.build()? else { return Ok(Transformed::no(node)) };
    joined.null_equality = NullEquality::NullEqualsNull;
    Ok(Transformed::yes(LogicalPlanBuilder::from(LogicalPlan::Join(joined)).project(columns)?.build()?))
}

/// Whether the planner has made the join of `INTERSECT` or `EXCEPT`.
pub(super) fn is_set_operation(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && !join.on.is_empty()
}

/// With the how manieth each row is of those that are equal to it.
fn numbered(plan: &Arc<LogicalPlan>, name: &Column) -> Result<LogicalPlan> {
    let mut function = WindowFunction::new(row_number_udwf(), Vec::new());
    function.params.partition_by = plan.schema().columns().into_iter().map(Expr::Column).collect();
    LogicalPlanBuilder::new_from_arc(Arc::clone(plan)).window([Expr::from(function).alias(name.name.clone())])?.build()
}
