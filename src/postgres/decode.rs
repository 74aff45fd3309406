//! From COPY BINARY to Arrow: the export's hot path.
//!
//! Owns: [`CopyDecoder`], which takes the bytes in pieces of any size, never panics on any of them, and never guesses.
//! Must not know: where the bytes come from, or where the batches go.
//!
//! Source: PostgreSQL documentation, COPY, section "Binary Format": an 11-byte signature, int32 flags, int32 length of
//! an extension and the extension; tuples of int16 field count and, for each field, int32 length (−1 for NULL) and as
//! many bytes; the trailer, an int16 of −1.

mod column;
mod numeric;
mod temporal;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{Field, Schema, SchemaRef},
};

pub use self::column::ColumnCounts;
use self::column::{Column, Fault};
use super::types::{Kind, OutOfRange};
use crate::error::{Code, Error, Result};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
const HEADER_BYTES: usize = SIGNATURE.len() + 8;
/// What ends the tuples.
pub(super) const TRAILER: &[u8; 2] = &[0xff, 0xff];
/// PostgreSQL's own limit on a field.
const FIELD_BYTES_MAX: usize = 1 << 30;

/// One column of the COPY, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnPlan {
    /// Its name, in Arrow and in errors.
    pub name: String,
    /// How it travels.
    pub kind: Kind,
    /// What to do with values that Arrow cannot hold.
    pub out_of_range: OutOfRange,
    /// False when the source promises that there is no NULL; one is an error then.
    pub is_nullable: bool,
}

impl ColumnPlan {
    /// The field that the decoder yields: nullable also where the policy makes NULLs.
    #[must_use]
    pub fn field(&self) -> Field {
        let is_nullable = self.is_nullable || self.out_of_range.can_make_null(self.kind);
        Field::new(&self.name, self.kind.arrow_type(), is_nullable)
    }
}

/// Decodes the rows of one table, over one COPY after the other.
///
/// Feed it bytes, take a batch when enough is buffered, and finish at the end of each COPY. After an error it is
/// useless.
pub struct CopyDecoder {
    table: String,
    schema: SchemaRef,
    columns: Vec<Column>,
    state: State,
    /// The beginning of a header, count or field that the last feed cut.
    carry: Vec<u8>,
    /// Whole rows of the running COPY.
    rows_copied: u64,
    /// Whole rows since the last batch.
    rows_buffered: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    /// Between two rows.
    Row,
    /// In a row, before the field of this index.
    Field(usize),
    /// After the trailer.
    End,
}

impl CopyDecoder {
    /// A decoder for these columns of a table, which is named in errors as `schema.table`.
    ///
    /// # Errors
    /// When a column is [`Kind::HashedText`] and there is no key.
    pub fn new(table: impl fmt::Display, columns: &[ColumnPlan], hash_key: Option<[u8; 32]>) -> Result<Self> {
        let schema = Arc::new(Schema::new(columns.iter().map(ColumnPlan::field).collect::<Vec<_>>()));
        let columns = columns
            .iter()
            .map(|plan| {
                Column::new(plan.kind, plan.is_nullable, plan.out_of_range, hash_key).ok_or_else(|| {
                    Error::new(
                        Code::InvalidConfig,
                        format!("table {table}: column {:?} is hashed, but there is no key", plan.name),
                    )
                    .with_hint("set [snapshot] hash_key")
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            table: table.to_string(),
            schema,
            columns,
            state: State::Header,
            carry: Vec::new(),
            rows_copied: 0,
            rows_buffered: 0,
        })
    }

    /// The schema of the batches.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Begins tuples that come without a header, as the rows of a statement do.
    pub(super) fn begin_rows(&mut self) {
        if self.state == State::Header {
            self.state = State::Row;
        }
    }

    /// Decodes the next bytes of the COPY, which may end anywhere.
    ///
    /// # Errors
    /// [`Code::UnrepresentableValue`] for a value that Arrow cannot hold and no policy covers, with column, row and
    /// setting; an internal error for bytes that are not COPY BINARY of these columns.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !self.carry.is_empty() {
            // Complete the one unit that was cut; the rest is decoded where it lies.
            let missing = self.unit_length(&self.carry)?.saturating_sub(self.carry.len());
            let (piece, rest) = bytes.split_at(missing.min(bytes.len()));
            self.carry.extend_from_slice(piece);
            bytes = rest;
            if piece.len() < missing {
                return Ok(());
            }
            if self.unit_length(&self.carry)? > self.carry.len() {
                // Its length is known only now.
                continue;
            }
            let unit = std::mem::take(&mut self.carry);
            let used = self.decode(&unit)?;
            if used != unit.len() {
                return Err(Error::internal(format!("table {}: a unit of COPY was decoded in part", self.table)));
            }
            // Keep the allocation, unless one huge value made it huge.
            if unit.capacity() <= 1 << 20 {
                self.carry = unit;
                self.carry.clear();
            }
        }
        let used = self.decode(bytes)?;
        self.carry.extend_from_slice(&bytes[used..]);
        Ok(())
    }

