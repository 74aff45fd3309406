//! What the tests of snapshots share: a store's folder read without the code under test, and the text of every value in it.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use arrow::{
    array::{Array, AsArray as _, RecordBatch},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
        Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
    },
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pilaster::store::{DataFile, Manifest, SnapshotVersion, Store, Table, TableName, Verification};
use tempfile::TempDir;

/// A row, each value as text.
pub(crate) type TextRow = Vec<Option<String>>;

/// A store in a folder of its own.
pub(crate) struct Folder {
    root: TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::Builder::new().prefix("pilaster-store-").tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn store(&self) -> Store {
        store_at(self.path())
    }

    /// The newest snapshot, every byte of it verified.
    pub(crate) fn newest(&self) -> Manifest {
        block_on(self.store().newest(Verification::Full)).unwrap().expect("something is published")
    }

    /// The versions that have a manifest, newest first, as numbers.
    pub(crate) fn versions(&self) -> Vec<u64> {
        let versions: Vec<SnapshotVersion> = block_on(self.store().versions()).unwrap();
        versions.iter().map(|version| version.to_string().parse().unwrap()).collect()
    }

    /// The data files that there are, relative to the root.
    pub(crate) fn data_files(&self) -> BTreeSet<String> {
        data_files(self.path())
    }

    /// All rows of a table of `public`, in the files' order.
    pub(crate) fn rows(&self, manifest: &Manifest, table: &str) -> Vec<TextRow> {
        table_of(manifest, table).files.iter().flat_map(|file| text_rows(&batches(self.path(), file))).collect()
    }

    /// Makes every data file look as old as this.
    pub(crate) fn age(&self, by: Duration) {
        for file in self.data_files() {
            let file = File::options().write(true).open(self.path().join(file)).unwrap();
            file.set_modified(SystemTime::now() - by).unwrap();
        }
    }
}

pub(crate) fn store_at(root: &Path) -> Store {
    Store::open(root.to_str().unwrap(), []).unwrap()
}

/// The files that a snapshot names.
pub(crate) fn named_files(manifest: &Manifest) -> BTreeSet<String> {
    manifest.tables.iter().flat_map(|table| &table.files).map(|file| file.path.clone()).collect()
}

pub(crate) fn data_files(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.join("tables")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

/// A table of `public`.
#[track_caller]
pub(crate) fn table_of<'a>(manifest: &'a Manifest, table: &str) -> &'a Table {
    manifest.table(&TableName::new("public", table)).unwrap_or_else(|| panic!("no table {table}"))
}

pub(crate) fn batches(root: &Path, file: &DataFile) -> Vec<RecordBatch> {
    let open = File::open(root.join(&file.path)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(open).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows as u64, file.rows, "{}", file.path);
    batches
}

fn text_rows(batches: &[RecordBatch]) -> Vec<TextRow> {
    let row = |batch: &RecordBatch, row| batch.columns().iter().map(|column| text_of(column, row)).collect();
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|index| row(batch, index)).collect::<Vec<_>>()).collect()
}

/// A value as text; [`truth_of`] says what Postgres must say of it. Dates and times are their numbers and floats their bits, so
/// that no formatting of ours stands between.
fn text_of(array: &dyn Array, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => format!("{:08x}", array.as_primitive::<Float32Type>().value(row).to_bits()),
        DataType::Float64 => format!("{:016x}", array.as_primitive::<Float64Type>().value(row).to_bits()),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => array.as_binary::<i32>().value(row).iter().fold("\\x".to_owned(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        }),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Time64(_) => array.as_primitive::<Time64MicrosecondType>().value(row).to_string(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        DataType::Struct(_) => {
            let parts = array.as_struct();
            let months = parts.column(0).as_primitive::<Int32Type>().value(row);
            let days = parts.column(1).as_primitive::<Int32Type>().value(row);
            format!("{months} {days} {}", parts.column(2).as_primitive::<Int64Type>().value(row))
        }
        other => panic!("{other} is not a type of the store"),
    })
}

/// The SQL whose result is what [`text_of`] gives for a column that arrived as this type.
pub(crate) fn truth_of(column: &str, data_type: &DataType) -> String {
    match data_type {
        DataType::Float32 => format!("encode(float4send({column}), 'hex')"),
        DataType::Float64 => format!("encode(float8send({column}), 'hex')"),
        // Postgres keeps the zeros of the value, Arrow those of the column.
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => format!("round({column}, {scale})::text"),
        DataType::Date32 => format!("({column} - DATE '1970-01-01')::text"),
        DataType::Time64(_) | DataType::Timestamp(..) => {
            format!("trunc(extract(epoch FROM {column}) * 1000000)::text")
        }
        DataType::Struct(_) => format!(
            "(extract(year FROM {column}) * 12 + extract(month FROM {column}))::int8 || ' ' || \
             extract(day FROM {column}) || ' ' || (extract(hour FROM {column}) * 3600000000 + \
             extract(minute FROM {column}) * 60000000 + extract(microseconds FROM {column}))::int8"
        ),
        _ => format!("{column}::text"),
    }
}

/// Runs a future of the store or the driver from a plain test.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Waits until something is so, and panics if it does not become so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in 30 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
