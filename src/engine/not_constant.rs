//! What does not stay the same. A column that has one value in every row of its input may have others after it: an outer join fills its
//! side up with NULL, grouping sets leave it out, another branch of a union has a value of its own. The engine takes it for constant all
//! the same, and leaves it out of an order; the branches of a union even tell each other which rows are not worth looking at.
//! The least so far of an ordered window is taken for sorted, whatever NULLs it begins with.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{JoinType, Result, Statistics, tree_node::TreeNodeRecursion},
    config::ConfigOptions,
    execution::TaskContext,
    logical_expr::{Operator, SetMonotonicity},
    physical_expr::{
        EquivalenceProperties, split_conjunction,
        window::{PlainAggregateWindowExpr, SlidingAggregateWindowExpr, WindowExpr},
    },
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, SendableRecordBatchStream,
        aggregates::AggregateExec,
        execution_plan::CardinalityEffect,
        expressions::{BinaryExpr, Column, Literal},
        filter::FilterExec,
        filter_pushdown::{ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation},
        joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec},
        replace_children_if_necessary,
        statistics::{ChildStats, StatisticsArgs},
        union::UnionExec,
        windows::{BoundedWindowAggExec, WindowAggExec},
    },
};

use super::seal::with_children;

/// Before all rules that look at what is known of the rows.
#[derive(Debug)]
pub(super) struct NotConstant;

impl PhysicalOptimizerRule for NotConstant {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        mended(plan)
    }

    fn name(&self) -> &'static str {
        "not_constant"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn mended(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut plan = with_children(plan, mended)?;
    let mut sides: Vec<Arc<dyn ExecutionPlan>> = plan.children().into_iter().map(Arc::clone).collect();
    if let (Some(join @ (JoinType::Left | JoinType::Right | JoinType::Full)), [left, right]) =
        (join_type(&plan), sides.as_mut_slice())
    {
        if join != JoinType::Left {
            forget(left);
        }
        if join != JoinType::Right {
            forget(right);
        }
        plan = replace_children_if_necessary(plan, sides)?;
    }
    let has_sets = |aggregate: &AggregateExec| aggregate.group_expr().has_grouping_set();
    let is_mistaken = plan.is::<UnionExec>()
        || plan.downcast_ref().is_some_and(has_sets)
        || windows(&plan).iter().any(grows)
        || plan.downcast_ref().is_some_and(equates_computed);
    if is_mistaken {
        forget(&mut plan);
    }
    Ok(plan)
}

fn windows(plan: &Arc<dyn ExecutionPlan>) -> &[Arc<dyn WindowExpr>] {
    let bounded = plan.downcast_ref::<BoundedWindowAggExec>().map(BoundedWindowAggExec::window_expr);
    bounded.or_else(|| plan.downcast_ref::<WindowAggExec>().map(WindowAggExec::window_expr)).unwrap_or_default()
}

/// Whether the engine takes the function's values for sorted because what it looks at grows: without NULLs, that would be so.
fn grows(window: &Arc<dyn WindowExpr>) -> bool {
    let frame = window.get_window_frame();
    let is_whole = frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded();
    let of_frame = window.as_any().downcast_ref().map(PlainAggregateWindowExpr::get_aggregate_expr);
    let of_sliding = || window.as_any().downcast_ref().map(SlidingAggregateWindowExpr::get_aggregate_expr);
    let aggregate = of_frame.or_else(of_sliding);
    !is_whole && aggregate.is_some_and(|aggregate| aggregate.set_monotonicity() != SetMonotonicity::NotMonotonic)
}

/// Whether a column is said to be what is computed of it, which stands for it from then on where the engine looks for the column.
fn equates_computed(filter: &FilterExec) -> bool {
    split_conjunction(filter.predicate()).into_iter().any(|condition| {
        condition.downcast_ref::<BinaryExpr>().is_some_and(|condition| {
            let sides = [condition.left(), condition.right()];
            *condition.op() == Operator::Eq
                && !sides.iter().any(|side| side.is::<Literal>())
                && !sides.iter().all(|side| side.is::<Column>())
        })
    })
}

fn join_type(plan: &Arc<dyn ExecutionPlan>) -> Option<JoinType> {
    let hash = plan.downcast_ref::<HashJoinExec>().map(|join| *join.join_type());
    let loops = || plan.downcast_ref::<NestedLoopJoinExec>().map(|join| *join.join_type());
    let merge = || plan.downcast_ref::<SortMergeJoinExec>().map(SortMergeJoinExec::join_type);
    hash.or_else(loops).or_else(merge)
}

/// Whether there is a constant or not: later rules may find one.
fn forget(side: &mut Arc<dyn ExecutionPlan>) {
    *side = Arc::new(Forgetful::new(Arc::clone(side)));
}

/// Its input, of which nothing is known: neither constants nor an order. A sort above it stays there, since below it would leave out what
/// the input knows to be constant.
#[derive(Clone, Debug)]
struct Forgetful {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Forgetful {
    fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let known = EquivalenceProperties::new(input.schema());
        let properties = PlanProperties::clone(input.properties()).with_eq_properties(known);
        Self { input, properties: Arc::new(properties) }
    }
}

impl DisplayAs for Forgetful {
    fn fmt_as(&self, _: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Forgetful")
    }
}

impl ExecutionPlan for Forgetful {
    fn name(&self) -> &'static str {
        "Forgetful"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(match children.into_iter().next() {
            Some(input) => Arc::new(Self::new(input)),
            None => self,
        })
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        Ok(inputs.first().map_or_else(|| Arc::new(Statistics::new_unknown(&self.schema())), Arc::clone))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        FilterDescription::from_children(filters, &self.children())
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(result))
    }
}
