//! The outer rows on their way down into a subquery.

mod rows;

use std::sync::Arc;

use datafusion::{
    common::{
        Column, DFSchema, Result, ScalarValue,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    functions_window::row_number::row_number_udwf,
    logical_expr::{
        Distinct, Expr, ExprSchemable, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Sort, SortExpr, Subquery,
        Values, WindowFrame, builder::unnest_with_options, case, expr::WindowFunction, lit,
        utils::split_conjunction_owned,
    },
};

use self::rows::{aggregated, first_of_each, framed, kept, limited};
use super::counted::exists_by_count;

/// What becomes of an outer row for which the subquery has none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is gone.
    Inner,
    /// It stays, unmarked, with NULL.
    Left,
}

/// The outer rows.
pub(super) struct Outer {
    pub(super) plan: LogicalPlan,
    /// Each column as the query calls it, and as the plan does.
    pub(super) columns: Vec<(Column, Column)>,
    /// The row's number.
    pub(super) row: Column,
    /// True in rows that the subquery has, NULL in those that only keep their outer row. Only there where those are kept.
    pub(super) marker: Column,
}

/// A subquery with the outer rows in it.
pub(super) struct Pushed {
    pub(super) plan: LogicalPlan,
    mode: Mode,
    /// Whether there may be several unmarked rows for one outer row, or unmarked beside marked ones.
    is_loose: bool,
}

impl Outer {
    /// The expression with the outer columns as the plan calls them.
    pub(super) fn renamed(&self, expression: Expr) -> Result<Expr> {
        let find = |column: &Column| self.columns.iter().find(|(from, _)| from == column);
        Ok(expression
            .transform(|inner| {
                Ok(match &inner {
                    Expr::OuterReferenceColumn(_, column) | Expr::Column(column) => match find(column) {
                        Some((_, to)) => Transformed::yes(Expr::Column(to.clone())),
                        None => Transformed::no(inner),
                    },
                    _ => Transformed::no(inner),
                })
            })?
            .data)
    }

    /// The expression of the subquery with the outer columns as the plan calls them.
    fn inside(&self, expression: &Expr) -> Result<Expr> {
        let replace = |inner: Expr| {
            Ok(match inner {
                Expr::OuterReferenceColumn(field, column) => match self.name_of(&column) {
                    Some(to) => Transformed::yes(Expr::Column(to.clone())),
                    None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
                },
                Expr::ScalarSubquery(subquery) => {
                    Transformed::yes(Expr::ScalarSubquery(self.farther_inside(subquery)?))
                }
                Expr::Exists(mut exists) => {
                    exists.subquery = self.farther_inside(exists.subquery)?;
                    Transformed::yes(Expr::Exists(exists))
                }
                Expr::InSubquery(mut member) => {
                    member.subquery = self.farther_inside(member.subquery)?;
                    Transformed::yes(Expr::InSubquery(member))
                }
                other => Transformed::no(other),
            })
        };
        Ok(expression.clone().transform(replace)?.data)
    }

    /// A subquery of the subquery, from where the outer columns are still outer ones.
    fn farther_inside(&self, subquery: Subquery) -> Result<Subquery> {
        let rename = |inner: Expr| {
            Ok(match inner {
                Expr::OuterReferenceColumn(field, column) => match self.name_of(&column) {
                    Some(to) => Transformed::yes(Expr::OuterReferenceColumn(field, to.clone())),
                    None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
                },
                other => Transformed::no(other),
            })
        };
        let plan =
            subquery.subquery.as_ref().clone().transform_down_with_subqueries(|node| {
                node.map_expressions(|expression| expression.transform(rename))
            })?;
        let outer_ref_columns = subquery
            .outer_ref_columns
            .into_iter()
            .map(|column| Ok(column.transform(rename)?.data))
            .collect::<Result<_>>()?;
        Ok(Subquery { subquery: Arc::new(plan.data.recompute_schema()?), outer_ref_columns, spans: subquery.spans })
    }

    fn name_of(&self, column: &Column) -> Option<&Column> {
        self.columns.iter().find(|(from, _)| from == column).map(|(_, to)| to)
    }

