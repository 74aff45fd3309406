//! The tenant barrier: what lets one tenant's rows through, and nothing that tells of the others'.
//!
//! It stands over the scan of every table whose rows belong to tenants, and compares each row's tenant itself, whatever has been skipped
//! below it. Everything that an optimiser may ask of a plan or move through it is refused, as the library does by default: conditions,
//! limits, lists, orders, statistics. What a query computes is computed above, on the rows of its own tenant.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, Scalar},
    compute::{BatchCoalescer, kernels::cmp, prep_null_mask_filter},
    datatypes::SchemaRef,
};
use datafusion::{
    common::{Result, ScalarValue, internal_err, tree_node::TreeNodeRecursion},
    datasource::{physical_plan::FileScanConfig, source::DataSourceExec},
    execution::TaskContext,
    logical_expr::{Expr, Operator, utils::split_conjunction},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties, RecordBatchStream,
        SendableRecordBatchStream,
        coalesce_partitions::CoalescePartitionsExec,
        empty::EmptyExec,
        expressions::{BinaryExpr, Column, Literal},
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet},
        repartition::RepartitionExec,
    },
};
use futures::{Stream, StreamExt};
use object_store::path::Path;

use super::Engine;
use crate::access::TenantId;

/// The rows of one tenant.
#[derive(Clone, Debug)]
pub(super) struct TenantBarrierExec {
    input: Arc<dyn ExecutionPlan>,
    /// Where the tenant is among the input's columns.
    column: usize,
    tenant: TenantId,
    /// The tenant as that column has it.
    value: ScalarValue,
    /// So many of the input's first columns are handed up.
    width: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl TenantBarrierExec {
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        column: usize,
        tenant: TenantId,
        value: ScalarValue,
        width: usize,
    ) -> Result<Self> {
        let schema = input.schema();
        let is_tenants = schema.fields().get(column).is_some_and(|field| *field.data_type() == value.data_type());
        if !is_tenants || value.is_null() || width > schema.fields().len() {
            return internal_err!("a tenant barrier over other columns");
        }
        let above = Arc::new(schema.project(&(0..width).collect::<Vec<_>>())?);
        let partitions = input.properties().output_partitioning().partition_count();
        let properties = PlanProperties::clone(input.properties())
            .with_eq_properties(EquivalenceProperties::new(above))
            .with_partitioning(Partitioning::UnknownPartitioning(partitions));
        let (properties, metrics) = (Arc::new(properties), ExecutionPlanMetricsSet::new());
        Ok(Self { input, column, tenant, value, width, properties, metrics })
    }
}

impl DisplayAs for TenantBarrierExec {
    fn fmt_as(&self, _: DisplayFormatType, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TenantBarrierExec")
    }
}

