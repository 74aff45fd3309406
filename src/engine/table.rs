//! One table of a snapshot, planned from the manifest alone: files, statistics and order are known without asking the store.

mod statistics;

use std::{cmp::Ordering, collections::HashMap, fmt, sync::Arc};

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{
        Constraint, Constraints, DataFusionError, Result as PlanResult, ScalarValue, Statistics, internal_err,
        stats::Precision,
    },
    config::TableParquetOptions,
    datasource::{
        listing::PartitionedFile,
        physical_plan::{
            FileGroup, FileScanConfigBuilder, ParquetSource,
            parquet::{CachedParquetFileReaderFactory, ParquetFileReaderFactory},
        },
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, ScalarUDF, TableProviderFilterPushDown, TableType},
    physical_expr::ScalarFunctionExpr,
    physical_plan::{
        ExecutionPlan, PhysicalExpr, empty::EmptyExec, expressions::Column, metrics::ExecutionPlanMetricsSet,
        projection::ProjectionExec,
    },
};
use parquet::{arrow::arrow_reader::ArrowReaderOptions, file::metadata::PageIndexPolicy};

use super::{
    EngineRuntime,
    barrier::{self, TenantBarrierExec},
    interval,
    runtime::store_url,
    tenancy::{OneTenant, TenantColumn},
};
use crate::{
    error::{Code, Error, Result},
    sql::{CHAR_LENGTH_KEY, COLLATION_KEY, PG_TYPE_KEY, array_column},
    store::{self, ColumnType, Store, TableName},
};

/// What queries see of a table.
#[derive(Clone)]
pub(super) struct SnapshotTable {
    name: TableName,
    /// As queries see it: intervals are intervals.
    schema: SchemaRef,
    /// As the files hold it, but for text and bytes, which are read as views.
    stored: TableSchema,
    statistics: Statistics,
    /// The primary key, by which other columns are known where it is grouped by.
    constraints: Constraints,
    files: Arc<[PartitionedFile]>,
    url: ObjectStoreUrl,
    readers: Arc<CachedParquetFileReaderFactory>,
    /// For each column, what makes the values that queries see of those that the files hold.
    conversions: Vec<Option<Arc<ScalarUDF>>>,
    /// Set where one tenant looks: whose rows they are, of which others' stay behind a barrier.
    tenant: Option<TenantColumn>,
}

impl SnapshotTable {
    pub(super) fn new(store: &Store, table: &store::Table, runtime: &EngineRuntime) -> Result<Self> {
        let field = |column: &store::Column, data_type: DataType| {
            let field = Field::new(&column.name, data_type, column.nullable);
            let mut metadata = HashMap::new();
            if let Some(name) = postgres_name(column) {
                metadata.insert(PG_TYPE_KEY.to_owned(), name.to_owned());
            }
            if let Some(name) = &column.collation {
                metadata.insert(COLLATION_KEY.to_owned(), name.clone());
            }
            if let Some(length) = char_length(column) {
                metadata.insert(CHAR_LENGTH_KEY.to_owned(), length.to_owned());
            }
            field.with_metadata(metadata)
        };
        let (seen, conversions): (Vec<Field>, Vec<Option<Arc<ScalarUDF>>>) = table
            .columns
            .iter()
            .map(|column| {
                let (data_type, conversion) = seen_type(column);
                (field(column, data_type), conversion)
            })
            .unzip();
        let stored: Vec<Field> =
            table.columns.iter().map(|column| field(column, read_type(column.column_type))).collect();
        let stored = Arc::new(Schema::new(stored));

        let mut files = Vec::with_capacity(table.files.len());
        let mut of_files = Vec::with_capacity(table.files.len());
        for file in &table.files {
            let statistics = Arc::new(statistics::file_statistics(table, file)?);
            of_files.push(Arc::clone(&statistics));
            let mut planned =
                PartitionedFile::new(store.file_path(&file.path).to_string(), file.bytes).with_statistics(statistics);
            planned.metadata_size_hint = usize::try_from(file.footer_bytes).ok();
            files.push(planned);
        }
        let objects = runtime
            .environment()
            .object_store(store_url(store))
            .map_err(|error| Error::internal("the store is not registered with the engine").with_cause(error))?;
        let footers = runtime.environment().cache_manager.get_file_metadata_cache();
        Ok(Self {
            name: table.name.clone(),
            schema: Arc::new(Schema::new(seen)),
            statistics: statistics::merge(&stored, &of_files),
            constraints: primary_key(table),
            stored: TableSchema::builder(stored).build(),
            files: files.into(),
            url: store_url(store),
            readers: Arc::new(CachedParquetFileReaderFactory::new(objects, footers)),
            conversions,
            tenant: None,
        })
    }

    /// The table without its primary key. The engine takes rows for unique by it even where they have been multiplied, so that only the
    /// planner, which lets a table's columns through where its key is grouped by, is to know of it.
    pub(super) fn without_key(&self) -> Self {
        Self { constraints: Constraints::default(), ..self.clone() }
    }

