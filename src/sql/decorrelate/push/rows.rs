//! What is done with the rows of each outer row: numbered, limited, framed, aggregated, unnested.

use std::sync::Arc;

use datafusion::{
    common::{Column, Result, ScalarValue},
    functions_nested::expr_fn::cardinality,
    functions_window::row_number::row_number_udwf,
    logical_expr::{
        Aggregate, Distinct, DistinctOn, Expr, FetchType, Limit, LogicalPlan, SkipType, Sort, SortExpr, Unnest, Window,
        WindowFrame, builder::unnest_with_options, case, expr::WindowFunction, lit,
    },
};

use super::{Mode, Outer, Pushed, push};

/// The elements of arrays, and each outer row that has none.
pub(super) fn kept(unnest: &Unnest, outer: &Outer) -> Result<Option<Pushed>> {
    let Some(below) = push(&unnest.input, outer, Mode::Left)? else { return Ok(None) };
    let is_there = |column: &Column| cardinality(Expr::Column(column.clone())).gt(lit(0_u64));
    let any = unnest.exec_columns.iter().map(is_there).reduce(Expr::or);
    let Some(any) = any else { return Ok(None) };
    let marker = Expr::Column(outer.marker.clone());
    let columns = below.plan.schema().columns().into_iter().map(|column| {
        let (condition, value) = if column == outer.marker {
            (marker.clone().and(any.clone()), lit(true))
        } else if unnest.exec_columns.contains(&column) {
            (marker.clone().and(is_there(&column)), Expr::Column(column.clone()))
        } else {
            return Ok(Expr::Column(column));
        };
        Ok(case(condition).when(lit(true), value).end()?.alias_qualified(column.relation, column.name))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = unnest.options.clone().with_preserve_nulls(true);
    let made = below.then(|plan| plan.project(columns))?;
    let plan = unnest_with_options(made.plan, unnest.exec_columns.clone(), options)?;
    Ok(Some(Pushed { plan, ..made }))
}

/// `DISTINCT ON`: the first row of each kind.
pub(super) fn first_of_each(distinct: &DistinctOn, outer: &Outer, mode: Mode) -> Result<Option<Pushed>> {
    let Some(below) = push(&distinct.input, outer, mode)? else { return Ok(None) };
    let mut number = WindowFunction::new(row_number_udwf(), Vec::new());
    number.params.partition_by.push(Expr::Column(outer.row.clone()));
    if mode == Mode::Left {
        number.params.partition_by.push(Expr::Column(outer.marker.clone()));
    }
    for expression in &distinct.on_expr {
        number.params.partition_by.push(outer.inside(expression)?);
    }
    for sort in distinct.sort_expr.iter().flatten() {
        number.params.order_by.push(sort.with_expr(outer.inside(&sort.expr)?));
    }
    number.params.window_frame = WindowFrame::new((!number.params.order_by.is_empty()).then_some(true));
    let name = format!("{} first", outer.row.name);
    let is_first = Expr::Column(Column::new_unqualified(name.clone())).eq(lit(ScalarValue::UInt64(Some(1))));
    let mut columns = outer.through(mode);
    for (expression, (relation, field)) in distinct.select_expr.iter().zip(distinct.schema.iter()) {
        columns.push(outer.inside(expression)?.unalias().alias_qualified(relation.cloned(), field.name()));
    }
    below.then(|plan| plan.window([Expr::from(number).alias(name)])?.filter(is_first)?.project(columns)).map(Some)
}

/// The rows that a window function looks at are those of one outer row.
pub(super) fn framed(window: &Window, outer: &Outer, mode: Mode) -> Result<Option<Pushed>> {
    let Some(below) = push(&window.input, outer, mode)? else { return Ok(None) };
    let mut functions = Vec::with_capacity(window.window_expr.len());
    let names = window.schema.iter().skip(window.input.schema().fields().len());
    for (expression, (relation, field)) in window.window_expr.iter().zip(names) {
        let Expr::WindowFunction(mut function) = outer.inside(expression)?.unalias() else { return Ok(None) };
        function.params.partition_by.push(Expr::Column(outer.row.clone()));
        if mode == Mode::Left {
            // Those that only keep their outer row are none of them.
            function.params.partition_by.push(Expr::Column(outer.marker.clone()));
        }
        functions.push(Expr::WindowFunction(function).alias_qualified(relation.cloned(), field.name()));
    }
    below.then(|plan| plan.window(functions)).map(Some)
}

pub(super) fn limited(limit: &Limit, outer: &Outer, mode: Mode) -> Result<Option<Pushed>> {
    // Whatever makes one row of each may as well stand above: the order is that of the rows below it.
    if matches!(limit.input.as_ref(), LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_)) {
        let inputs = limit.input.inputs();
        let [input] = inputs.as_slice() else { return Ok(None) };
        let below = LogicalPlan::Limit(Limit { input: Arc::new((*input).clone()), ..limit.clone() });
        return push(&limit.input.with_new_exprs(limit.input.expressions(), vec![below])?, outer, mode);
    }
    let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?) else {
        return Ok(None);
    };
    let (input, order) = match limit.input.as_ref() {
        LogicalPlan::Sort(Sort { input, expr, fetch: None }) => (input, expr.clone()),
        // `DISTINCT ON` has its order inside.
        LogicalPlan::Distinct(Distinct::On(distinct)) => match order_of(distinct) {
            Some(order) => (&limit.input, order),
            None => return Ok(None),
        },
        _ => (&limit.input, Vec::new()),
    };
    let Some(below) = push(input, outer, mode)? else { return Ok(None) };
    let mut sorts = Vec::with_capacity(order.len() + 1);
    if mode == Mode::Left {
        // What only keeps its outer row comes last.
        sorts.push(SortExpr::new(Expr::Column(outer.marker.clone()), true, false));
    }
    for sort in &order {
        sorts.push(sort.with_expr(outer.inside(&sort.expr)?));
    }
    let name = format!("{} number", outer.row.name);
    let number = outer.number(sorts, &name)?;
    let place = Expr::Column(Column::new_unqualified(name));
    let count = |rows: usize| lit(ScalarValue::UInt64(Some(u64::try_from(rows).unwrap_or(u64::MAX))));
    let mut keep = place.clone().gt(count(skip));
    if let Some(fetch) = fetch {
        keep = keep.and(place.lt_eq(count(skip.saturating_add(fetch))));
    }
    let columns: Vec<Expr> =
        outer.through(mode).into_iter().chain(input.schema().columns().into_iter().map(Expr::Column)).collect();
    let numbered = below.then(|plan| plan.window([number]))?;
    // Whoever skips all rows of an outer row still has that.
    let kept = if mode == Mode::Left && (skip > 0 || fetch == Some(0)) {
        numbered.filtered(outer, keep)?
    } else {
        numbered.then(|plan| plan.filter(keep))?
    };
    kept.then(|plan| plan.project(columns)).map(Some)
}

