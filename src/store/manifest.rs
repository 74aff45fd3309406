//! The manifest: the small JSON file that *is* a snapshot.

use std::{fmt, str::FromStr};

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Code, Error, Result};

/// The format that this build writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// One published snapshot: all chosen tables as of one instant of the source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of this file.
    pub format: u32,
    /// 1, 2, 3 …
    pub version: SnapshotVersion,
    /// The run that published it: the owner's token.
    pub run_id: RunId,
    /// The instant of the source that the tables show.
    pub as_of: DateTime<Utc>,
    /// When the run published it.
    pub published_at: DateTime<Utc>,
    /// How long the run took, in milliseconds.
    pub duration_ms: u64,
    /// Where it was taken from.
    pub source: SourceIdentity,
    /// The tables, by schema and name.
    pub tables: Vec<Table>,
}

/// Which Postgres a snapshot came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceIdentity {
    /// `pg_control_system()`'s identifier, in decimal.
    pub system_identifier: String,
    /// The database's name.
    pub database: String,
    /// `server_version`, for example `15.18`.
    pub server_version: String,
    /// The database's encoding.
    pub encoding: String,
    /// How the database orders text.
    pub collation: Collation,
    /// The write-ahead log's position at the instant, or none on a server that does not tell.
    pub lsn: Option<String>,
    /// Which transactions were seen (`pg_current_snapshot()`): while the source says the same, nothing has been written since. None in
    /// snapshots of older builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<String>,
}

/// How the source orders text by default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collation {
    /// `libc`, `icu` or `builtin`.
    pub provider: String,
    /// The locale, for example `en_US.UTF-8`, `en-US` or `C`.
    pub locale: String,
    /// The provider's version of it, where it tells one.
    pub version: Option<String>,
}

/// One table of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Schema and name.
    pub name: TableName,
    /// The columns that the files hold, in the source's order.
    pub columns: Vec<Column>,
    /// The columns that were left out, by choice or because they look like secrets.
    pub excluded_columns: Vec<String>,
    /// The primary key's columns, in order; empty where there is none, or one of them is excluded.
    pub primary_key: Vec<String>,
    /// What of it points to other tables, excluded ones too.
    #[serde(default)]
    pub foreign_keys: Vec<ForeignKey>,
    /// How it was copied.
    pub mode: TableMode,
    /// How far an incremental copy has come; none for a full one.
    pub cursor: Option<String>,
    /// The columns that rows are ordered by within each file; empty for none.
    pub sort_order: Vec<String>,
    /// Its data files.
    pub files: Vec<DataFile>,
    /// Over all files.
    pub row_count: u64,
    /// Of the columns' definitions and the files' hashes: equal digests are equal tables.
    pub digest: Digest,
}

/// Columns that hold another table's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Of this table.
    pub columns: Vec<String>,
    /// The other.
    pub table: TableName,
    /// Its columns, in the same order.
    pub referenced: Vec<String>,
}

/// How a table was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableMode {
    /// Every row, anew.
    Full,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Postgres's name of its type after domains, as in `pg_type.typname`: `int4`, `timestamptz`, an enum's own name.
    pub postgres_type: String,
    /// The type as declared, as `format_type` prints it: `numeric(12,2)`.
    pub declared_type: String,
    /// What the files hold.
    pub column_type: ColumnType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Whether its values travelled as themselves.
    pub treatment: Treatment,
    /// An enum's labels in the type's order; empty for other types.
    pub enum_labels: Vec<String>,
    /// The column's own collation where it is not the database's.
    pub collation: Option<String>,
    /// What did not arrive equal, counted.
    pub fidelity: Fidelity,
}

/// Whether a column's values travelled as themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// As they are.
    Plain,
    /// As Postgres's text of them, because the type has no columnar form here.
    Text,
    /// As a keyed hash.
    Hashed,
}

/// Values that a policy changed on the way, counted; zero means that every value arrived equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Values that became NULL.
    pub nulled: u64,
    /// Values that became the nearest that the type can hold.
    pub clamped: u64,
}

/// One Parquet file of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataFile {
    /// Relative to the store's root.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Of its bytes.
    pub blake3: Digest,
    /// The length of its Parquet metadata with the trailing eight bytes, so that one request reads it.
    pub footer_bytes: u64,
    /// One for each column of the table.
    pub columns: Vec<ColumnStatistics>,
}