impl ExecutionPlan for TenantBarrierExec {
    fn name(&self) -> &'static str {
        "TenantBarrierExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
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
        match <[_; 1]>::try_from(children) {
            Ok([input]) if input.schema() == self.input.schema() => {
                Ok(Arc::new(Self::new(input, self.column, self.tenant.clone(), self.value.clone(), self.width)?))
            }
            _ => internal_err!("a tenant barrier over another plan"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = context.session_config().batch_size();
        let schema = self.schema();
        // Where a batch ends depends on the tenant's rows alone: a query that fails in a batch does so whoever else there is.
        let batches = BatchCoalescer::new(Arc::clone(&schema), rows);
        Ok(Box::pin(TenantRows {
            input: Some(self.input.execute(partition, context)?),
            column: self.column,
            tenant: self.value.to_scalar()?.into_inner(),
            columns: (0..self.width).collect(),
            schema,
            batches,
            metrics: BaselineMetrics::new(&self.metrics, partition),
        }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

struct TenantRows {
    /// None once it has ended.
    input: Option<SendableRecordBatchStream>,
    column: usize,
    /// One row.
    tenant: ArrayRef,
    columns: Vec<usize>,
    schema: SchemaRef,
    batches: BatchCoalescer,
    metrics: BaselineMetrics,
}

impl TenantRows {
    fn take_in(&mut self, batch: &RecordBatch) -> Result<()> {
        let is_theirs = cmp::eq(batch.column(self.column), &Scalar::new(Arc::clone(&self.tenant)))?;
        let is_theirs = if is_theirs.null_count() > 0 { prep_null_mask_filter(&is_theirs) } else { is_theirs };
        match is_theirs.true_count() {
            0 => Ok(()),
            all if all == batch.num_rows() => Ok(self.batches.push_batch(batch.project(&self.columns)?)?),
            _ => Ok(self.batches.push_batch_with_filter(batch.project(&self.columns)?, &is_theirs)?),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        loop {
            if let Some(batch) = self.batches.next_completed_batch() {
                return Poll::Ready(Some(Ok(batch)));
            }
            let Some(input) = &mut self.input else { return Poll::Ready(None) };
            let next = ready!(input.poll_next_unpin(context));
            let timer = self.metrics.elapsed_compute().clone();
            let _timed = timer.timer();
            let taken = match next {
                Some(Ok(batch)) => self.take_in(&batch),
                Some(Err(error)) => Err(error),
                None => {
                    self.input = None;
                    self.batches.finish_buffered_batch().map_err(Into::into)
                }
            };
            if let Err(error) = taken {
                self.input = None;
                while self.batches.next_completed_batch().is_some() {}
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl Stream for TenantRows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let poll = self.poll(context);
        self.metrics.record_poll(poll)
    }
}

impl RecordBatchStream for TenantRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// What of a condition is asked of the files, to skip what cannot hold a row: whose the rows are, and comparisons of a column with a value,
/// which cannot fail and compute nothing. All of it is asked again of the rows.
pub(super) fn condition(
    schema: &SchemaRef,
    column: usize,
    value: &ScalarValue,
    filters: &[Expr],
) -> Arc<dyn PhysicalExpr> {
    let tenant = Arc::new(Column::new(schema.field(column).name(), column));
    let is_theirs = binary(tenant, Operator::Eq, value);
    filters
        .iter()
        .flat_map(split_conjunction)
        .filter_map(|filter| plain(schema, filter))
        .fold(is_theirs, |left, right| Arc::new(BinaryExpr::new(left, Operator::And, right)))
}

fn binary(column: Arc<Column>, op: Operator, value: &ScalarValue) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(column, op, Arc::new(Literal::new(value.clone()))))
}

/// `column op value` of the type that the files hold.
fn plain(schema: &SchemaRef, filter: &Expr) -> Option<Arc<dyn PhysicalExpr>> {
    let Expr::BinaryExpr(comparison) = filter else { return None };
    let (name, op, value) = match (&*comparison.left, &*comparison.right) {
        (Expr::Column(column), Expr::Literal(value, _)) => (&column.name, comparison.op, value),
        (Expr::Literal(value, _), Expr::Column(column)) => (&column.name, comparison.op.swap()?, value),
        _ => return None,
    };
    let (index, field) = schema.column_with_name(name)?;
    let is_plain = matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
        && !field.data_type().is_nested()
        // What is known of floats leaves out NaN, which is greater than all others.
        && !field.data_type().is_floating()
        && *field.data_type() == value.data_type()
        && !value.is_null();
    is_plain.then(|| binary(Arc::new(Column::new(name, index)), op, value))
}

/// Refuses a plan that reads files of a tenant's table anywhere but below a barrier for this tenant. Plans are made so that none does; this
/// is for the day on which one is not.
pub(super) struct Check {
    pub(super) tenant: TenantId,
    pub(super) engine: Engine,
}

impl Check {
    pub(super) fn verify(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
        verify(plan, &self.tenant, &self.engine.0.shared_files)
    }
}

fn verify(plan: &Arc<dyn ExecutionPlan>, tenant: &TenantId, shared: &HashSet<Path>) -> Result<()> {
    if let Some(barrier) = plan.downcast_ref::<TenantBarrierExec>() {
        if barrier.tenant != *tenant {
            return internal_err!("a barrier for another tenant");
        }
        return only_reads(&barrier.input);
    }
    if let Some(source) = plan.downcast_ref::<DataSourceExec>()
        && let Some(scan) = source.data_source().downcast_ref::<FileScanConfig>()
    {
        let mut files = scan.file_groups.iter().flat_map(|group| group.iter());
        if !files.all(|file| shared.contains(&file.object_meta.location)) {
            return internal_err!("a tenant's table is read without a barrier");
        }
    }
    plan.children().into_iter().try_for_each(|child| verify(child, tenant, shared))
}

/// Below a barrier, nothing is computed.
fn only_reads(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let reads = plan.is::<DataSourceExec>()
        || plan.is::<EmptyExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<CoalescePartitionsExec>();
    if !reads {
        return internal_err!("{} below a tenant barrier", plan.name());
    }
    plan.children().into_iter().try_for_each(only_reads)
}