/// The order of its rows by the columns that it gives; none if it is by something else.
fn order_of(distinct: &DistinctOn) -> Option<Vec<SortExpr>> {
    let given = |sort: &SortExpr| {
        let place =
            distinct.select_expr.iter().position(|given| given.clone().unalias() == sort.expr.clone().unalias())?;
        let (relation, field) = distinct.schema.qualified_field(place);
        Some(sort.with_expr(Expr::Column(Column::new(relation.cloned(), field.name()))))
    };
    distinct.sort_expr.iter().flatten().map(given).collect()
}

/// For each outer row, which is there even if there is nothing to aggregate.
pub(super) fn aggregated(aggregate: &Aggregate, outer: &Outer, mode: Mode) -> Result<Option<Pushed>> {
    let is_whole = aggregate.group_expr.is_empty();
    let inner_mode = if is_whole { Mode::Left } else { mode };
    let Some(below) = push(&aggregate.input, outer, inner_mode)? else { return Ok(None) };
    // Groups of rows that only keep their outer row are of their own.
    let kept = if is_whole { Mode::Inner } else { mode };
    let mut groups = outer.through(kept);
    for expression in &aggregate.group_expr {
        if matches!(expression, Expr::GroupingSet(_)) {
            return Ok(None);
        }
        groups.push(outer.inside(expression)?);
    }
    let names = aggregate.schema.fields().iter().skip(aggregate.group_expr.len());
    let mut aggregates = Vec::with_capacity(aggregate.aggr_expr.len());
    for (expression, field) in aggregate.aggr_expr.iter().zip(names) {
        let Expr::AggregateFunction(mut function) = outer.inside(expression)?.unalias() else { return Ok(None) };
        if is_whole {
            let found = Expr::Column(outer.marker.clone());
            function.params.filter = Some(Box::new(match function.params.filter.take() {
                Some(filter) => filter.and(found),
                None => found,
            }));
        }
        aggregates.push(Expr::AggregateFunction(function).alias(field.name().clone()));
    }
    let mut columns = outer.through(kept);
    if is_whole && mode == Mode::Left {
        columns.push(lit(true).alias(outer.marker.name.clone()));
    }
    for (expression, (relation, field)) in aggregate.group_expr.iter().zip(aggregate.schema.iter()) {
        columns.push(match outer.inside(expression)? {
            made if made == *expression => Expr::Column(Column::new(relation.cloned(), field.name())),
            _ => return Ok(None),
        });
    }
    let names = aggregate.schema.fields().iter().skip(aggregate.group_expr.len());
    columns.extend(names.map(|field| Expr::Column(Column::new_unqualified(field.name()))));
    let made = below.then(|plan| plan.aggregate(groups, aggregates)?.project(columns))?;
    Ok(Some(Pushed { mode, is_loose: !is_whole && made.is_loose, ..made }))
}
