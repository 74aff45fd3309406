//! The engine's optimiser, without what it gets wrong.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{
        Column, Result, plan_err,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    config::ConfigOptions,
    logical_expr::{
        BinaryExpr, Expr, ExprSchemable, Filter, LogicalPlan, Projection, SortExpr, Window, lit,
        utils::{conjunction, split_conjunction, split_conjunction_owned},
    },
    optimizer::{
        ApplyOrder, OptimizerConfig, OptimizerRule, common_subexpr_eliminate::CommonSubexprEliminate,
        eliminate_duplicated_expr::EliminateDuplicatedExpr, push_down_filter::PushDownFilter,
    },
    physical_optimizer::{PhysicalOptimizerRule, aggregate_statistics::AggregateStatistics},
    physical_plan::{
        ExecutionPlan,
        aggregates::{AggregateExec, AggregateInputMode},
        coalesce_partitions::CoalescePartitionsExec,
        placeholder_row::PlaceholderRowExec,
        projection::ProjectionExec,
        repartition::RepartitionExec,
    },
};

use super::{
    date_bounds::DateBounds,
    failure::VALUES_DIFFER,
    float_bounds::FloatBounds,
    not_constant::NotConstant,
    seal::{sealed, with_children},
};

/// Rules over what a query means.
pub(super) fn logical(rules: &[Arc<dyn OptimizerRule + Send + Sync>]) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let (duplicates, conditions) = (EliminateDuplicatedExpr::new(), PushDownFilter::new());
    let common = CommonSubexprEliminate::new();
    let mend = |rule: &Arc<dyn OptimizerRule + Send + Sync>| -> Arc<dyn OptimizerRule + Send + Sync> {
        let inner = Arc::clone(rule);
        match rule.name() {
            name if name == duplicates.name() => Arc::new(Mended { inner, rewrite: keys_once }),
            name if name == common.name() => Arc::new(Mended { inner, rewrite: parts_once }),
            name if name == conditions.name() => Arc::new(Mended { inner, rewrite: conditions_down }),
            _ => inner,
        }
    };
    let mut mended: Vec<_> = rules.iter().map(mend).collect();
    // Once constants are computed, and before conditions are where they cannot move on.
    let place = mended.iter().position(|rule| rule.name() == conditions.name()).unwrap_or(mended.len());
    mended.insert(place, Arc::new(DateBounds));
    mended.push(Arc::new(OneType));
    mended
}

/// Rules over how it runs.
pub(super) fn physical(
    rules: &[Arc<dyn PhysicalOptimizerRule + Send + Sync>],
) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let statistics = AggregateStatistics::new();
    let mend = |rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>| match rule.name() {
        name if name == statistics.name() => Arc::new(OwnStatistics { inner: rule }) as _,
        _ => rule,
    };
    let rules = std::iter::once(Arc::new(NotConstant) as _).chain(sealed(rules).into_iter().map(mend));
    rules.chain(std::iter::once(Arc::new(FloatBounds) as _)).collect()
}

/// Answers an aggregate from what is known of its rows. The engine's rule passes over one with a `FILTER`, and answers it from whatever
/// aggregate it finds further down.
struct OwnStatistics {
    inner: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
}

impl fmt::Debug for OwnStatistics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OwnStatistics")
    }
}

impl PhysicalOptimizerRule for OwnStatistics {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = with_children(plan, |child| self.optimize(child, config))?;
        if !reads_its_own_rows(&plan) {
            return Ok(plan);
        }
        // It goes on below where it has no answer for this one.
        let made = self.inner.optimize(Arc::clone(&plan), config)?;
        let is_answer =
            made.is::<ProjectionExec>() && made.children().iter().all(|child| child.is::<PlaceholderRowExec>());
        Ok(if is_answer { made } else { plan })
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_check(&self) -> bool {
        self.inner.schema_check()
    }
}

/// Whether it is an aggregate without a `FILTER`, in one step or in two of which the first is right below.
fn reads_its_own_rows(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let Some(aggregate) = plan.downcast_ref::<AggregateExec>() else { return false };
    let is_whole = |aggregate: &AggregateExec| aggregate.filter_expr().iter().all(Option::is_none);
    if aggregate.mode().input_mode() == AggregateInputMode::Raw {
        return is_whole(aggregate);
    }
    let mut below = aggregate.input();
    while below.is::<CoalescePartitionsExec>() || below.is::<RepartitionExec>() {
        let [input] = below.children()[..] else { return false };
        below = input;
    }
    below
        .downcast_ref::<AggregateExec>()
        .is_some_and(|first| first.mode().input_mode() == AggregateInputMode::Raw && is_whole(first))
}

/// A rule of the engine with another way to rewrite a node, which may ask the rule itself.
#[derive(Debug)]
struct Mended {
    inner: Arc<dyn OptimizerRule + Send + Sync>,
    rewrite: Rewrite,
}

type Rewrite = fn(&dyn OptimizerRule, LogicalPlan, &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>>;

impl OptimizerRule for Mended {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.inner.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        (self.rewrite)(self.inner.as_ref(), plan, config)
    }
}

/// A key that is there twice is there once. The engine's rule also leaves out keys of an order that it takes to follow from others, and is
/// wrong about them; and it fails over an aggregate whose order has a key twice.
fn keys_once(
    rule: &dyn OptimizerRule,
    plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Sort(mut sort) => {
            let is_changed = keep_once(&mut sort.expr);
            Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), is_changed))
        }
        LogicalPlan::Aggregate(mut aggregate) => {
            let mut is_changed = false;
            // Another order is another name, but for what has one of its own.
            for expression in &mut aggregate.aggr_expr {
                if let Expr::Alias(alias) = expression
                    && let Expr::AggregateFunction(function) = &mut *alias.expr
                {
                    is_changed |= keep_once(&mut function.params.order_by);
                }
            }
            let made = rule.rewrite(LogicalPlan::Aggregate(aggregate), config)?;
            Ok(Transformed { transformed: made.transformed || is_changed, ..made })
        }
        other => rule.rewrite(other, config),
    }
}

