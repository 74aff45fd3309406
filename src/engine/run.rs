//! One execution: polled on the engine's threads, its batches handed over through a short queue, stopped when nobody listens.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StringViewArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Schema, SchemaRef},
    util::display::FormatOptions,
};
use datafusion::{
    datasource::source::DataSourceExec,
    execution::SessionState,
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream},
};
use futures::{Stream, StreamExt};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinHandle},
};

use super::{
    EngineRuntime,
    barrier::Check,
    failure::from_datafusion,
    guard::guarded,
    guard_plan::guarded_plan,
    interrupt::{Interrupt, interruptible},
};
use crate::{
    error::{Code, Error, Result},
    sql::{CHAR_LENGTH_KEY, logical_bytes, own_elements, padded_to},
    telemetry,
};

/// How many batches wait between the engine and whoever reads: enough to overlap, little enough to bound memory.
const QUEUE: usize = 2;
/// Of a batch that is handed over.
const PIECE_BYTES_MAX: usize = 16 << 20;
/// Of one row of a result, which is written out as a whole.
const ROW_BYTES_MAX: usize = 256 << 20;
/// A value that does not fit is an error, not NULL.
const STRICT: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

/// Record batches, or the error that ended them. A stream that ends without an error is complete.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

/// A running query.
pub struct Execution {
    /// The columns of every batch.
    pub schema: SchemaRef,
    /// The rows. Dropping it stops the work.
    pub batches: BatchStream,
}

enum Message {
    Schema(SchemaRef),
    Batch(RecordBatch),
    Failed(Error),
    /// Only a stream that says so is complete: a task that dies says nothing.
    Done,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Stops a query: at its next await, and where it does not await.
struct StopOnDrop(AbortHandle, Arc<Interrupt>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
        self.1.stop();
    }
}

/// Waits for `task` until `deadline`; a task that is late is stopped.
pub(super) async fn within<T>(deadline: Instant, task: JoinHandle<T>) -> Result<T> {
    let stop = AbortOnDrop(task.abort_handle());
    let outcome = tokio::time::timeout_at(deadline.into(), task).await;
    drop(stop);
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::internal("the engine stopped unexpectedly").with_cause(error)),
        Err(_) => Err(too_late()),
    }
}

/// Optimises and starts the plan that `make` gives, all on the engine's threads. The columns are those of `schema`, which is what was
/// planned: names of types do not survive all that the optimiser does.
pub(super) async fn start<F>(
    runtime: &EngineRuntime,
    schema: SchemaRef,
    make: F,
    check: Option<Check>,
    deadline: Instant,
) -> Result<Execution>
where
    F: FnOnce() -> Result<(LogicalPlan, SessionState)> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    let interrupt = Interrupt::new(deadline);
    let noticed = Arc::clone(&interrupt);
    let task = runtime.spawn(async move {
        let last = match pump(make, &schema, check.as_ref(), deadline, &noticed, &sender).await {
            Ok(()) => Message::Done,
            Err(error) => Message::Failed(of_run(error)),
        };
        // Nobody listening any more is no fault.
        drop(sender.send(last).await);
    });
    let stop = StopOnDrop(task.abort_handle(), interrupt);
    let schema = match next(&mut receiver, deadline).await? {
        Some(Message::Schema(schema)) => schema,
        Some(Message::Failed(error)) => return Err(error),
        Some(Message::Batch(_) | Message::Done) | None => return Err(stopped()),
    };
    let batches = futures::stream::unfold(Some((receiver, stop)), move |listening| async move {
        let (mut receiver, stop) = listening?;
        match next(&mut receiver, deadline).await {
            Ok(Some(Message::Batch(batch))) => Some((Ok(batch), Some((receiver, stop)))),
            Ok(Some(Message::Done)) => None,
            Ok(Some(Message::Failed(error))) | Err(error) => Some((Err(error), None)),
            Ok(Some(Message::Schema(_)) | None) => Some((Err(stopped()), None)),
        }
    });
    Ok(Execution { schema, batches: Box::pin(batches) })
}

async fn next(receiver: &mut mpsc::Receiver<Message>, deadline: Instant) -> Result<Option<Message>> {
    // The engine watches the deadline too, but an operator that does not yield would not notice.
    tokio::time::timeout_at(deadline.into(), receiver.recv()).await.map_err(|_| too_late())
}

