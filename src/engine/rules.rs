//! The engine's optimiser, without what it gets wrong.

use std::sync::Arc;

use datafusion::{
    common::{Result, tree_node::Transformed},
    logical_expr::{Expr, Filter, LogicalPlan, SortExpr, utils::split_conjunction},
    optimizer::{
        ApplyOrder, OptimizerConfig, OptimizerRule, eliminate_duplicated_expr::EliminateDuplicatedExpr,
        push_down_filter::PushDownFilter,
    },
    physical_optimizer::PhysicalOptimizerRule,
};

use super::{filled_up::FilledUp, seal::sealed};

/// Rules over what a query means.
pub(super) fn logical(rules: &[Arc<dyn OptimizerRule + Send + Sync>]) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let (duplicates, filters) = (EliminateDuplicatedExpr::new(), PushDownFilter::new());
    let mend = |rule: &Arc<dyn OptimizerRule + Send + Sync>| match rule.name() {
        name if name == duplicates.name() => Arc::new(Duplicates(Arc::clone(rule))) as _,
        name if name == filters.name() => Arc::new(Conditions(Arc::clone(rule))) as _,
        _ => Arc::clone(rule),
    };
    rules.iter().map(mend).collect()
}

/// Rules over how it runs.
pub(super) fn physical(
    rules: &[Arc<dyn PhysicalOptimizerRule + Send + Sync>],
) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    std::iter::once(Arc::new(FilledUp) as _).chain(sealed(rules)).collect()
}

/// A key that is there twice is there once. The engine's rule also leaves out keys of an order that it takes to follow from others, and is
/// wrong about them.
#[derive(Debug)]
struct Duplicates(Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for Duplicates {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
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
                let made = self.0.rewrite(LogicalPlan::Aggregate(aggregate), config)?;
                Ok(Transformed { transformed: made.transformed || is_changed, ..made })
            }
            other => self.0.rewrite(other, config),
        }
    }
}

/// Whether a key was there twice.
fn keep_once(keys: &mut Vec<SortExpr>) -> bool {
    let count = keys.len();
    let mut kept: Vec<SortExpr> = Vec::with_capacity(count);
    for key in keys.drain(..) {
        if !kept.iter().any(|before| before.expr == key.expr) {
            kept.push(key);
        }
    }
    *keys = kept;
    keys.len() < count
}

/// Conditions move down. One that asks for no column stays above the aggregate that makes a row of none, which the engine takes to be a key.
#[derive(Debug)]
struct Conditions(Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for Conditions {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match &plan {
            LogicalPlan::Filter(filter) if rules_out_a_row_of_none(filter) => Ok(Transformed::no(plan)),
            _ => self.0.rewrite(plan, config),
        }
    }
}

fn rules_out_a_row_of_none(filter: &Filter) -> bool {
    let LogicalPlan::Aggregate(aggregate) = &*filter.input else { return false };
    let makes_a_row = aggregate.group_expr.iter().all(|group| matches!(group, Expr::GroupingSet(_)));
    makes_a_row && split_conjunction(&filter.predicate).into_iter().any(|condition| !condition.any_column_refs())
}