/// What is computed twice is computed once. Window functions that have become the same are one before that: the engine would take them out
/// of their windows, to where no window is.
fn parts_once(
    rule: &dyn OptimizerRule,
    plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    let once = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Window(window) => functions_once(window),
        other => Ok(Transformed::no(other)),
    })?;
    let is_changed = once.transformed;
    let made = rule.rewrite(once.data, config)?;
    Ok(Transformed { transformed: made.transformed || is_changed, ..made })
}

/// A window function that is there under two names, in this window or in those right below, is there once, and shown twice.
fn functions_once(window: Window) -> Result<Transformed<LogicalPlan>> {
    let column = |function: &Expr| {
        let (relation, name) = function.qualified_name();
        Expr::Column(Column::new(relation, name))
    };
    let mut known: Vec<&Expr> = Vec::new();
    let mut below = &*window.input;
    while let LogicalPlan::Window(lower) = below {
        known.extend(&lower.window_expr);
        below = &lower.input;
    }
    let mut kept: Vec<Expr> = Vec::new();
    let mut shown: Vec<Expr> = window.input.schema().columns().into_iter().map(Expr::Column).collect();
    for function in &window.window_expr {
        let is_same = |before: &&&Expr| bare(before) == bare(function) && !function.is_volatile();
        if let Some(before) = known.iter().find(is_same) {
            let (relation, name) = function.qualified_name();
            shown.push(column(before).alias_qualified(relation, name));
        } else {
            shown.push(column(function));
            kept.push(function.clone());
            known.push(function);
        }
    }
    if kept.len() == window.window_expr.len() {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let input = match kept.is_empty() {
        true => Arc::clone(&window.input),
        false => Arc::new(LogicalPlan::Window(Window::try_new(kept, Arc::clone(&window.input))?)),
    };
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(shown, input)?)))
}

/// Without its names.
fn bare(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}

/// Whether a key was there twice.
fn keep_once(keys: &mut Vec<SortExpr>) -> bool {
    let count = keys.len();
    for mut key in std::mem::take(keys) {
        // What it is called says nothing of an order.
        key.expr = key.expr.unalias();
        if !keys.iter().any(|before| before.expr == key.expr) {
            keys.push(key);
        }
    }
    keys.len() < count
}

/// Conditions move down. One that asks for no column stays above the aggregate that makes a row of none: the engine takes it for one on keys.
fn conditions_down(
    rule: &dyn OptimizerRule,
    plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Filter(filter) = plan else { return rule.rewrite(plan, config) };
    let (mut filter, is_joined) = joined(filter);
    if rules_out_a_row_of_none(&filter) || is_of_changed_windows(&filter) {
        return Ok(Transformed::new_transformed(LogicalPlan::Filter(filter), is_joined));
    }
    // The engine takes `1 = id AND id = 1` for two values that one column cannot have.
    filter.predicate = filter.predicate.transform_up(column_first).data()?;
    rule.rewrite(LogicalPlan::Filter(filter), config)
}

/// Filters upon filters as one, the lowest first, as the engine's rule would join them by itself, unseen.
fn joined(mut filter: Filter) -> (Filter, bool) {
    let mut is_joined = false;
    while let LogicalPlan::Filter(below) = &*filter.input {
        let below = below.clone();
        let mut conditions: Vec<Expr> = Vec::new();
        for condition in [below.predicate, filter.predicate].into_iter().flat_map(split_conjunction_owned) {
            if !conditions.contains(&condition) {
                conditions.push(condition);
            }
        }
        filter.predicate = conjunction(conditions).unwrap_or_else(|| lit(true));
        filter.input = below.input;
        is_joined = true;
    }
    (filter, is_joined)
}

fn column_first(condition: Expr) -> Result<Transformed<Expr>> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!((&*left, &*right), (Expr::Literal(..), Expr::Column(_))) =>
        {
            Ok(match op.swap() {
                Some(op) => Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(right, op, left))),
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr::new(left, op, right))),
            })
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Whether a window holds what the engine does not look for: a function with two names, or what is left of one.
fn is_of_changed_windows(filter: &Filter) -> bool {
    let LogicalPlan::Window(window) = &*filter.input else { return false };
    !window.window_expr.iter().all(|function| match function {
        Expr::Alias(alias) => matches!(*alias.expr, Expr::WindowFunction(_)),
        other => matches!(other, Expr::WindowFunction(_)),
    })
}

fn rules_out_a_row_of_none(filter: &Filter) -> bool {
    let LogicalPlan::Aggregate(aggregate) = &*filter.input else { return false };
    let makes_a_row = aggregate.group_expr.iter().all(|group| matches!(group, Expr::GroupingSet(_)));
    makes_a_row && split_conjunction(&filter.predicate).into_iter().any(|condition| !condition.any_column_refs())
}

/// Refuses `VALUES` with a value that is of another type than its column. The engine reads a number of another scale as one of the column's.
#[derive(Debug)]
struct OneType;

impl OptimizerRule for OneType {
    fn name(&self) -> &'static str {
        "one_type"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Values(values) = &plan else { return Ok(Transformed::no(plan)) };
        let columns = values.schema.fields();
        for (value, column) in values.values.iter().flat_map(|row| row.iter().zip(columns)) {
            let data_type = value.get_type(&values.schema)?;
            if data_type != *column.data_type() && !data_type.is_null() {
                return plan_err!("{VALUES_DIFFER}");
            }
        }
        Ok(Transformed::no(plan))
    }
}