    fn is_asked_by(&self, plan: &LogicalPlan) -> Result<bool> {
        let mut asked = false;
        plan.apply_with_subqueries(|node| {
            for expression in node.expressions() {
                expression.apply(|inner| {
                    if let Expr::OuterReferenceColumn(_, column) = inner {
                        asked |= self.columns.iter().any(|(from, _)| from == column);
                    }
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
            Ok(if asked { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(asked)
    }

    /// The outer columns, to be passed through.
    fn through(&self, mode: Mode) -> Vec<Expr> {
        let columns = self.columns.iter().map(|(_, to)| to).chain([&self.row]);
        let marker = (mode == Mode::Left).then_some(&self.marker);
        columns.chain(marker).map(|column| Expr::Column(column.clone())).collect()
    }

    fn number(&self, order: Vec<SortExpr>, name: &str) -> Result<Expr> {
        let mut function = WindowFunction::new(row_number_udwf(), Vec::new());
        function.params.partition_by = vec![Expr::Column(self.row.clone())];
        function.params.window_frame = WindowFrame::new((!order.is_empty()).then_some(true));
        function.params.order_by = order;
        Ok(Expr::from(function).alias(name))
    }
}

/// Whether the subquery has exactly one row, whatever the outer row is.
pub(super) fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => gives_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => gives_one_row(&alias.input),
        LogicalPlan::Sort(sort) => gives_one_row(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

/// `plan` with the outer rows in it; none where it has something that nobody has thought about.
pub(super) fn push(plan: &LogicalPlan, outer: &Outer, mode: Mode) -> Result<Option<Pushed>> {
    if let LogicalPlan::EmptyRelation(empty) = plan
        && empty.produce_one_row
    {
        let plan = LogicalPlanBuilder::from(outer.plan.clone());
        let plan = match mode {
            Mode::Inner => plan,
            Mode::Left => {
                let marker = lit(true).alias(outer.marker.name.clone());
                plan.project(outer.through(Mode::Inner).into_iter().chain([marker]).collect::<Vec<_>>())?
            }
        };
        return Ok(Some(Pushed { plan: plan.build()?, mode, is_loose: false }));
    }
    if !outer.is_asked_by(plan)? {
        return joined(plan.clone(), outer, mode, None).map(Some);
    }
    match plan {
        LogicalPlan::Projection(projection) => {
            let Some(below) = push(&projection.input, outer, mode)? else { return Ok(None) };
            let mut expressions = outer.through(mode);
            for (expression, (relation, field)) in projection.expr.iter().zip(projection.schema.iter()) {
                let made = outer.inside(expression)?;
                expressions.push(match made == *expression {
                    true => made,
                    false => made.unalias().alias_qualified(relation.cloned(), field.name()),
                });
            }
            below.then(|plan| plan.project(expressions)).map(Some)
        }
        LogicalPlan::Filter(filter) => {
            let predicate = outer.inside(&filter.predicate)?;
            if mode == Mode::Left && has_subquery(&predicate) {
                // Neither do joins take subqueries, nor would a row that they keep be looked at by them.
                let (nested, plain): (Vec<Expr>, Vec<Expr>) =
                    split_conjunction_owned(filter.predicate.clone()).into_iter().partition(has_subquery);
                let below = match plain.into_iter().reduce(Expr::and) {
                    Some(plain) => {
                        LogicalPlanBuilder::new_from_arc(Arc::clone(&filter.input)).filter(plain)?.build()?
                    }
                    None => filter.input.as_ref().clone(),
                };
                let nested = nested.into_iter().reduce(Expr::and).unwrap_or_default();
                let nested = counted(outer.inside(&nested)?)?;
                return Ok(match push(&below, outer, mode)? {
                    Some(below) => Some(below.filtered(outer, nested)?),
                    None => None,
                });
            }
            if !outer.is_asked_by(&filter.input)? && !matches!(filter.input.as_ref(), LogicalPlan::EmptyRelation(_)) {
                return joined(filter.input.as_ref().clone(), outer, mode, Some(predicate)).map(Some);
            }
            let Some(below) = push(&filter.input, outer, mode)? else { return Ok(None) };
            below.filtered(outer, predicate).map(Some)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let Some(below) = push(&alias.input, outer, mode)? else { return Ok(None) };
            let mut expressions = outer.through(mode);
            for (column, field) in alias.input.schema().columns().into_iter().zip(alias.schema.fields()) {
                expressions.push(Expr::Column(column).alias_qualified(Some(alias.alias.clone()), field.name()));
            }
            below.then(|plan| plan.project(expressions)).map(Some)
        }
        // Without a limit an order means nothing to whoever is outside.
        LogicalPlan::Sort(Sort { input, fetch: None, .. }) => push(input, outer, mode),
        LogicalPlan::Limit(limit) => limited(limit, outer, mode),
        LogicalPlan::Subquery(subquery) => push(&subquery.subquery, outer, mode),
        LogicalPlan::Distinct(Distinct::On(distinct)) => first_of_each(distinct, outer, mode),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let Some(below) = push(input, outer, mode)? else { return Ok(None) };
            below.then(LogicalPlanBuilder::distinct).map(Some)
        }
        LogicalPlan::Aggregate(aggregate) => aggregated(aggregate, outer, mode),
        LogicalPlan::Window(window) => framed(window, outer, mode),
        LogicalPlan::Unnest(unnest) if mode == Mode::Inner => {
            let Some(below) = push(&unnest.input, outer, mode)? else { return Ok(None) };
            let plan = unnest_with_options(below.plan, unnest.exec_columns.clone(), unnest.options.clone())?;
            Ok(Some(Pushed { plan, ..below }))
        }
        LogicalPlan::Unnest(unnest) => kept(unnest, outer),
        LogicalPlan::Join(join) => one_side(join, outer, mode),
        LogicalPlan::Values(values) => listed(values, outer, mode),
        _ => Ok(None),
    }
}

fn has_subquery(expression: &Expr) -> bool {
    let is_one = |inner: &Expr| Ok(matches!(inner, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)));
    expression.exists(is_one).unwrap_or(true)
}

/// `EXISTS` as a number of rows, which may stand in a list.
fn counted(expression: Expr) -> Result<Expr> {
    let count = |inner: Expr| match inner {
        Expr::Exists(exists) => Ok(Transformed::yes(exists_by_count(exists)?)),
        other => Ok(Transformed::no(other)),
    };
    Ok(expression.transform(count)?.data)
}

/// The outer rows with the rows of what does not ask for them.
fn joined(plan: LogicalPlan, outer: &Outer, mode: Mode, on: Option<Expr>) -> Result<Pushed> {
    let builder = LogicalPlanBuilder::from(outer.plan.clone());
    let plan = match (mode, on) {
        (Mode::Inner, None) => builder.cross_join(plan)?.build()?,
        (Mode::Inner, Some(on)) => builder.join_on(plan, JoinType::Inner, [on])?.build()?,
        (Mode::Left, on) => {
            let mut columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
            columns.push(lit(true).alias(outer.marker.name.clone()));
            let marked = LogicalPlanBuilder::from(plan).project(columns)?.build()?;
            builder.join_on(marked, JoinType::Left, [on.unwrap_or_else(|| lit(true))])?.build()?
        }
    };
    Ok(Pushed { plan, mode, is_loose: false })
}

/// A join of which one side asks for the outer row.
fn one_side(join: &Join, outer: &Outer, mode: Mode) -> Result<Option<Pushed>> {
    if mode == Mode::Left || outer.is_asked_by(&join.right)? && join.join_type != JoinType::Inner {
        return Ok(None);
    }
    let (asks_left, asks_right) = (outer.is_asked_by(&join.left)?, outer.is_asked_by(&join.right)?);
    let keeps_left =
        matches!(join.join_type, JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti);
    if asks_left && !keeps_left {
        return Ok(None);
    }
    if asks_left && asks_right {
        return Ok(None);
    }
    if !asks_left && !asks_right && join.join_type != JoinType::Inner {
        return Ok(None);
    }
    let on: Vec<Expr> = join.on.iter().map(|(left, right)| left.clone().eq(right.clone())).collect();
    let conditions =
        on.iter().chain(&join.filter).map(|condition| outer.inside(condition)).collect::<Result<Vec<_>>>()?;
    let conditions = if conditions.is_empty() { vec![lit(true)] } else { conditions };
    let (left, right) = if asks_right { (&join.right, &join.left) } else { (&join.left, &join.right) };
    let Some(below) = push(left, outer, mode)? else { return Ok(None) };
    let right = right.as_ref().clone();
    below.then(|plan| plan.join_on(right, join.join_type, conditions)).map(Some)
}

/// `VALUES` of outer columns: as many rows as it has, each with what stands in its place.
fn listed(values: &Values, outer: &Outer, mode: Mode) -> Result<Option<Pushed>> {
    let name = format!("{} place", outer.row.name);
    let rows = (0_i64..).zip(&values.values).map(|(place, _)| vec![lit(place)]).collect();
    let places = LogicalPlanBuilder::values(rows)?
        .project([Expr::Column(Column::new_unqualified("column1")).alias(name.clone())])?
        .build()?;
    let below = joined(places, outer, mode, None)?;
    let place = Expr::Column(Column::new_unqualified(name));
    let mut columns = outer.through(mode);
    for (index, (relation, field)) in values.schema.iter().enumerate() {
        let mut chosen: Option<datafusion::logical_expr::conditional_expressions::CaseBuilder> = None;
        for (row, number) in values.values.iter().zip(0_i64..) {
            let Some(value) = row.get(index) else { return Ok(None) };
            let value = unrounded(outer.inside(value)?, outer)?;
            chosen = Some(match chosen {
                None => case(place.clone()).when(lit(number), value),
                Some(mut builder) => builder.when(lit(number), value),
            });
        }
        let Some(chosen) = chosen else { return Ok(None) };
        columns.push(chosen.end()?.alias_qualified(relation.cloned(), field.name()));
    }
    below.then(|plan| plan.project(columns)).map(Some)
}

/// The value without the engine's cast to what it takes for the column's type, before the type of a `CASE` below is settled: the values
/// of a column find a common type anew. A cast that a query asks for is of a call of the library's.
fn unrounded(value: Expr, outer: &Outer) -> Result<Expr> {
    let Expr::Cast(cast) = value else { return Ok(value) };
    let is_asked_for = matches!(*cast.expr, Expr::ScalarFunction(_));
    let is_of_decimals = cast.field.data_type().is_decimal() && cast.expr.get_type(outer.plan.schema())?.is_decimal();
    Ok(if is_of_decimals && !is_asked_for { *cast.expr } else { Expr::Cast(cast) })
}

impl Pushed {
    fn then(self, make: impl FnOnce(LogicalPlanBuilder) -> Result<LogicalPlanBuilder>) -> Result<Self> {
        let plan = make(LogicalPlanBuilder::from(self.plan))?.build()?;
        Ok(Self { plan, ..self })
    }

    /// The rows for which the predicate holds; where outer rows are kept, the others lose their mark.
    pub(super) fn filtered(self, outer: &Outer, predicate: Expr) -> Result<Self> {
        if self.mode == Mode::Inner {
            return self.then(|plan| plan.filter(predicate));
        }
        let columns = self.plan.schema().columns().into_iter().map(|column| match column == outer.marker {
            // NULL, not false, where the mark is gone.
            true => Ok(case(Expr::Column(column.clone()).and(predicate.clone()))
                .when(lit(true), lit(true))
                .end()?
                .alias(column.name)),
            false => Ok(Expr::Column(column)),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(Self { is_loose: true, ..self.then(|plan| plan.project(columns))? })
    }

    /// Of rows without a mark, one for each outer row that has no other.
    pub(super) fn one_where_none(self, outer: &Outer) -> Result<Self> {
        if self.mode == Mode::Inner || !self.is_loose {
            return Ok(self);
        }
        let name = format!("{} last", outer.row.name);
        let found = Expr::Column(outer.marker.clone());
        let number = outer.number(vec![SortExpr::new(found.clone(), true, false)], &name)?;
        let first = Expr::Column(Column::new_unqualified(name)).eq(lit(ScalarValue::UInt64(Some(1))));
        self.then(|plan| plan.window([number])?.filter(found.is_not_null().or(first)))
    }

    /// The columns as the query calls them: the outer ones, then those of `inner`, of `schema` in the end.
    pub(super) fn restored(self, outer: &Outer, inner: &LogicalPlan, schema: &Arc<DFSchema>) -> Result<LogicalPlan> {
        let back = outer
            .columns
            .iter()
            .map(|(from, to)| Ok(Expr::Column(to.clone()).alias_qualified(from.relation.clone(), from.name.clone())));
        let values = inner.schema().columns().into_iter().zip(schema.columns()).map(|(from, to)| {
            let value = match self.mode {
                Mode::Inner => Expr::Column(from),
                // What the subquery makes of nothing is not there.
                Mode::Left => case(Expr::Column(outer.marker.clone())).when(lit(true), Expr::Column(from)).end()?,
            };
            Ok(value.alias_qualified(to.relation, to.name))
        });
        let columns = back.chain(values).collect::<Result<Vec<_>>>()?;
        LogicalPlanBuilder::from(self.plan).project(columns)?.build()
    }
}
