//! Keys of grouping sets that are computed become columns below the aggregate. Whatever changes the way in which they are computed later
//! would take the sets for one value with a name, and the engine would not see them for sets any more.

use datafusion::{
    common::{Column, Result, tree_node::Transformed},
    logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, LogicalPlanBuilder, expr::AggregateFunction},
};

/// The plan with such keys as columns.
pub(super) fn apply(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => below(aggregate),
        other => Ok(Transformed::no(other)),
    })
    .map(|made| made.data)
}

fn below(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let mut computed: Vec<Expr> = Vec::new();
    for group in &aggregate.group_expr {
        let Expr::GroupingSet(set) = group else { continue };
        for key in set.distinct_expr() {
            if !matches!(key, Expr::Column(_)) && !computed.contains(key) {
                computed.push(key.clone());
            }
        }
    }
    if computed.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let mut columns: Vec<Expr> = aggregate.input.schema().columns().into_iter().map(Expr::Column).collect();
    columns.extend(computed.iter().cloned());
    let input = LogicalPlanBuilder::new_from_arc(aggregate.input).project(columns)?;

    let as_column = |key: Expr| match computed.contains(&key) {
        true => {
            let (relation, name) = key.qualified_name();
            Expr::Column(Column::new(relation, name))
        }
        false => key,
    };
    let all = |keys: Vec<Expr>| keys.into_iter().map(as_column).collect::<Vec<_>>();
    let groups = aggregate.group_expr.into_iter().map(|group| match group {
        Expr::GroupingSet(GroupingSet::Rollup(keys)) => Expr::GroupingSet(GroupingSet::Rollup(all(keys))),
        Expr::GroupingSet(GroupingSet::Cube(keys)) => Expr::GroupingSet(GroupingSet::Cube(all(keys))),
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
            Expr::GroupingSet(GroupingSet::GroupingSets(sets.into_iter().map(all).collect()))
        }
        other => other,
    });
    let groups: Vec<Expr> = groups.collect();
    // `grouping(key)` is asked of the column, under the name that it has.
    let functions = aggregate.aggr_expr.into_iter().map(|function| match function {
        Expr::AggregateFunction(AggregateFunction { func, mut params }) if func.name() == "grouping" => {
            let (relation, name) =
                Expr::AggregateFunction(AggregateFunction { func: func.clone(), params: params.clone() })
                    .qualified_name();
            params.args = all(params.args);
            Expr::AggregateFunction(AggregateFunction { func, params }).alias_qualified(relation, name)
        }
        other => other,
    });
    let functions: Vec<Expr> = functions.collect();
    let aggregate = Aggregate::try_new(input.build()?.into(), groups, functions)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
}