async fn pump<F>(
    make: F,
    planned: &SchemaRef,
    check: Option<&Check>,
    deadline: Instant,
    interrupt: &Arc<Interrupt>,
    sender: &mpsc::Sender<Message>,
) -> Result<()>
where
    F: FnOnce() -> Result<(LogicalPlan, SessionState)>,
{
    let in_time = |future| bounded(deadline, future);
    let (plan, state) = make()?;
    let physical: Arc<dyn ExecutionPlan> = in_time(Box::pin(async {
        let planned = async {
            let plan = guarded_plan(state.optimize(&plan)?)?;
            state.query_planner().create_physical_plan(&plan, &state).await
        };
        planned.await.map_err(|error| from_datafusion(error, None))
    }))
    .await?;
    drop(plan);
    let physical = guarded(physical).map_err(|error| from_datafusion(error, None))?;
    let physical = interruptible(physical, interrupt).map_err(|error| from_datafusion(error, None))?;
    if let Some(check) = check {
        check.verify(&physical).map_err(|error| from_datafusion(error, None))?;
    }
    let _counted = Counted(Arc::clone(&physical));
    let mut batches: SendableRecordBatchStream =
        execute_stream(physical, state.task_ctx()).map_err(|error| from_datafusion(error, None))?;
    let send = |message| async { sender.send(message).await.map_err(|_| cancelled()) };
    let schema = merged(planned, &batches.schema())?;
    send(Message::Schema(Arc::clone(&schema))).await?;
    loop {
        let batch = tokio::select! {
            biased;
            () = sender.closed() => return Err(cancelled()),
            batch = bounded(deadline, batches.next_or_end()) => batch?,
        };
        match batch {
            Some(batch) if batch.num_rows() == 0 => {}
            Some(batch) => {
                for piece in pieces(batch)? {
                    // One batch may be a hundred pieces, and each of them on its way at once.
                    if Instant::now() >= deadline {
                        return Err(too_late());
                    }
                    send(Message::Batch(compact(piece, &schema)?)).await?;
                }
            }
            None => return Ok(()),
        }
    }
}

/// What it says may hold values of rows, or of the plan; what the statement itself asks too much is neither.
fn of_run(error: Error) -> Error {
    match error.code() {
        Code::UnsupportedSql | Code::InvalidRequest => error,
        _ => error.while_running(),
    }
}

/// A plan that runs; what it has read is counted when it ends, however it does.
struct Counted(Arc<dyn ExecutionPlan>);

impl Drop for Counted {
    fn drop(&mut self) {
        let (mut rows, mut bytes) = (0, 0);
        count_read(&self.0, &mut rows, &mut bytes);
        telemetry::engine_read(rows, bytes);
    }
}

fn count_read(plan: &Arc<dyn ExecutionPlan>, rows: &mut u64, bytes: &mut u64) {
    if let Some(metrics) = plan.metrics().filter(|_| plan.is::<DataSourceExec>()) {
        *rows += metrics.output_rows().unwrap_or(0) as u64;
        *bytes += metrics.sum_by_name("bytes_scanned").map_or(0, |value| value.as_usize()) as u64;
    }
    plan.children().into_iter().for_each(|child| count_read(child, rows, bytes));
}

/// What was planned; a column may be NULL if either says so.
fn merged(planned: &SchemaRef, running: &SchemaRef) -> Result<SchemaRef> {
    if planned.fields().len() != running.fields().len() {
        return Err(Error::internal("the plan lost a column"));
    }
    let fields = planned.fields().iter().zip(running.fields()).map(|(planned, running)| {
        let nullable = planned.is_nullable() || running.is_nullable();
        planned.as_ref().clone().with_nullable(nullable)
    });
    Ok(Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), planned.metadata().clone())))
}

trait NextOrEnd {
    fn next_or_end(&mut self) -> impl Future<Output = Result<Option<RecordBatch>>> + Send;
}

impl NextOrEnd for SendableRecordBatchStream {
    async fn next_or_end(&mut self) -> Result<Option<RecordBatch>> {
        self.next().await.transpose().map_err(|error| from_datafusion(error, None))
    }
}

async fn bounded<T>(deadline: Instant, future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout_at(deadline.into(), future).await.unwrap_or_else(|_| Err(too_late()))
}

