//! Subqueries that look at the row outside of them, turned into joins: `LATERAL`, and those scalar ones that the engine's own rules do
//! not take (other conditions than equality, `ORDER BY … LIMIT`, set-returning functions of outer columns).
//!
//! The outer rows are pushed down into the subquery until what is below no longer asks for them; there they are joined. Above, whatever
//! aggregates, numbers or limits does so for each outer row, which has a number. Source of the idea: Neumann and Kemper, "Unnesting
//! Arbitrary Queries", 2015. The outer rows stand in the plan once, so that their numbers need not be the same in two runs.

mod counted;
mod push;

use std::sync::Arc;

use datafusion::{
    common::{
        Column, DataFusionError, Result,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    functions_window::row_number::row_number_udwf,
    logical_expr::{
        BinaryExpr, Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, SubqueryAlias,
        expr::{InSubquery, WindowFunction},
        expr_rewriter::NamePreserver,
        utils::split_conjunction,
    },
};

use self::push::{Mode, Outer};
use super::{forms, single::single};
use crate::error::{Code, Error};

/// How deep subqueries that look outside may be within each other.
const LEVELS_MAX: usize = 8;

/// The plan without the subqueries that the engine does not join, or joins wrongly. What neither of both can is refused.
pub(super) fn decorrelate(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut made = 0;
    let mut plan = plan;
    // What a subquery has been joined into may itself have some that look outside.
    for _ in 0..LEVELS_MAX {
        let joined = plan.transform_up_with_subqueries(|node| self::node(node, &mut made))?;
        plan = joined.data;
        if !joined.transformed {
            break;
        }
    }
    let mut has_values = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Join(join) = node
            && let Some(inner) = subquery_of(&join.right)
            && asks_outside(&inner)
        {
            is_joined_rightly(&inner)?;
        }
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                match inner {
                    Expr::ScalarSubquery(subquery) => {
                        is_joined_rightly(&subquery.subquery)?;
                        has_values = true;
                    }
                    Expr::Exists(exists) => is_joined_rightly(&exists.subquery.subquery)?,
                    Expr::InSubquery(member) => {
                        is_joined_rightly(&member.subquery.subquery)?;
                        has_values = true;
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if !has_values {
        return Ok(plan);
    }
    let mut count = 0;
    Ok(plan.transform_up_with_subqueries(|node| renamed(node, &mut count))?.data)
}

/// Subqueries with a name of their own for their value. The engine joins by the columns that they compare, one of which may have it.
fn renamed(node: LogicalPlan, count: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    node.map_expressions(|expression| {
        let name = names.save(&expression);
        let made = expression.transform_up(|inner| {
            let (Expr::ScalarSubquery(subquery) | Expr::InSubquery(InSubquery { subquery, .. })) = &inner else {
                return Ok(Transformed::no(inner));
            };
            let LogicalPlan::Projection(projection) = &*subquery.subquery else { return Ok(Transformed::no(inner)) };
            let ([value], true) = (projection.expr.as_slice(), asks_outside(&subquery.subquery)) else {
                return Ok(Transformed::no(inner));
            };
            *count += 1;
            let value = value.clone().unalias().alias(format!("\u{1f}scalar {count}"));
            let plan = LogicalPlanBuilder::new_from_arc(Arc::clone(&projection.input)).project([value])?.build()?;
            let subquery = subquery.with_plan(Arc::new(plan));
            Ok(Transformed::yes(match inner {
                Expr::InSubquery(member) => Expr::InSubquery(InSubquery { subquery, ..member }),
                _ => Expr::ScalarSubquery(subquery),
            }))
        })?;
        Ok(if made.transformed { made.update_data(|made| name.restore(made)) } else { made })
    })
}

fn asks_outside(plan: &LogicalPlan) -> bool {
    !plan.all_out_ref_exprs().is_empty()
}

/// A subquery of which another has been made: its columns have no names that a condition could have which comes from below.
fn is_ours(alias: &SubqueryAlias) -> bool {
    alias.alias.table() == forms::INNER && asks_outside(&alias.input)
}

/// The engine pulls conditions out of a subquery, above whatever stands there: of a window, a limit or an aggregate of all rows that
/// makes one over the rows of every outer row.
fn is_joined_rightly(plan: &LogicalPlan) -> Result<()> {
    plan.apply(|node| {
        if !asks_outside(node) {
            return Ok(TreeNodeRecursion::Jump);
        }
        let is_right = match node {
            LogicalPlan::SubqueryAlias(alias) => !is_ours(alias),
            LogicalPlan::Filter(_)
            | LogicalPlan::Projection(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::EmptyRelation(_) => true,
            LogicalPlan::Join(join) => {
                matches!(join.join_type, JoinType::Inner | JoinType::LeftSemi | JoinType::LeftAnti)
            }
            _ => false,
        };
        if is_right {
            return Ok(TreeNodeRecursion::Continue);
        }
        let what = node.display().to_string();
        let what = what.split([':', ' ']).next().unwrap_or_default();
        let message =
            format!("a subquery that looks at the row outside of it has a {what}, which is not supported there");
        let error = Error::new(Code::UnsupportedSql, message)
            .with_sqlstate("0A000")
            .with_hint("join the tables, and aggregate or number the rows of the join");
        Err(DataFusionError::External(Box::new(error)))
    })?;
    Ok(())
}

fn node(node: LogicalPlan, made: &mut usize) -> Result<Transformed<LogicalPlan>> {
    match &node {
        LogicalPlan::Join(join) => {
            if let Some(plan) = lateral(join, made)? {
                return Ok(Transformed::yes(plan));
            }
        }
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::Sort(_) => {
            let counted = counted::counted(node)?;
            let node = counted.data;
            let joined = scalars(&node, made)?;
            let is_joined = joined.is_some() || counted.transformed;
            let node = joined.unwrap_or(node);
            return match switch(&node, made)? {
                Some(plan) => Ok(Transformed::yes(plan)),
                None => Ok(Transformed::new_transformed(node, is_joined)),
            };
        }
        _ => {}
    }
    Ok(Transformed::no(node))
}

/// The subquery on a join's right side, and the name that it has there.
fn subquery_of(plan: &LogicalPlan) -> Option<LogicalPlan> {
    match plan {
        LogicalPlan::Subquery(subquery) => Some(subquery.subquery.as_ref().clone()),
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(subquery) => LogicalPlanBuilder::new_from_arc(Arc::clone(&subquery.subquery))
                .alias(alias.alias.clone())
                .ok()?
                .build()
                .ok(),
            _ => None,
        },
        _ => None,
    }
}

fn lateral(join: &Join, made: &mut usize) -> Result<Option<LogicalPlan>> {
    let Some(inner) = subquery_of(&join.right) else { return Ok(None) };
    let mode = match join.join_type {
        JoinType::Inner => Mode::Inner,
        JoinType::Left => Mode::Left,
        _ => return Ok(None),
    };
    if !join.on.is_empty() {
        return Ok(None);
    }
    let outer = outer_of(join.left.as_ref().clone(), made)?;
    let Some(pushed) = push::push(&inner, &outer, mode)? else { return Ok(None) };
    let pushed = match &join.filter {
        Some(filter) => pushed.filtered(&outer, outer.renamed(filter.clone())?)?,
        None => pushed,
    };
    let plan = pushed.one_where_none(&outer)?.restored(&outer, &inner, join.right.schema())?;
    Ok(Some(plan))
}

/// The outer rows, under names that nothing inside can have, with a number each.
fn outer_of(plan: LogicalPlan, made: &mut usize) -> Result<Outer> {
    *made += 1;
    let prefix = format!("\u{1f}outer {made}");
    let row = Column::new_unqualified(format!("{prefix} row"));
    let columns: Vec<(Column, Column)> = plan
        .schema()
        .columns()
        .into_iter()
        .enumerate()
        .map(|(place, column)| (column, Column::new_unqualified(format!("{prefix} {place}"))))
        .collect();
    let number = Expr::from(WindowFunction::new(row_number_udwf(), Vec::new())).alias(row.name.clone());
    let renamed = columns.iter().map(|(from, to)| Expr::Column(from.clone()).alias(to.name.clone()));
    let plan = LogicalPlanBuilder::from(plan)
        .window([number])?
        .project(renamed.chain([Expr::Column(row.clone())]).collect::<Vec<_>>())?
        .build()?;
    let marker = Column::new_unqualified(format!("{prefix} found"));
    Ok(Outer { plan, columns, row, marker })
}

/// The node's correlated scalar subqueries as columns of its input.
fn scalars(node: &LogicalPlan, made: &mut usize) -> Result<Option<LogicalPlan>> {
    let mut hard: Vec<Subquery> = Vec::new();
    let is_sort = matches!(node, LogicalPlan::Sort(_));
    node.apply_expressions(|expression| {
        expression.apply(|inner| {
            if let Expr::ScalarSubquery(subquery) = inner
                // The engine knows none in an order.
                && (is_hard(subquery)? || is_sort && !subquery.outer_ref_columns.is_empty())
                && !hard.contains(subquery)
            {
                hard.push(subquery.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    let [input] = node.inputs()[..] else { return Ok(None) };
    let mut input = input.clone();
    let mut values: Vec<(Subquery, Column)> = Vec::new();
    let columns = input.schema().columns();
    for subquery in hard {
        let outer = outer_of(input.clone(), made)?;
        let Some(pushed) = push::push(&subquery.subquery, &outer, Mode::Inner)? else { continue };
        if !push::gives_one_row(&subquery.subquery) {
            continue;
        }
        let name = format!("\u{1f}value {made}");
        let [value] = &subquery.subquery.schema().columns()[..] else { continue };
        let back = outer
            .columns
            .iter()
            .map(|(from, to)| Expr::Column(to.clone()).alias_qualified(from.relation.clone(), from.name.clone()));
        let value = Expr::Column(value.clone()).alias(name.clone());
        input = LogicalPlanBuilder::from(pushed.plan).project(back.chain([value]).collect::<Vec<_>>())?.build()?;
        values.push((subquery, Column::new_unqualified(name)));
    }
    if values.is_empty() {
        return Ok(None);
    }
    let replaced = node
        .expressions()
        .into_iter()
        .map(|expression| {
            let name = NamePreserver::new(node).save(&expression);
            let made = expression.transform(|inner| {
                Ok(match &inner {
                    Expr::ScalarSubquery(subquery) => match values.iter().find(|(known, _)| known == subquery) {
                        Some((_, column)) => Transformed::yes(Expr::Column(column.clone())),
                        None => Transformed::no(inner),
                    },
                    _ => Transformed::no(inner),
                })
            })?;
            Ok(if made.transformed && matches!(node, LogicalPlan::Projection(_)) {
                name.restore(made.data)
            } else {
                made.data
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let plan = match node {
        LogicalPlan::Sort(sort) => {
            let sorts = sort.expr.iter().zip(replaced).map(|(sort, expression)| sort.with_expr(expression));
            LogicalPlanBuilder::from(input).sort_with_limit(sorts.collect::<Vec<_>>(), sort.fetch)?.build()?
        }
        _ => node.with_new_exprs(replaced, vec![input])?,
    };
    if matches!(node, LogicalPlan::Projection(_)) {
        return Ok(Some(plan));
    }
    // What was added does not leave.
    let plan =
        LogicalPlanBuilder::from(plan).project(columns.into_iter().map(Expr::Column).collect::<Vec<_>>())?.build()?;
    Ok(Some(plan))
}

/// `WHERE (SELECT …)` that asks for no column of the rows: a join with the one row of the subquery. The engine would push it below an
/// aggregate, which has a row even of nothing.
fn switch(node: &LogicalPlan, made: &mut usize) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Filter(filter) = node else { return Ok(None) };
    let mut input = LogicalPlanBuilder::new_from_arc(Arc::clone(&filter.input));
    let mut is_changed = false;
    let mut conditions = Vec::new();
    for condition in split_conjunction(&filter.predicate) {
        let mut values = Vec::new();
        if condition.column_refs().is_empty() {
            condition.apply(|inner| {
                if let Expr::ScalarSubquery(subquery) = inner
                    && subquery.outer_ref_columns.is_empty()
                {
                    values.push(subquery.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        let mut condition = condition.clone();
        for subquery in values {
            let [value] = &subquery.subquery.schema().columns()[..] else { continue };
            *made += 1;
            let column = Column::new_unqualified(format!("\u{1f}switch {made}"));
            let value = Expr::Column(value.clone());
            let row = LogicalPlanBuilder::new_from_arc(Arc::clone(&subquery.subquery));
            let row = match push::gives_one_row(&subquery.subquery) {
                true => row.project([value.alias(column.name.clone())])?,
                false => row.aggregate(Vec::<Expr>::new(), [single().call(vec![value]).alias(column.name.clone())])?,
            };
            input = input.cross_join(row.build()?)?;
            is_changed = true;
            condition = condition
                .transform(|inner| {
                    Ok(match &inner {
                        Expr::ScalarSubquery(other) if *other == subquery => {
                            Transformed::yes(Expr::Column(column.clone()))
                        }
                        _ => Transformed::no(inner),
                    })
                })?
                .data;
        }
        conditions.push(condition);
    }
    let Some(predicate) = conditions.into_iter().reduce(Expr::and).filter(|_| is_changed) else { return Ok(None) };
    let columns: Vec<Expr> = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
    input.filter(predicate)?.project(columns)?.build().map(Some)
}

/// Whether the engine's own rule, which joins by the inner sides of equalities, does not take it: it does one aggregate of all rows.
fn is_hard(subquery: &Subquery) -> Result<bool> {
    if subquery.outer_ref_columns.is_empty() {
        return Ok(false);
    }
    let mut above = subquery.subquery.as_ref();
    let below = loop {
        above = match above {
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => break &aggregate.input,
            _ => return Ok(true),
        };
    };
    let mut is_hard = false;
    subquery.subquery.apply_with_subqueries(|node| {
        is_hard |= reaches_through(node, subquery)?;
        match node {
            LogicalPlan::Filter(filter) => {
                for condition in split_conjunction(&filter.predicate) {
                    is_hard |= condition.contains_outer() && !is_equality(condition);
                }
            }
            other => is_hard |= other.expressions().iter().any(Expr::contains_outer),
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    below.apply(|node| {
        is_hard |= matches!(node, LogicalPlan::SubqueryAlias(alias) if is_ours(alias));
        is_hard |= !matches!(
            node,
            LogicalPlan::Filter(_)
                | LogicalPlan::Projection(_)
                | LogicalPlan::SubqueryAlias(_)
                | LogicalPlan::TableScan(_)
                | LogicalPlan::EmptyRelation(_)
        ) && asks_outside(node);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(is_hard)
}

/// Whether a subquery in `node` asks for what `inside` itself only gets from outside, which the engine looks for in the node's rows.
fn reaches_through(node: &LogicalPlan, inside: &Subquery) -> Result<bool> {
    let mut reaches = false;
    node.apply_expressions(|expression| {
        expression.apply(|inner| {
            let nested = match inner {
                Expr::ScalarSubquery(nested) => nested,
                Expr::Exists(exists) => &exists.subquery,
                Expr::InSubquery(member) => &member.subquery,
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            let asks = nested.outer_ref_columns.iter().any(|column| inside.outer_ref_columns.contains(column));
            reaches |= asks;
            Ok(if asks { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(reaches)
}

fn is_equality(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return false };
    matches!(
        (&**left, &**right),
        (Expr::OuterReferenceColumn(..), Expr::Column(_)) | (Expr::Column(_), Expr::OuterReferenceColumn(..))
    )
}
