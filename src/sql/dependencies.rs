//! Which columns follow from others. The engine takes all columns of an aggregate to follow from a key that its input has, even where it
//! groups by others beside it: `GROUP BY day, product`, where each day is one row of a subquery that is joined. It then leaves groups, and
//! keys of an order, out. A key by another name is none to it.

use datafusion::{
    common::{
        Column, Result,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::{Aggregate, Distinct, Expr, LogicalPlan, LogicalPlanBuilder},
};

/// The plan with groups of names that no key has.
pub(super) fn apply(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut made = 0;
    plan.transform_up_with_subqueries(|node| self::node(node, &mut made)).data()
}

fn node(node: LogicalPlan, made: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let renamed = match &node {
        LogicalPlan::Aggregate(aggregate) => renamed(aggregate, made)?,
        LogicalPlan::Distinct(Distinct::All(input)) if has_keys(input)? => {
            let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
            renamed(&Aggregate::try_new(input.clone(), columns, Vec::new())?, made)?
        }
        _ => None,
    };
    Ok(renamed.map_or(Transformed::no(node), Transformed::yes))
}

/// Aggregates make them; what a node says of itself may be told anew later.
fn has_keys(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_))))
}

fn renamed(aggregate: &Aggregate, made: &mut usize) -> Result<Option<LogicalPlan>> {
    let is_plain = !aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)));
    if !is_plain || aggregate.group_expr.is_empty() || !has_keys(&aggregate.input)? {
        return Ok(None);
    }
    let mut groups = Vec::with_capacity(aggregate.group_expr.len());
    let mut columns = Vec::with_capacity(aggregate.schema.fields().len());
    for (place, (relation, field)) in aggregate.schema.iter().enumerate() {
        let column = Column::new(relation.cloned(), field.name());
        match aggregate.group_expr.get(place) {
            Some(group @ Expr::Column(_)) => {
                *made += 1;
                let name = format!("\u{1f}group {made}");
                groups.push(group.clone().alias(name.clone()));
                let value = Expr::Column(Column::new_unqualified(name));
                columns.push(value.alias_qualified(relation.cloned(), field.name()));
            }
            Some(group) => {
                groups.push(group.clone());
                columns.push(Expr::Column(column));
            }
            None => columns.push(Expr::Column(column)),
        }
    }
    let plan =
        LogicalPlanBuilder::new_from_arc(aggregate.input.clone()).aggregate(groups, aggregate.aggr_expr.clone())?;
    plan.project(columns)?.build().map(Some)
}