    /// The table as one tenant sees it. Which one, the session says that scans it.
    pub(super) fn of_one_tenant(&self, column: TenantColumn) -> Self {
        Self { tenant: Some(column), ..self.clone() }
    }

    pub(super) fn name(&self) -> &TableName {
        &self.name
    }

    /// The column that says whose a row is, where one tenant looks.
    pub(super) fn tenant(&self) -> Option<&TenantColumn> {
        self.tenant.as_ref()
    }

    /// The table as a session of `zone` sees it: its instants are cut into days, and written, there. The bytes are the same.
    pub(super) fn in_time_zone(self: &Arc<Self>, zone: &Arc<str>) -> Arc<dyn TableProvider> {
        let is_instant = |field: &Arc<Field>| matches!(field.data_type(), DataType::Timestamp(_, Some(_)));
        if &**zone == "UTC" || !self.schema.fields().iter().any(is_instant) {
            return Arc::clone(self) as _;
        }
        let there = |schema: &Schema| {
            let fields = schema.fields().iter().map(|field| match field.data_type() {
                DataType::Timestamp(unit, Some(_)) => {
                    let data_type = DataType::Timestamp(*unit, Some(Arc::clone(zone)));
                    Arc::new(field.as_ref().clone().with_data_type(data_type))
                }
                _ => Arc::clone(field),
            });
            Arc::new(Schema::new(fields.collect::<Vec<_>>()))
        };
        let mut statistics = self.statistics.clone();
        for column in &mut statistics.column_statistics {
            for bound in [&mut column.min_value, &mut column.max_value] {
                if let Precision::Exact(ScalarValue::TimestampMicrosecond(_, Some(of))) = bound {
                    *of = Arc::clone(zone);
                }
            }
        }
        Arc::new(Self {
            schema: there(&self.schema),
            stored: TableSchema::builder(there(self.stored.file_schema())).build(),
            statistics,
            ..Self::clone(self)
        })
    }

    /// Reads the footers and page indexes of all files into the cache that scans read them from.
    pub(super) async fn read_footers(&self) -> Result<()> {
        let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(Code::Unavailable, format!("table {}: a file's footer cannot be read: {error}", self.name))
        };
        let metrics = ExecutionPlanMetricsSet::new();
        for file in self.files.iter() {
            let mut reader = self
                .readers
                .create_reader(0, file.clone(), file.metadata_size_hint, &metrics)
                .map_err(|error| unreadable(error.into()))?;
            let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
            reader.get_metadata(Some(&options)).await.map_err(|error| unreadable(error.into()))?;
        }
        Ok(())
    }

    /// The columns in the files.
    fn read(&self, state: &dyn Session, scan: Scan<'_>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        if scan.files.is_empty() {
            let schema = self.stored.file_schema().project(scan.projection)?;
            return Ok(Arc::new(EmptyExec::new(Arc::new(schema))));
        }
        let options =
            TableParquetOptions { global: state.config_options().execution.parquet.clone(), ..Default::default() };
        let mut source = ParquetSource::new(self.stored.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::clone(&self.readers) as _);
        if let Some(condition) = scan.condition {
            source = source.with_predicate(condition);
        }
        let config = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_groups(groups(scan.files, state.config().target_partitions()))
            .with_statistics(scan.statistics)
            .with_projection_indices(Some(scan.projection.to_vec()))?
            .with_limit(scan.limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// The columns of one tenant's rows. Statistics and limits are of all rows, and are not used.
    fn read_of_tenant(
        &self,
        state: &dyn Session,
        column: &TenantColumn,
        projection: &[usize],
        filters: &[Expr],
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let Some(tenant) = state.config().get_extension::<OneTenant>() else {
            return internal_err!("the rows of table {} are asked for by no tenant", self.name);
        };
        let value = column.value(&tenant.0).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let Some(value) = value else {
            return Ok(Arc::new(EmptyExec::new(Arc::new(self.stored.file_schema().project(projection)?))));
        };
        let mut read = projection.to_vec();
        let place = projection.iter().position(|index| *index == column.index).unwrap_or_else(|| {
            read.push(column.index);
            read.len() - 1
        });
        let files: Vec<PartitionedFile> =
            self.files.iter().filter(|file| may_hold(file, column.index, &value)).cloned().collect();
        let schema = self.stored.file_schema();
        let scan = Scan {
            files: &files,
            projection: &read,
            condition: Some(barrier::condition(schema, column.index, &value, filters)),
            statistics: Statistics::new_unknown(schema),
            limit: None,
        };
        let rows = self.read(state, scan)?;
        Ok(Arc::new(TenantBarrierExec::new(rows, place, tenant.0.clone(), value, projection.len())?))
    }

    /// Makes what queries see of what the files hold, above the scan; only where the query asks for such a column.
    fn converted(&self, scan: Arc<dyn ExecutionPlan>, projection: &[usize]) -> PlanResult<Arc<dyn ExecutionPlan>> {
        if !projection.iter().any(|index| self.conversions[*index].is_some()) {
            return Ok(scan);
        }
        let expressions = projection
            .iter()
            .enumerate()
            .map(|(position, index)| {
                let field = self.schema.field(*index);
                let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), position));
                let expression: Arc<dyn PhysicalExpr> = match &self.conversions[*index] {
                    Some(function) => Arc::new(ScalarFunctionExpr::new(
                        function.name(),
                        Arc::clone(function),
                        vec![column],
                        Arc::new(field.clone()),
                        Arc::default(),
                    )),
                    None => column,
                };
                (expression, field.name().clone())
            })
            .collect::<Vec<_>>();
        Ok(Arc::new(ProjectionExec::try_new(expressions, scan)?))
    }
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect::<Vec<_>>();
        let projection = projection.cloned().unwrap_or_else(all);
        let rows = match &self.tenant {
            Some(column) => self.read_of_tenant(state, column, &projection, filters)?,
            None => {
                let statistics = self.statistics.clone();
                let (files, projection) = (&self.files, &projection);
                self.read(state, Scan { files, projection, condition: None, statistics, limit })?
            }
        };
        self.converted(rows, &projection)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        // Filters skip files, row groups and pages by their statistics, and stay above the scan for what is left.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        self.tenant.is_none().then(|| self.statistics.clone())
    }
}