    /// Whole rows since the last batch.
    #[must_use]
    pub fn rows_buffered(&self) -> usize {
        self.rows_buffered
    }

    /// Bytes of Arrow since the last batch, NULL bitmaps aside. Take the batch well before 1 GiB, or a large value
    /// fails.
    #[must_use]
    pub fn bytes_buffered(&self) -> usize {
        self.columns.iter().map(|column| column.buffered_bytes(self.rows_buffered)).sum::<usize>() + self.carry.len()
    }

    /// The buffered rows as a batch; none if there are none, or if the last feed ended within a row (then after the
    /// next).
    ///
    /// # Errors
    /// Only a fault of ours.
    pub fn take_batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows_buffered == 0 || matches!(self.state, State::Field(_)) {
            return Ok(None);
        }
        let fault = |error| {
            Error::internal(format!("table {}: the batch does not fit its schema", self.table)).with_cause(error)
        };
        let arrays = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>().map_err(fault)?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows_buffered));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options).map_err(fault)?;
        self.rows_buffered = 0;
        Ok(Some(batch))
    }

    /// Ends the COPY and returns how many rows it had. What is buffered stays; the next feed begins another COPY.
    ///
    /// # Errors
    /// When the trailer was not seen.
    pub fn finish(&mut self) -> Result<u64> {
        if self.state != State::End || !self.carry.is_empty() {
            return Err(Error::internal(format!(
                "table {}: the copy ended after {} rows without its trailer",
                self.table, self.rows_copied
            )));
        }
        self.state = State::Header;
        Ok(std::mem::take(&mut self.rows_copied))
    }

    /// What became of the values of each column, over all copies.
    #[must_use]
    pub fn counts(&self) -> Vec<ColumnCounts> {
        self.columns.iter().map(|column| column.counts).collect()
    }

    /// How long the unit that these bytes begin is, as far as they tell.
    fn unit_length(&self, bytes: &[u8]) -> Result<usize> {
        Ok(match self.state {
            State::Header => match bytes.get(HEADER_BYTES - 4..HEADER_BYTES) {
                Some(extension) => HEADER_BYTES + self.length(extension)?.unwrap_or(0),
                None => HEADER_BYTES,
            },
            State::Row => 2,
            State::Field(_) => match bytes.get(..4) {
                Some(length) => 4 + self.length(length)?.unwrap_or(0),
                None => 4,
            },
            State::End => bytes.len(),
        })
    }

    fn length(&self, bytes: &[u8]) -> Result<Option<usize>> {
        let length = bytes.try_into().map_or(i32::MIN, i32::from_be_bytes);
        match usize::try_from(length) {
            Ok(length) if length <= FIELD_BYTES_MAX => Ok(Some(length)),
            _ if length == -1 => Ok(None),
            _ => Err(self.malformed(&format!("a length of {length}"))),
        }
    }

    /// Decodes whole units and returns how many bytes they had.
    fn decode(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut rest = bytes;
        if self.state == State::Header {
            let length = self.unit_length(rest)?;
            let Some((header, after)) = rest.split_at_checked(length) else { return Ok(0) };
            self.read_header(header)?;
            self.state = State::Row;
            rest = after;
        }
        loop {
            let mut index = match self.state {
                State::Row => {
                    let Some((count, after)) = rest.split_first_chunk::<2>() else { break };
                    rest = after;
                    let count = i16::from_be_bytes(*count);
                    if usize::try_from(count) != Ok(self.columns.len()) {
                        if count != -1 {
                            return Err(self.malformed(&format!("a row of {count} fields, not {}", self.columns.len())));
                        }
                        self.state = State::End;
                        continue;
                    }
                    0
                }
                State::Field(index) => index,
                State::End if rest.is_empty() => break,
                State::End => return Err(self.malformed("bytes after the trailer")),
                State::Header => return Err(self.malformed("a second header")),
            };
            while let Some(column) = self.columns.get_mut(index) {
                let Some((length, body)) = rest.split_first_chunk::<4>() else { break };
                let length = i32::from_be_bytes(*length);
                let done = if length == -1 {
                    rest = body;
                    column.append_null()
                } else {
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    if length > FIELD_BYTES_MAX {
                        return Err(self.malformed("a field of impossible length"));
                    }
                    let Some((body, after)) = body.split_at_checked(length) else { break };
                    rest = after;
                    column.append(body)
                };
                if let Err(fault) = done {
                    return Err(self.explain(index, fault));
                }
                index += 1;
            }
            if index < self.columns.len() {
                self.state = State::Field(index);
                break;
            }
            self.state = State::Row;
            self.rows_copied += 1;
            self.rows_buffered += 1;
        }
        Ok(bytes.len() - rest.len())
    }

    fn read_header(&self, header: &[u8]) -> Result<()> {
        let Some((signature, after)) = header.split_first_chunk::<11>() else {
            return Err(self.malformed("no header"));
        };
        if signature != SIGNATURE {
            return Err(self.malformed("no signature"));
        }
        // The upper half are flags that a reader must know, and there are none since those for OIDs went.
        match after.first_chunk::<4>().map(|flags| u32::from_be_bytes(*flags) >> 16) {
            Some(0) => Ok(()),
            _ => Err(self.malformed("unknown flags")),
        }
    }

    #[cold]
    fn malformed(&self, what: &str) -> Error {
        Error::internal(format!(
            "table {}: what arrived after row {} is not binary COPY of these columns: {what}",
            self.table, self.rows_copied
        ))
    }

    #[cold]
    fn explain(&self, index: usize, fault: Fault) -> Error {
        let column = self.schema.field(index).name();
        let at = format!("table {}, column {column:?}, row {}", self.table, self.rows_copied + 1);
        let key = if column.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
            column.clone()
        } else {
            format!("{column:?}")
        };
        let setting = format!("[tables.{:?}.columns.{key}]", self.table);
        match fault {
            Fault::Beyond(value) => {
                let what = self.schema.field(index).data_type();
                Error::new(Code::UnrepresentableValue, format!("{at}: {value} cannot be held as {what}"))
                    .with_hint(format!("set {setting} out_of_range = \"null\", \"clamp\" or \"text\""))
            }
            Fault::NotUtf8 => {
                Error::new(Code::UnrepresentableValue, format!("{at}: the text is not UTF-8")).with_hint(format!(
                    "repair the value in the source (its encoding is SQL_ASCII), or leave the column out: \
                     [tables.{:?}] exclude_columns = [{column:?}]",
                    self.table
                ))
            }
            Fault::Digits => {
                let what = self.schema.field(index).data_type();
                Error::new(Code::UnrepresentableValue, format!("{at}: the value has more digits than {what}"))
                    .with_hint(format!("take the snapshot again, or set {setting} out_of_range = \"text\""))
            }
            Fault::Full => {
                Error::internal(format!("{at}: more than 2 GiB of one column are buffered; take batches earlier"))
            }
            Fault::Null => Error::internal(format!("{at}: NULL in a column that is NOT NULL")),
            Fault::Length { expected } => Error::internal(format!("{at}: the value is not {expected} bytes long")),
            Fault::Malformed(what) => Error::internal(format!("{at}: the bytes are no {what}")),
        }
    }
}

impl fmt::Debug for CopyDecoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CopyDecoder")
            .field("table", &self.table)
            .field("state", &self.state)
            .field("rows_copied", &self.rows_copied)
            .field("rows_buffered", &self.rows_buffered)
            .finish_non_exhaustive()
    }
}