/// What is known of one column in one file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// Its NULLs.
    pub nulls: u64,
    /// The exact least value, as text; none where it is unknown or long.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min: Option<String>,
    /// The exact greatest value, as text; none where it is unknown or long.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max: Option<String>,
}

/// What a column's files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Boolean.
    Boolean,
    /// 16-bit integer.
    Int16,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// 32-bit float.
    Float32,
    /// 64-bit float.
    Float64,
    /// Decimal of 128 bits up to 38 digits, of 256 bits up to 76. Never smaller: their arithmetic is wrong in DataFusion 55.
    Decimal {
        /// Digits in all, 1 to 76.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
    /// Days.
    Date,
    /// Microseconds of the day.
    Time,
    /// Microseconds, no time zone.
    Timestamp,
    /// Microseconds, UTC.
    Timestamptz,
    /// Months, days and microseconds apart, since Parquet cannot hold Postgres's interval.
    Interval,
}

impl ColumnType {
    /// The Arrow type as the files hold it.
    #[must_use]
    pub fn file_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } if precision <= 38 => DataType::Decimal128(precision, scale),
            Self::Decimal { precision, scale } => DataType::Decimal256(precision, scale),
            Self::Text => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Interval => DataType::Struct(Fields::from(vec![
                Field::new("months", DataType::Int32, false),
                Field::new("days", DataType::Int32, false),
                Field::new("microseconds", DataType::Int64, false),
            ])),
        }
    }

    /// What of this build holds an Arrow type of the files.
    pub fn from_file_type(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Int16 => Self::Int16,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                Self::Decimal { precision: *precision, scale: *scale }
            }
            DataType::Utf8 => Self::Text,
            DataType::Binary => Self::Binary,
            DataType::Date32 => Self::Date,
            DataType::Time64(TimeUnit::Microsecond) => Self::Time,
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Timestamp,
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Self::Timestamptz,
            DataType::Struct(_) => Self::Interval,
            _ => return None,
        })
    }
}

impl Table {
    /// The digest of these columns and files.
    #[must_use]
    pub fn content_digest(columns: &[Column], files: &[DataFile]) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&FORMAT.to_le_bytes());
        // Fidelity counts follow from the data, and statistics from the files: neither adds identity.
        for column in columns {
            let definition = (
                &column.name,
                &column.postgres_type,
                &column.declared_type,
                &column.column_type,
                column.nullable,
                column.treatment,
                &column.enum_labels,
                &column.collation,
            );
            let bytes = serde_json::to_vec(&definition).expect("a column's definition is plain data");
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        }
        for file in files {
            hasher.update(&file.rows.to_le_bytes()).update(file.blake3.as_bytes());
        }
        Digest::from(hasher.finalize())
    }

    /// Bytes over all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

impl Manifest {
    /// The format that this build writes.
    pub const FORMAT: u32 = FORMAT;

