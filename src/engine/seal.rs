//! Lists are made of the rows that a condition lets through. The engine moves them below the condition where they have fewer columns than
//! the table, and fails in a row that nobody asks for.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{Result, tree_node::TreeNodeRecursion},
    config::ConfigOptions,
    execution::TaskContext,
    physical_optimizer::{PhysicalOptimizerRule, projection_pushdown::ProjectionPushdown},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, SendableRecordBatchStream,
        coalesce_partitions::CoalescePartitionsExec,
        filter::FilterExec,
        limit::{GlobalLimitExec, LocalLimitExec},
        projection::{ProjectionExec, try_embed_projection},
        repartition::RepartitionExec,
        replace_children_if_necessary,
        sorts::{sort::SortExec, sort_preserving_merge::SortPreservingMergeExec},
    },
};

use super::guard::may_fail;

/// `rules` with conditions sealed where projections are moved.
pub(super) fn sealed(
    rules: &[Arc<dyn PhysicalOptimizerRule + Send + Sync>],
) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let name = ProjectionPushdown::new().name().to_owned();
    let seal = |rule: &Arc<dyn PhysicalOptimizerRule + Send + Sync>| match rule.name() == name {
        true => Arc::new(SealedPushdown { inner: Arc::clone(rule) }) as _,
        false => Arc::clone(rule),
    };
    rules.iter().map(seal).collect()
}

struct SealedPushdown {
    inner: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
}

impl fmt::Debug for SealedPushdown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SealedPushdown")
    }
}

impl PhysicalOptimizerRule for SealedPushdown {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        open(self.inner.optimize(seal(plan, false)?, config)?)
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_check(&self) -> bool {
        self.inner.schema_check()
    }
}

/// Seals the conditions below lists that may fail, as far as a list may be moved.
fn seal(plan: Arc<dyn ExecutionPlan>, is_above: bool) -> Result<Arc<dyn ExecutionPlan>> {
    let is_list = plan.downcast_ref::<ProjectionExec>();
    let passes = is_list.is_some()
        || plan.is::<FilterExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<LocalLimitExec>();
    let fails = is_list.is_some_and(|list| list.expr().iter().any(|projected| may_fail(&projected.expr)));
    let is_above = passes && (is_above || fails);
    let plan = with_children(plan, |child| seal(child, is_above))?;
    Ok(if is_above && plan.is::<FilterExec>() { Arc::new(Sealed(plan)) } else { plan })
}

fn open(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = match plan.downcast_ref::<Sealed>() {
        Some(sealed) => Arc::clone(&sealed.0),
        None => plan,
    };
    with_children(plan, open)
}

fn with_children(
    plan: Arc<dyn ExecutionPlan>,
    make: impl Fn(Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let children: Vec<Arc<dyn ExecutionPlan>> = plan.children().into_iter().map(Arc::clone).collect();
    if children.is_empty() {
        return Ok(plan);
    }
    let made = children.iter().map(|child| make(Arc::clone(child))).collect::<Result<Vec<_>>>()?;
    let is_same = children.iter().zip(&made).all(|(before, after)| Arc::ptr_eq(before, after));
    if is_same { Ok(plan) } else { replace_children_if_necessary(plan, made) }
}

/// A condition that nothing is moved below. It is there while projections are moved, and never runs.
#[derive(Debug)]
struct Sealed(Arc<dyn ExecutionPlan>);

impl DisplayAs for Sealed {
    fn fmt_as(&self, format: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as(format, formatter)
    }
}

impl ExecutionPlan for Sealed {
    fn name(&self) -> &'static str {
        "Sealed"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.0.children()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self(replace_children_if_necessary(Arc::clone(&self.0), children)?)))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.0.apply_expressions(visit)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.0.execute(partition, context)
    }

    /// Columns that only the condition asks for may still be left behind.
    fn try_swapping_with_projection(&self, projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        match self.0.downcast_ref::<FilterExec>() {
            Some(filter) => try_embed_projection(projection, filter),
            None => Ok(None),
        }
    }
}
