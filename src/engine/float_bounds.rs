//! Bounds of floats, which are none. What Parquet knows of a column of floats leaves out NaN, and Postgres has NaN greater than all others: a
//! row group whose greatest number is 5 may hold a row for which `x > 6`. The engine skips it all the same; here it does not ask.

use std::sync::Arc;

use datafusion::{
    common::Result,
    config::ConfigOptions,
    datasource::{
        physical_plan::{FileScanConfig, FileScanConfigBuilder, FileSource as _, ParquetSource},
        source::DataSourceExec,
    },
    physical_expr::{conjunction, split_conjunction},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        ExecutionPlan, PhysicalExpr,
        expressions::{Column, IsNotNullExpr, IsNullExpr},
    },
};

use super::seal::with_children;

/// After all rules that give conditions to scans.
#[derive(Debug)]
pub(super) struct FloatBounds;

impl PhysicalOptimizerRule for FloatBounds {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        mended(plan)
    }

    fn name(&self) -> &'static str {
        "float_bounds"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn mended(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = with_children(plan, mended)?;
    Ok(without_bounds(&plan).unwrap_or(plan))
}

/// The scan without what it asks of the bounds of floats; none where it asks nothing of the kind.
fn without_bounds(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let scan = plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()?;
    let source = scan.file_source().downcast_ref::<ParquetSource>()?;
    let condition = source.filter()?;
    let (kept, dropped): (Vec<_>, Vec<_>) =
        split_conjunction(&condition).into_iter().map(Arc::clone).partition(|part| !asks_floats(part, scan));
    if dropped.is_empty() {
        return None;
    }
    let source = source.with_predicate(conjunction(kept));
    let scan = FileScanConfigBuilder::from(scan.clone()).with_source(Arc::new(source)).build();
    Some(DataSourceExec::from_data_source(scan))
}

/// Whether it compares a float, or computes with one. Whether there is one, the files know.
fn asks_floats(expression: &Arc<dyn PhysicalExpr>, scan: &FileScanConfig) -> bool {
    if expression.is::<IsNullExpr>() || expression.is::<IsNotNullExpr>() {
        return false;
    }
    let of_column = |column: &Column| {
        let field = scan.file_schema().field_with_name(column.name());
        field.map_or(true, |field| field.data_type().is_floating())
    };
    expression.downcast_ref::<Column>().is_some_and(of_column)
        || expression.children().into_iter().any(|child| asks_floats(child, scan))
}
