//! What is known of a table without reading it: the manifest's counts and bounds.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, StringArray},
    compute,
    datatypes::{DataType, Schema, TimeUnit},
};
use datafusion::common::{ColumnStatistics, DataFusionError, ScalarValue, Statistics, stats::Precision};

use super::{array_of, read_type};
use crate::{
    error::{Code, Error, Result},
    store,
};

pub(super) fn file_statistics(table: &store::Table, file: &store::DataFile) -> Result<Statistics> {
    let columns = table
        .columns
        .iter()
        .zip(&file.columns)
        .map(|(column, known)| {
            let is_array = array_of(column).is_some();
            let bound = |text: &Option<String>| match text {
                Some(text) if !is_array => parse_bound(text, &read_type(column.column_type)).map(Precision::Exact),
                _ => Ok(Precision::Absent),
            };
            Ok(ColumnStatistics {
                null_count: Precision::Exact(usize::try_from(known.nulls).unwrap_or(usize::MAX)),
                min_value: bound(&known.min)?,
                max_value: bound(&known.max)?,
                ..ColumnStatistics::new_unknown()
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Statistics {
        num_rows: Precision::Exact(usize::try_from(file.rows).unwrap_or(usize::MAX)),
        total_byte_size: Precision::Inexact(usize::try_from(file.bytes).unwrap_or(usize::MAX)),
        column_statistics: columns,
    })
}

/// Bounds travel in the manifest as text, dates and times as their numbers.
fn parse_bound(text: &str, data_type: &DataType) -> Result<ScalarValue> {
    let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let parse = |through: &DataType| -> std::result::Result<ScalarValue, DataFusionError> {
        let numbers = compute::cast_with_options(&array, through, &STRICT)?;
        ScalarValue::try_from_array(&compute::cast_with_options(&numbers, data_type, &STRICT)?, 0)
    };
    let value = match data_type {
        DataType::Date32 => parse(&DataType::Int32),
        DataType::Time64(_) | DataType::Timestamp(TimeUnit::Microsecond, _) => parse(&DataType::Int64),
        other => parse(other),
    };
    value.map_err(|error| {
        Error::new(Code::CorruptStore, format!("the manifest's bound {text:?} is not of type {data_type}"))
            .with_cause(error)
    })
}

const STRICT: compute::CastOptions<'static> =
    compute::CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

pub(super) fn merge(schema: &Schema, files: &[Arc<Statistics>]) -> Statistics {
    let merged = Statistics::try_merge_iter(files.iter().map(Arc::as_ref), schema);
    match merged {
        Ok(statistics) if !files.is_empty() => statistics,
        _ => Statistics { num_rows: Precision::Exact(0), ..Statistics::new_unknown(schema) },
    }
}