    /// The file's bytes: JSON whose last member is the digest of all that stands before it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = serde_json::to_vec(self).expect("a manifest is plain data");
        let digest = Digest::from(blake3::hash(&body));
        body.pop();
        body.extend_from_slice(format!(",\"digest\":\"{digest}\"}}\n").as_bytes());
        body
    }

    /// Reads a manifest, checking the digest before anything else is believed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let corrupt = |what: &str| {
            Error::new(Code::CorruptStore, format!("the manifest {what}"))
                .with_hint("restore the file, or remove it so that the snapshot before is served")
        };
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let tail = r#","digest":""#.len() + 64 + r#""}"#.len();
        let cut = text.len().checked_sub(tail).ok_or_else(|| corrupt("is cut short"))?;
        let digest = text[cut..]
            .strip_prefix(br#","digest":""#)
            .and_then(|rest| rest.strip_suffix(br#""}"#))
            .and_then(|hex| std::str::from_utf8(hex).ok()?.parse::<Digest>().ok())
            .ok_or_else(|| corrupt("does not end in its digest"))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&text[..cut]).update(b"}");
        if Digest::from(hasher.finalize()) != digest {
            return Err(corrupt("does not match its digest"));
        }

        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_slice(text).map_err(|error| corrupt("is not JSON").with_cause(error))?;
        if head.format != FORMAT {
            return Err(Error::new(
                Code::CorruptStore,
                format!("the manifest has format {}, this build reads format {FORMAT}", head.format),
            )
            .with_hint("run the build that wrote it, or take a new snapshot"));
        }
        let manifest: Self =
            serde_json::from_slice(text).map_err(|error| corrupt("is not understood").with_cause(error))?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// Holds what readers rely on, on write and again on read.
    fn validate(&self) -> Result<()> {
        let mut sizes = self.tables.iter().flat_map(|table| &table.files).map(|file| (file.rows, file.bytes));
        let sum = |(rows, bytes): (u64, u64), of: (u64, u64)| Some((rows.checked_add(of.0)?, bytes.checked_add(of.1)?));
        if sizes.try_fold((0, 0), sum).is_none() {
            return Err(Error::new(Code::CorruptStore, "the manifest counts more rows or bytes than there can be"));
        }
        for table in &self.tables {
            let wrong = |what: String| Error::new(Code::CorruptStore, format!("table {}: {what}", table.name));
            if let Some(file) = table.files.iter().find(|file| file.columns.len() != table.columns.len()) {
                return Err(wrong(format!("file {} has statistics of other columns", file.path)));
            }
            let escapes = |path: &str| path.split('/').any(|part| matches!(part, "" | "." | ".."));
            if let Some(file) = table.files.iter().find(|file| escapes(&file.path)) {
                return Err(wrong(format!("file path {:?} leaves the store", file.path)));
            }
            let rows: u64 = table.files.iter().map(|file| file.rows).sum();
            if rows != table.row_count {
                return Err(wrong(format!("its files have {rows} rows, the table {}", table.row_count)));
            }
            if Table::content_digest(&table.columns, &table.files) != table.digest {
                return Err(wrong("its digest is not that of its columns and files".into()));
            }
            let decimal = |column: &&Column| {
                matches!(column.column_type, ColumnType::Decimal { precision, scale }
                    if !(1..=76).contains(&precision) || scale < 0 || scale.unsigned_abs() > precision)
            };
            if let Some(column) = table.columns.iter().find(decimal) {
                return Err(wrong(format!("column {} has an impossible precision or scale", column.name)));
            }
        }
        Ok(())
    }

    /// The table of this name.
    #[must_use]
    pub fn table(&self, name: &TableName) -> Option<&Table> {
        self.tables.iter().find(|table| &table.name == name)
    }

    /// Rows over all tables.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.tables.iter().map(|table| table.row_count).sum()
    }

    /// Bytes over all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.tables.iter().map(Table::bytes).sum()
    }
}

/// 1, 2, 3 …: the order in which snapshots were published. Not an identity: digests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotVersion(u64);

impl SnapshotVersion {
    /// The version `number`, from 1.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The first version of a store.
    pub const FIRST: Self = Self(1);

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// As a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Twenty digits, so that names sort as versions do.
    pub(super) fn file_name(self) -> String {
        format!("{:020}.json", self.0)
    }

    pub(super) fn from_file_name(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".json").filter(|digits| digits.len() == 20)?;
        digits.parse().ok().and_then(Self::new)
    }
}

impl fmt::Display for SnapshotVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Who a run is: sorts by the time it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId(Uuid);

impl RunId {
    /// A fresh one.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// A table's schema and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
}

impl TableName {
    /// Of a schema and a table.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self { schema: schema.into(), table: table.into() }
    }

    /// The folder of its files: letters, digits, `_` and `-` as they are, all else as `=xx`, so that no name leaves the store
    /// and no two names share a folder.
    pub(super) fn folder(&self) -> String {
        let encode = |text: &str| {
            let mut encoded = String::with_capacity(text.len());
            for byte in text.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => encoded.push(char::from(byte)),
                    other => encoded.push_str(&format!("={other:02x}")),
                }
            }
            encoded
        };
        format!("{}.{}", encode(&self.schema), encode(&self.table))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.schema, self.table)
    }
}

/// A BLAKE3 hash, in hexadecimal where it is text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Digest {
    type Err = blake3::HexError;

    fn from_str(text: &str) -> Result<Self, blake3::HexError> {
        blake3::Hash::from_hex(text).map(Self::from)
    }
}

/// Types that are one string in JSON: as they print, so they parse.
macro_rules! as_string {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_string!(Digest, RunId);

#[cfg(test)]
mod tests;
