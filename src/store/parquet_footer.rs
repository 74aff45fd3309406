//! What a Parquet file says of itself: rows, and the exact least and greatest value of each column.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray},
    compute,
    datatypes::{DataType, Schema, TimeUnit},
};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::{
    arrow::{arrow_reader::statistics::StatisticsConverter, parquet_to_arrow_schema},
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
};

use super::{ColumnStatistics, from_object_store};
use crate::error::{Code, Error, Result};

/// Eight bytes end every Parquet file: the metadata's length and the magic.
const TRAILER_BYTES: u64 = 8;
/// Longer texts are not worth their place in a manifest.
const TEXT_BYTES_MAX: usize = 64;

/// What is recorded of a file in the manifest, read from the file itself.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSummary {
    /// Its rows.
    pub rows: u64,
    /// The length of its metadata with the trailing eight bytes.
    pub footer_bytes: u64,
    /// One for each column.
    pub columns: Vec<ColumnStatistics>,
}

pub(super) async fn row_count(
    objects: &Arc<dyn ObjectStore>,
    path: &Path,
    bytes: u64,
    footer_bytes: u64,
) -> Result<u64> {
    let (metadata, _) = read(objects, path, bytes, footer_bytes).await?;
    rows_of(&metadata)
}

pub(super) async fn summary(objects: &Arc<dyn ObjectStore>, path: &Path, bytes: u64) -> Result<FileSummary> {
    let (metadata, footer_bytes) = read(objects, path, bytes, 64 << 10).await?;
    let file = metadata.file_metadata();
    let schema = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata()).map_err(corrupt)?;
    let columns = (0..schema.fields().len())
        .map(|index| column_statistics(&metadata, &schema, index))
        .collect::<Result<Vec<_>>>()?;
    Ok(FileSummary { rows: rows_of(&metadata)?, footer_bytes, columns })
}

/// Reads the metadata with one request when `guess` bytes from the end hold it, else with two. Says how long it really is.
async fn read(objects: &Arc<dyn ObjectStore>, path: &Path, bytes: u64, guess: u64) -> Result<(ParquetMetaData, u64)> {
    let unreadable = |error| from_object_store("cannot read the file's footer", error);
    if bytes < TRAILER_BYTES {
        return Err(Error::new(Code::CorruptStore, "the file is too short to be Parquet"));
    }
    let mut start = bytes.saturating_sub(guess.max(TRAILER_BYTES));
    let mut tail = objects.get_range(path, start..bytes).await.map_err(unreadable)?;
    let trailer = tail.len() - TRAILER_BYTES as usize;
    if &tail[trailer + 4..] != b"PAR1" {
        return Err(Error::new(Code::CorruptStore, "the file does not end as Parquet does"));
    }
    let length = u32::from_le_bytes(tail[trailer..trailer + 4].try_into().expect("four bytes were sliced"));
    let footer_bytes = u64::from(length) + TRAILER_BYTES;
    if footer_bytes > bytes {
        return Err(Error::new(Code::CorruptStore, "the file's footer is longer than the file"));
    }
    if bytes - footer_bytes < start {
        start = bytes - footer_bytes;
        tail = objects.get_range(path, start..bytes).await.map_err(unreadable)?;
    }
    let from = usize::try_from(bytes - footer_bytes - start).expect("the tail is in memory");
    let metadata =
        ParquetMetaDataReader::decode_metadata(&tail[from..tail.len() - TRAILER_BYTES as usize]).map_err(corrupt)?;
    Ok((metadata, footer_bytes))
}

fn rows_of(metadata: &ParquetMetaData) -> Result<u64> {
    u64::try_from(metadata.file_metadata().num_rows())
        .map_err(|_| Error::new(Code::CorruptStore, "the file's footer has a negative row count"))
}

