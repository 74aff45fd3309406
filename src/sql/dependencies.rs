//! Which columns follow from others. The engine takes all columns of an aggregate to follow from a key that its input has, even where it
//! groups by others beside it: `GROUP BY day, product`, where each day is one row of a subquery that is joined. It then leaves groups, and
//! keys of an order, out. A key by another name is none to it.

use std::sync::Arc;

use datafusion::{
    common::{
        Column, Result,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    functions_aggregate::first_last::first_value,
    logical_expr::{Aggregate, Distinct, DistinctOn, Expr, LogicalPlan, LogicalPlanBuilder, SortExpr as Sort},
};

/// The plan with groups of names that no key has.
pub(super) fn apply(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut made = 0;
    // From the top: a subquery in an expression that is there three times, to choose, to sort and to show, is the same one only as long as
    // no names are given within it.
    let chosen = plan.transform_down_with_subqueries(|node| match &node {
        LogicalPlan::Distinct(Distinct::On(distinct)) => first_of_each(distinct, &mut made).map(Transformed::yes),
        _ => Ok(Transformed::no(node)),
    })?;
    chosen.data.transform_up_with_subqueries(|node| self::node(node, &mut made)).data()
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

/// `DISTINCT ON` as groups of which the first rows are taken. The engine makes the same of it, and fails where a value is asked for twice.
fn first_of_each(distinct: &DistinctOn, made: &mut usize) -> Result<LogicalPlan> {
    let mut name = |what: &str| {
        *made += 1;
        format!("\u{1f}{what} {made}")
    };
    let keys: Vec<(&Expr, String)> = unique(&distinct.on_expr).into_iter().map(|key| (key, name("group"))).collect();
    let key_of = |value: &Expr| keys.iter().find(|(key, _)| *key == value).map(|(_, name)| column(name));
    let sorts: &[Sort] = distinct.sort_expr.as_deref().unwrap_or_default();
    let mut firsts = Vec::new();
    let mut columns = Vec::with_capacity(distinct.select_expr.len());
    for (value, (relation, field)) in distinct.select_expr.iter().zip(distinct.schema.iter()) {
        let value = value.clone().unalias();
        let shown = match key_of(&value) {
            Some(key) => key,
            None => {
                let name = name("first");
                firsts.push(first_value(value, sorts.to_vec()).alias(name.clone()));
                column(&name)
            }
        };
        columns.push(shown.alias_qualified(relation.cloned(), field.name()));
    }
    let by = sorts.iter().filter_map(|sort| Some(Sort::new(key_of(&sort.expr)?, sort.asc, sort.nulls_first)));
    let by: Vec<Sort> = by.collect();
    let groups: Vec<Expr> = keys.iter().map(|(key, name)| (*key).clone().alias(name.clone())).collect();
    let grouped = LogicalPlanBuilder::new_from_arc(Arc::clone(&distinct.input)).aggregate(groups, firsts)?;
    let sorted = if by.is_empty() { grouped } else { grouped.sort(by)? };
    sorted.project(columns)?.build()
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// Each of them once.
pub(super) fn unique(expressions: &[Expr]) -> Vec<&Expr> {
    let mut unique: Vec<&Expr> = Vec::with_capacity(expressions.len());
    for expression in expressions {
        if !unique.contains(&expression) {
            unique.push(expression);
        }
    }
    unique
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
    // The schema has a key once that is asked for twice.
    let keys = unique(&aggregate.group_expr);
    let mut groups = Vec::with_capacity(keys.len());
    let mut columns = Vec::with_capacity(aggregate.schema.fields().len());
    for (place, (relation, field)) in aggregate.schema.iter().enumerate() {
        let column = Column::new(relation.cloned(), field.name());
        match keys.get(place).copied() {
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
