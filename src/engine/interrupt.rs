//! Joins that can be stopped while they find nothing.
//!
//! A task that is aborted ends at its next await. A join whose condition lets no pair of rows through looks at billions of pairs
//! before it has a batch to hand over, and does not await in between. Its condition is evaluated batch by batch all the while,
//! so that is where it finds out that nobody waits any more. One without a condition hands over batches faster than whatever adds them up
//! comes to an await; it finds out between two of them.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use arrow::{
    array::RecordBatch,
    datatypes::{FieldRef, Schema},
};
use datafusion::{
    common::{
        DataFusionError, Result,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    execution::TaskContext,
    logical_expr::ColumnarValue,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, SendableRecordBatchStream,
        joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec, utils::JoinFilter},
        stream::RecordBatchStreamAdapter,
        unnest::UnnestExec,
    },
};
use futures::StreamExt;

use super::{
    guard::guarded_expression,
    run::{cancelled, too_late},
};

/// Whether a query is to go on.
#[derive(Debug)]
pub(super) struct Interrupt {
    stopped: AtomicBool,
    deadline: Instant,
}

impl Interrupt {
    pub(super) fn new(deadline: Instant) -> Arc<Self> {
        Arc::new(Self { stopped: AtomicBool::new(false), deadline })
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<()> {
        let error = if self.stopped.load(Ordering::Relaxed) {
            cancelled()
        } else if Instant::now() >= self.deadline {
            too_late()
        } else {
            return Ok(());
        };
        Err(DataFusionError::External(Box::new(error)))
    }
}

/// The plan, with every join, and what else makes many rows of few, made to notice `interrupt`.
pub(super) fn interruptible(
    plan: Arc<dyn ExecutionPlan>,
    interrupt: &Arc<Interrupt>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let wrap = |filter: &JoinFilter| -> Result<Option<JoinFilter>> {
        let inner = guarded_expression(Arc::clone(filter.expression()))?.data;
        let expression = Condition { inner, interrupt: Arc::clone(interrupt) };
        let schema = Arc::clone(filter.schema());
        Ok(Some(JoinFilter::new(Arc::new(expression), filter.column_indices().to_vec(), schema)))
    };
    let noticing = |node: Arc<dyn ExecutionPlan>| -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
            && let Some(filter) = join.filter()
        {
            return Ok(Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(wrap(filter)?).build()?));
        }
        if let Some(join) = node.downcast_ref::<HashJoinExec>()
            && let Some(filter) = join.filter()
        {
            return join.builder().with_filter(wrap(filter)?).build_exec();
        }
        if let Some(join) = node.downcast_ref::<SortMergeJoinExec>()
            && let Some(filter) = join.filter()
        {
            return Ok(Arc::new(SortMergeJoinExec::try_new(
                Arc::clone(&join.left),
                Arc::clone(&join.right),
                join.on.clone(),
                wrap(filter)?,
                join.join_type,
                join.sort_options.clone(),
                join.null_equality,
            )?));
        }
        Ok(node)
    };
    plan.transform_up(|node| {
        if node.children().len() < 2 && !node.is::<UnnestExec>() {
            return Ok(Transformed::no(node));
        }
        let made: Arc<dyn ExecutionPlan> =
            Arc::new(Watched { input: noticing(node)?, interrupt: Arc::clone(interrupt) });
        Ok(Transformed::yes(made))
    })
    .data()
}

/// Its input, batch by batch, until the query is to stop.
#[derive(Debug)]
struct Watched {
    input: Arc<dyn ExecutionPlan>,
    interrupt: Arc<Interrupt>,
}

impl DisplayAs for Watched {
    fn fmt_as(&self, _: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Watched")
    }
}

impl ExecutionPlan for Watched {
    fn name(&self) -> &'static str {
        "Watched"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
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
        let input = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(Self { input, interrupt: Arc::clone(&self.interrupt) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let interrupt = Arc::clone(&self.interrupt);
        let batches = self.input.execute(partition, context)?.map(move |batch| interrupt.check().and(batch));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// A condition that fails when the query is to stop, and else is what it was.
#[derive(Debug)]
struct Condition {
    inner: Arc<dyn PhysicalExpr>,
    interrupt: Arc<Interrupt>,
}

impl PhysicalExpr for Condition {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.interrupt.check()?;
        self.inner.evaluate(batch)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Self { inner, interrupt: Arc::clone(&self.interrupt) }))
    }

    fn fmt_sql(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(formatter)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(formatter)
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Condition {}

impl Hash for Condition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}
