//! Rows of a query that ran on the source, as they would be if the engine had run it.
//!
//! Owns: which type a column of such rows has for whoever reads them: intervals are intervals, arrays lists, instants of the session's
//! time zone, and what the Arrow type does not tell of the Postgres type is in the field's metadata. Must not know: where they came from.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef},
};
use datafusion::{
    common::DataFusionError,
    logical_expr::ScalarUDF,
    physical_expr::ScalarFunctionExpr,
    physical_plan::{PhysicalExpr, expressions::Column},
};

use super::{failure, interval};
use crate::{
    error::{Error, Result},
    sql::{PG_TYPE_KEY, array_column},
};

/// What makes batches of the source's into those that queries give.
pub struct SourceRows {
    schema: SchemaRef,
    /// For each column, what makes its values; none where they are as they came.
    conversions: Vec<Option<Arc<dyn PhysicalExpr>>>,
}

/// A column as it comes from the source.
#[derive(Clone, Copy, Debug)]
pub struct SourceColumn<'a> {
    /// Its name.
    pub name: &'a str,
    /// `pg_type.typname`.
    pub postgres_type: &'a str,
    /// Of its arrays.
    pub data_type: &'a DataType,
}

impl SourceRows {
    /// For rows of these columns, in a session of this time zone.
    #[must_use]
    pub fn new<'a>(columns: impl IntoIterator<Item = SourceColumn<'a>>, time_zone: &str) -> Self {
        let mut fields = Vec::new();
        let mut conversions = Vec::new();
        for (index, column) in columns.into_iter().enumerate() {
            let (field, function) = seen(column, time_zone);
            conversions.push(function.map(|function| {
                let argument: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name, index));
                let name = function.name().to_owned();
                let field = Arc::new(field.clone());
                Arc::new(ScalarFunctionExpr::new(&name, function, vec![argument], field, Arc::default())) as _
            }));
            fields.push(field);
        }
        Self { schema: Arc::new(Schema::new(fields)), conversions }
    }

    /// The columns of every batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A batch as queries give it.
    ///
    /// # Errors
    /// For a value that the engine's type cannot hold, as an interval of 300 years in hours.
    pub fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = batch.columns().iter().zip(&self.conversions).zip(self.schema.fields());
        let columns = columns.map(|((column, conversion), field)| match conversion {
            Some(expression) => {
                let values = expression.evaluate(batch).and_then(|values| values.into_array(batch.num_rows()));
                values.map_err(|error| failure::from_datafusion(error, None).while_running())
            }
            None => relabelled(column, field.data_type()),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| Error::internal("rows of the source do not fit their schema").with_cause(error))
    }
}

fn seen(column: SourceColumn<'_>, time_zone: &str) -> (Field, Option<Arc<ScalarUDF>>) {
    let named = |data_type: DataType| {
        let field = Field::new(column.name, data_type, true);
        match is_told(column) {
            true => field,
            false => field.with_metadata(HashMap::from([(PG_TYPE_KEY.to_owned(), column.postgres_type.to_owned())])),
        }
    };
    match column.data_type {
        DataType::Struct(_) if column.postgres_type == "interval" => {
            (named(DataType::Interval(IntervalUnit::MonthDayNano)), Some(interval::function()))
        }
        DataType::Timestamp(unit, Some(_)) => (named(DataType::Timestamp(*unit, Some(time_zone.into()))), None),
        DataType::Utf8 => {
            let element = column.postgres_type.strip_prefix('_');
            // Nobody says how many digits they have: each numeric keeps its own.
            let read_as = element.map(|element| if element == "numeric" { "text" } else { element });
            match (read_as.and_then(|element| array_column(element, column.postgres_type)), element) {
                (Some((data_type, reader)), _) => (named(data_type), Some(reader)),
                (None, Some(_)) => (Field::new(column.name, DataType::Utf8, true), None),
                (None, None) => (named(DataType::Utf8), None),
            }
        }
        other => (named(other.clone()), None),
    }
}

/// Whether the Arrow type tells the Postgres type.
fn is_told(column: SourceColumn<'_>) -> bool {
    let told: &[&str] = match column.data_type {
        DataType::Boolean => &["bool"],
        DataType::Int16 => &["int2"],
        DataType::Int32 => &["int4"],
        DataType::Int64 => &["int8"],
        DataType::Float32 => &["float4"],
        DataType::Float64 => &["float8"],
        DataType::Decimal128(..) | DataType::Decimal256(..) => &["numeric"],
        DataType::Utf8 => &["text"],
        DataType::Binary => &["bytea"],
        DataType::Date32 => &["date"],
        DataType::Time64(_) => &["time"],
        DataType::Timestamp(_, None) => &["timestamp"],
        DataType::Timestamp(_, Some(_)) => &["timestamptz"],
        DataType::Struct(_) => &["interval"],
        _ => &[],
    };
    told.contains(&column.postgres_type)
}

/// The same values under another type of the same layout.
fn relabelled(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if column.data_type() == data_type {
        return Ok(Arc::clone(column));
    }
    let data = column.to_data().into_builder().data_type(data_type.clone()).build();
    data.map(arrow::array::make_array)
        .map_err(|error| failure::from_datafusion(DataFusionError::ArrowError(Box::new(error), None), None))
}
