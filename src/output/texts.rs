//! Every value as the text that Postgres would print, for whoever compares.

use arrow::{array::RecordBatch, datatypes::SchemaRef};

use super::{Numbers, column::columns};
use crate::error::Result;

/// The rows of a batch, each value spelled as Postgres's output functions spell it; none for NULL.
///
/// # Errors
/// `internal` when the batch has not the types of the schema.
pub fn texts(schema: &SchemaRef, batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>> {
    let columns = columns(schema, batch, Numbers::Native)?;
    let mut bytes = Vec::new();
    let mut value = |column: &super::column::Column<'_>, row: usize| {
        if column.is_null(row) {
            return None;
        }
        bytes.clear();
        column.write_text(row, &mut bytes);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok((0..batch.num_rows()).map(|row| columns.iter().map(|column| value(column, row)).collect()).collect())
}