/// The batch in pieces that can be written out: its rows may share texts, and be far more than the memory that holds them.
fn pieces(batch: RecordBatch) -> Result<Vec<RecordBatch>> {
    let bytes: usize = batch.columns().iter().map(logical_bytes).sum();
    match batch.num_rows() {
        _ if bytes <= PIECE_BYTES_MAX => Ok(vec![batch]),
        0 | 1 if bytes > ROW_BYTES_MAX => Err(Error::new(
            Code::ResultTooLarge,
            format!("a row of the result has more than {} MiB", ROW_BYTES_MAX >> 20),
        )
        .with_sqlstate("54000")
        .with_hint("ask for shorter values")),
        0 | 1 => Ok(vec![batch]),
        rows => {
            let mut all = pieces(batch.slice(0, rows / 2))?;
            all.extend(pieces(batch.slice(rows / 2, rows - rows / 2))?);
            Ok(all)
        }
    }
}

/// The batch as it is shown. Views share the buffers of whole row groups; a small result must not keep those alive.
fn compact(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let needs =
        |column: &ArrayRef| matches!(column.data_type(), DataType::Utf8View | DataType::BinaryView | DataType::List(_));
    let batch = padded(batch, schema)?;
    if !batch.columns().iter().any(needs) && batch.schema_ref() == schema {
        return Ok(batch);
    }
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| match column.data_type() {
            shown if shown == field.data_type() && is_own_size(column) => Ok(Arc::clone(column)),
            DataType::Utf8View | DataType::BinaryView | DataType::List(_) => own(column, field.data_type()),
            shown if shown == field.data_type() => Ok(Arc::clone(column)),
            _ => cast_with_options(column, field.data_type(), &STRICT)
                .map_err(|error| from_datafusion(error.into(), None)),
        })
        .collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| Error::internal("a result's columns do not fit together").with_cause(error))
}

/// `char(n)` is shown with its spaces, in arrays too.
fn padded(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if !schema.fields().iter().any(|field| is_padded(field)) {
        return Ok(batch);
    }
    let columns =
        batch.columns().iter().zip(schema.fields()).map(|(column, field)| with_spaces(column, field)).collect();
    RecordBatch::try_new(batch.schema(), columns)
        .map_err(|error| Error::internal("a result's columns do not fit together").with_cause(error))
}

fn is_padded(field: &Field) -> bool {
    match field.data_type() {
        DataType::List(item) => is_padded(item),
        _ => field.metadata().contains_key(CHAR_LENGTH_KEY),
    }
}

fn with_spaces(column: &ArrayRef, field: &Field) -> ArrayRef {
    let length = || field.metadata().get(CHAR_LENGTH_KEY)?.parse::<usize>().ok();
    if let (Some(lists), DataType::List(item)) = (column.as_list_opt::<i32>(), field.data_type()) {
        let values = with_spaces(lists.values(), item);
        let (DataType::List(item), nulls) = (column.data_type(), lists.nulls().cloned()) else {
            return Arc::clone(column);
        };
        return Arc::new(ListArray::new(Arc::clone(item), lists.offsets().clone(), values, nulls));
    }
    match (length(), column.as_string_view_opt()) {
        (Some(length), Some(texts)) => {
            let pad = |text: &str| padded_to(text, length);
            Arc::new(texts.iter().map(|text| text.map(pad)).collect::<StringViewArray>())
        }
        _ => Arc::clone(column),
    }
}

/// Whether memory holds about what the values are: neither whole row groups for a few of their rows, nor one text for many.
fn is_own_size(column: &ArrayRef) -> bool {
    let (held, values) = (column.get_buffer_memory_size(), logical_bytes(column));
    held <= 2 * values + (64 << 10) && values <= 4 * held + (1 << 20)
}

/// The column with buffers of its own, of this type.
fn own(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let failed = |error: arrow::error::ArrowError| from_datafusion(error.into(), None);
    let copied: ArrayRef = match column.data_type() {
        _ if is_own_size(column) => Arc::clone(column),
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        DataType::List(item) => {
            let lists = own_elements(column.as_list());
            let values = own(lists.values(), item.data_type())?;
            let lists = ListArray::try_new(Arc::clone(item), lists.offsets().clone(), values, lists.nulls().cloned());
            Arc::new(lists.map_err(failed)?)
        }
        _ => Arc::clone(column),
    };
    if copied.data_type() == data_type {
        return Ok(copied);
    }
    cast_with_options(&copied, data_type, &STRICT).map_err(failed)
}

pub(super) fn too_late() -> Error {
    Error::new(Code::DeadlineExceeded, "the query did not finish in time")
        .with_sqlstate("57014")
        .with_hint("ask for less, or give it more with -- @timeout or engine.timeout")
}

pub(super) fn cancelled() -> Error {
    Error::new(Code::Cancelled, "the query was cancelled").with_sqlstate("57014")
}

fn stopped() -> Error {
    Error::internal("the query stopped without an answer").with_sqlstate("XX000")
}