fn column_statistics(metadata: &ParquetMetaData, schema: &Schema, index: usize) -> Result<ColumnStatistics> {
    let field = schema.field(index);
    let data_type = field.data_type();
    let descriptor = metadata.file_metadata().schema_descr();
    if data_type.is_nested() {
        return Ok(ColumnStatistics { nulls: nested_nulls(metadata, index), ..Default::default() });
    }
    let converter = StatisticsConverter::try_new(field.name(), schema, descriptor).map_err(corrupt)?;
    let groups = metadata.row_groups();
    let nulls = converter.row_group_null_counts(groups).map_err(corrupt)?.iter().flatten().sum();
    // NaN is outside the order that Parquet keeps, so a float's bounds are not those of all its values.
    if data_type.is_floating() || matches!(data_type, DataType::Binary | DataType::Boolean) {
        return Ok(ColumnStatistics { nulls, min: None, max: None });
    }
    let mins = converter.row_group_mins(groups).map_err(corrupt)?;
    let maxes = converter.row_group_maxes(groups).map_err(corrupt)?;
    let exact = |flags: BooleanArray| flags.iter().all(|flag| flag == Some(true));
    // A group of NULLs alone has no bounds; any other group without them leaves the file without.
    let known = groups.iter().enumerate().all(|(group, row_group)| {
        let valued = u64::try_from(row_group.num_rows()).unwrap_or(0);
        let group_nulls =
            row_group.column(leaf_of(metadata, index)).statistics().and_then(|known| known.null_count_opt());
        group_nulls == Some(valued) || (mins.is_valid(group) && maxes.is_valid(group))
    });
    let text = matches!(data_type, DataType::Utf8);
    let exact = !text
        || (exact(converter.row_group_is_min_value_exact(groups).map_err(corrupt)?)
            && exact(converter.row_group_is_max_value_exact(groups).map_err(corrupt)?));
    if !known || !exact {
        return Ok(ColumnStatistics { nulls, min: None, max: None });
    }
    Ok(ColumnStatistics { nulls, min: least(&mins)?, max: greatest(&maxes)? })
}

/// The leaf column of a top-level field: nested fields have several.
fn leaf_of(metadata: &ParquetMetaData, root: usize) -> usize {
    let descriptor = metadata.file_metadata().schema_descr();
    (0..descriptor.num_columns()).find(|leaf| descriptor.get_column_root_idx(*leaf) == root).unwrap_or(root)
}

fn nested_nulls(metadata: &ParquetMetaData, root: usize) -> u64 {
    // The children of an interval are never NULL by themselves, so the first leaf's NULLs are the column's.
    let leaf = leaf_of(metadata, root);
    metadata
        .row_groups()
        .iter()
        .filter_map(|group| group.column(leaf).statistics().and_then(|statistics| statistics.null_count_opt()))
        .sum()
}

fn least(values: &ArrayRef) -> Result<Option<String>> {
    bound(values, false)
}

fn greatest(values: &ArrayRef) -> Result<Option<String>> {
    bound(values, true)
}

fn bound(values: &ArrayRef, descending: bool) -> Result<Option<String>> {
    let options = compute::SortOptions { descending, nulls_first: false };
    let order = compute::sort_to_indices(values, Some(options), Some(1)).map_err(corrupt)?;
    let extreme = compute::take(values, &order, None).map_err(corrupt)?;
    if extreme.is_empty() || extreme.is_null(0) {
        return Ok(None);
    }
    // Dates and times travel as their numbers: no calendar's limits apply to those.
    let plain = match extreme.data_type() {
        DataType::Date32 => compute::cast(&extreme, &DataType::Int32),
        DataType::Time64(_) | DataType::Timestamp(TimeUnit::Microsecond, _) => {
            compute::cast(&extreme, &DataType::Int64)
        }
        _ => Ok(extreme),
    };
    let text = compute::cast(&plain.map_err(corrupt)?, &DataType::Utf8).map_err(corrupt)?;
    let text = text.as_string::<i32>().value(0);
    Ok((text.len() <= TEXT_BYTES_MAX).then(|| text.to_owned()))
}

fn corrupt(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Code::CorruptStore, format!("the file's footer cannot be read: {error}")).with_cause(error)
}
