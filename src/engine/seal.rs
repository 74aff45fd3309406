//! What must not be moved where the engine moves it. Lists are made of the rows that a condition lets through: below it, they fail in a row
//! that nobody asks for. And a condition moved by the names of its columns finds another's where two have one name.

use std::{collections::HashSet, fmt, sync::Arc};

use datafusion::{
    common::{Result, tree_node::TreeNodeRecursion},
    config::ConfigOptions,
    execution::TaskContext,
    physical_optimizer::{
        PhysicalOptimizerRule, filter_pushdown::FilterPushdown, projection_pushdown::ProjectionPushdown,
    },
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, SendableRecordBatchStream,
        coalesce_partitions::CoalescePartitionsExec,
        filter::FilterExec,
        joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec},
        limit::{GlobalLimitExec, LocalLimitExec},
        projection::{ProjectionExec, try_embed_projection},
        repartition::RepartitionExec,
        replace_children_if_necessary,
        sorts::{sort::SortExec, sort_preserving_merge::SortPreservingMergeExec},
    },
};

use super::guard::may_fail;

/// `rules` with conditions sealed where projections are moved, and with columns of one name where conditions are.
pub(super) fn sealed(
    rules: &[Arc<dyn PhysicalOptimizerRule + Send + Sync>],
) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let (lists, before, after) =
        (ProjectionPushdown::new(), FilterPushdown::new(), FilterPushdown::new_post_optimization());
    let seals = |rule: &Arc<dyn PhysicalOptimizerRule + Send + Sync>| -> Arc<dyn PhysicalOptimizerRule + Send + Sync> {
        let inner = Arc::clone(rule);
        match rule.name() {
            name if name == lists.name() => Arc::new(Sealing { inner, seal: |plan| seal(plan, false) }),
            name if name == before.name() || name == after.name() => Arc::new(Sealing { inner, seal: keep_apart }),
            _ => inner,
        }
    };
    rules.iter().map(seals).collect()
}

type Seal = fn(Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>>;

/// A rule that sees a plan with seals, which are gone after it.
struct Sealing {
    inner: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
    seal: Seal,
}

impl fmt::Debug for Sealing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sealing({})", self.inner.name())
    }
}

impl PhysicalOptimizerRule for Sealing {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        open(self.inner.optimize((self.seal)(plan)?, config)?)
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_check(&self) -> bool {
        self.inner.schema_check()
    }
}

/// Seals what has two columns of one name. A condition that is moved through it finds its columns by their names, and may find another's:
/// in the swapped join of two tables that both have an `id`, one that asks whether the one is NULL asks it of the other.
fn keep_apart(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    // A join itself tells its sides apart, if each of them can.
    let is_join = plan.is::<HashJoinExec>() || plan.is::<NestedLoopJoinExec>() || plan.is::<SortMergeJoinExec>();
    let is_twofold = !is_join && has_twins(&plan) || plan.children().into_iter().any(has_twins);
    let plan = with_children(plan, keep_apart)?;
    Ok(if is_twofold { Arc::new(Sealed(plan)) } else { plan })
}

fn has_twins(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let schema = plan.schema();
    let mut names = HashSet::with_capacity(schema.fields().len());
    !schema.fields().iter().all(|field| names.insert(field.name()))
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

/// The plan with what `make` makes of its children.
pub(super) fn with_children(
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

/// What nothing is moved through. It is there while a rule runs, and never executes.
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