/// What of a table's files is read.
struct Scan<'a> {
    files: &'a [PartitionedFile],
    projection: &'a [usize],
    /// Skips files, row groups and pages; rows that it does not hold for may be among the others.
    condition: Option<Arc<dyn PhysicalExpr>>,
    statistics: Statistics,
    limit: Option<usize>,
}

/// Every file whole, spread over the partitions; the library splits them further by row group.
fn groups(files: &[PartitionedFile], partitions: usize) -> Vec<FileGroup> {
    let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); partitions.clamp(1, files.len().max(1))];
    let count = groups.len();
    for (index, file) in files.iter().enumerate() {
        groups[index % count].push(file.clone());
    }
    groups.into_iter().map(FileGroup::new).collect()
}

/// Whether the value is within the bounds of the file's column.
fn may_hold(file: &PartitionedFile, column: usize, value: &ScalarValue) -> bool {
    let known = file.statistics.as_ref().and_then(|statistics| statistics.column_statistics.get(column));
    let (min, max) = match known {
        Some(known) => (known.min_value.get_value(), known.max_value.get_value()),
        None => (None, None),
    };
    let is_below = min.is_some_and(|min| value.partial_cmp(min) == Some(Ordering::Less));
    let is_above = max.is_some_and(|max| value.partial_cmp(max) == Some(Ordering::Greater));
    !is_below && !is_above
}

impl fmt::Debug for SnapshotTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SnapshotTable({}, {} files)", self.name, self.files.len())
    }
}

fn primary_key(table: &store::Table) -> Constraints {
    let place = |name: &String| table.columns.iter().position(|column| column.name == *name);
    match table.primary_key.iter().map(place).collect::<Option<Vec<_>>>() {
        Some(places) if !places.is_empty() => Constraints::new_unverified(vec![Constraint::PrimaryKey(places)]),
        _ => Constraints::default(),
    }
}

/// The type that queries see, and what makes it of the files'.
fn seen_type(column: &store::Column) -> (DataType, Option<Arc<ScalarUDF>>) {
    if column.column_type == ColumnType::Interval {
        return (DataType::Interval(IntervalUnit::MonthDayNano), Some(interval::function()));
    }
    match array_of(column) {
        Some((data_type, reader)) => (data_type, Some(reader)),
        None => (read_type(column.column_type), None),
    }
}

/// An array travels as Postgres's text of it.
fn array_of(column: &store::Column) -> Option<(DataType, Arc<ScalarUDF>)> {
    let element = column.postgres_type.strip_prefix('_').filter(|_| column.treatment == store::Treatment::Text)?;
    array_column(element, &column.declared_type)
}

/// The type that the reader makes of the files' type.
fn read_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Text => DataType::Utf8View,
        ColumnType::Binary => DataType::BinaryView,
        other => other.file_type(),
    }
}

/// The name of a type that its Arrow type alone does not tell.
fn postgres_name(column: &store::Column) -> Option<&str> {
    let plain = column.treatment == store::Treatment::Plain;
    let told = matches!(
        column.postgres_type.as_str(),
        "bool"
            | "int2"
            | "int4"
            | "int8"
            | "float4"
            | "float8"
            | "numeric"
            | "text"
            | "bytea"
            | "date"
            | "time"
            | "timestamp"
            | "timestamptz"
            | "interval"
    );
    // A value that travelled as text or as a hash is text to whoever reads it.
    (plain && !told).then_some(column.postgres_type.as_str())
}

/// The length of a `char(n)`, which is declared as `character(n)`.
fn char_length(column: &store::Column) -> Option<&str> {
    let declared = column.declared_type.strip_prefix("character(").filter(|_| column.postgres_type == "bpchar")?;
    declared.strip_suffix(')')
}
