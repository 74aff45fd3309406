//! Workers copy chunks of tables into files, side by side, and the parts become tables.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{TryStreamExt, stream::FuturesUnordered};
use tokio::sync::mpsc;

use super::{
    Event, Progress, RunOptions,
    columns::{OmittedColumn, TablePlan, TextColumn},
    export::Export,
    file::{self, FileOptions},
};
use tokio_util::task::TaskTracker;

use crate::{
    error::{Code, Error, Result},
    postgres::{CopyConnection, CopyDecoder, Progress as CopyProgress},
    store::{DataFile, Fidelity, RunId, Store, Table, TableMode},
};

const PAGE_BYTES: u64 = 8_192;
/// A batch is handed to the writer at this size: large enough for Parquet's pages, small enough to bound memory.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_ROWS: usize = 65_536;
/// Batches between a worker's socket and its writer.
const QUEUE: usize = 2;

/// All tables, with what was left out and what travels as text.
pub(super) struct Copied {
    pub(super) tables: Vec<Table>,
    pub(super) omitted: Vec<OmittedColumn>,
    pub(super) as_text: Vec<TextColumn>,
}

/// A range of a table's pages; the last is open, since a table may have grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chunk {
    table: usize,
    part: u32,
    from_page: u64,
    to_page: Option<u64>,
}

/// What became of a chunk.
struct Part {
    chunk: Chunk,
    file: Option<DataFile>,
    fidelity: Vec<Fidelity>,
}

/// Copies every planned table over several connections.
pub(super) async fn copy_tables(
    run: RunId,
    export: &Export,
    plans: Vec<TablePlan>,
    store: &Store,
    options: &RunOptions,
    progress: &dyn Progress,
) -> Result<Copied> {
    let chunks = chunks(&plans, options.part_bytes);
    let open: Vec<AtomicUsize> = plans
        .iter()
        .enumerate()
        .map(|(table, _)| AtomicUsize::new(chunks.iter().filter(|chunk| chunk.table == table).count()))
        .collect();
    let queue = Mutex::new(chunks.iter().copied().collect::<VecDeque<_>>());
    let parts = Mutex::new(Vec::with_capacity(chunks.len()));
    let writers = TaskTracker::new();
    let shared = Shared { run, export, plans: &plans, store, options, progress, queue, parts, open, writers };
    let workers: FuturesUnordered<_> =
        (0..options.connections.min(chunks.len()).max(1)).map(|_| shared.work()).collect();
    // The first error drops the other workers, whose connections then cancel what they run.
    let copied = workers.try_collect::<()>().await;
    // What such a worker was writing ends by itself; until then it may make a file that nobody would discard.
    shared.writers.close();
    shared.writers.wait().await;
    copied?;
    let parts = shared.parts.into_inner().unwrap_or_else(PoisonError::into_inner);
    assemble(plans, parts)
}

struct Shared<'a> {
    run: RunId,
    export: &'a Export,
    plans: &'a [TablePlan],
    store: &'a Store,
    options: &'a RunOptions,
    progress: &'a dyn Progress,
    queue: Mutex<VecDeque<Chunk>>,
    parts: Mutex<Vec<Part>>,
    /// Chunks of each table that are not done.
    open: Vec<AtomicUsize>,
    /// Files that are being written.
    writers: TaskTracker,
}

impl Shared<'_> {
    async fn work(&self) -> Result<()> {
        let source = self.export.server().clone().with_read_timeout(Some(self.options.idle_timeout));
        let mut connection = source.connect_copy().await?;
        connection.execute(&self.export.worker_setup()).await?;
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(chunk) = next else { break };
            let plan = &self.plans[chunk.table];
            let part = self
                .copy(&mut connection, plan, chunk)
                .await
                .map_err(|error| error.context(format!("table {}", plan.name)))?;
            let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
            parts.push(part);
            if self.open[chunk.table].fetch_sub(1, Ordering::Relaxed) == 1 {
                let files =
                    parts.iter().filter(|part| part.chunk.table == chunk.table).filter_map(|part| part.file.as_ref());
                let (rows, bytes) = files.fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
                self.progress.report(Event::TableDone { table: &plan.name, rows, bytes });
            }
        }
        connection.close().await;
        Ok(())
    }

    async fn copy(&self, connection: &mut CopyConnection, plan: &TablePlan, chunk: Chunk) -> Result<Part> {
        let decode = plan.decode_plans();
        let mut decoder = CopyDecoder::new(&plan.name, &decode, self.options.hash_key)?;
        let schema = Arc::clone(decoder.schema());
        let options = FileOptions {
            row_group_rows: self.options.row_group_rows,
            sort_by: plan
                .sort_by
                .iter()
                .filter_map(|name| decode.iter().position(|column| &column.name == name))
                .collect(),
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = {
            let (store, name, run, schema) = (self.store.clone(), plan.name.clone(), self.run, Arc::clone(&schema));
            self.writers.spawn_blocking(move || {
                file::write(&schema, &options, receiver, || store.create_file(&name, run, chunk.part))
            })
        };

        connection.start_copy(&copy_sql(plan, chunk)).await?;
        let mut rows_sent = 0;
        let rows = loop {
            let step = connection.next_chunk(&mut decoder).await?;
            let done = matches!(step, CopyProgress::Done { .. });
            let full = decoder.rows_buffered() >= BATCH_ROWS || decoder.bytes_buffered() >= BATCH_BYTES;
            if (done || full)
                && let Some(batch) = decoder.take_batch()?
            {
                if batch.num_columns() == 0 {
                    return Err(Error::new(
                        Code::InvalidConfig,
                        "it has rows, and no column that is copied: Parquet does not count rows without columns",
                    )
                    .with_hint(format!(
                        "leave it out: snapshot.exclude_tables = [\"{0}\"], or copy a column with include_columns in [tables.\"{0}\"]",
                        plan.name
                    )));
                }
                let rows = batch.num_rows() as u64;
                rows_sent += rows;
                self.progress.report(Event::Copied { table: &plan.name, rows });
                // A writer that is gone has failed, and says why below.
                if sender.send(batch).await.is_err() {
                    break rows_sent;
                }
            }
            if let CopyProgress::Done { rows } = step {
                break rows;
            }
        };
        drop(sender);
        let finished = writer.await.map_err(|error| Error::internal("a file writer stopped").with_cause(error))??;
        if rows_sent != rows {
            return Err(Error::internal(format!("the source copied {rows} rows, {rows_sent} were decoded")));
        }
        let file = match finished {
            None if rows == 0 => None,
            None => return Err(Error::internal(format!("{rows} rows were copied and none was written"))),
            Some(finished) => {
                let summary = self.store.read_back(&finished).await?;
                if summary.rows != rows {
                    return Err(Error::new(
                        Code::CorruptStore,
                        format!("{} holds {} rows, the source copied {rows}", finished.path, summary.rows),
                    ));
                }
                Some(DataFile {
                    path: finished.path,
                    rows: summary.rows,
                    bytes: finished.bytes,
                    blake3: finished.blake3,
                    footer_bytes: summary.footer_bytes,
                    columns: summary.columns,
                })
            }
        };
        let fidelity =
            decoder.counts().iter().map(|counts| Fidelity { nulled: counts.nulled, clamped: counts.clamped }).collect();
        Ok(Part { chunk, file, fidelity })
    }
}

/// Large tables in ranges of pages, the largest tables first, so that none is left for the end.
fn chunks(plans: &[TablePlan], part_bytes: u64) -> Vec<Chunk> {
    let pages_per_part = (part_bytes / PAGE_BYTES).max(1);
    let mut order: Vec<usize> = (0..plans.len()).collect();
    order.sort_by_key(|table| std::cmp::Reverse(plans[*table].pages));
    let mut chunks = Vec::new();
    for table in order {
        let parts = plans[table].pages.div_ceil(pages_per_part).max(1);
        for part in 0..parts {
            chunks.push(Chunk {
                table,
                part: u32::try_from(part).unwrap_or(u32::MAX),
                from_page: part * pages_per_part,
                to_page: (part + 1 < parts).then_some((part + 1) * pages_per_part),
            });
        }
    }
    chunks
}

fn copy_sql(plan: &TablePlan, chunk: Chunk) -> String {
    let range = match (chunk.from_page, chunk.to_page) {
        (0, None) => String::new(),
        (from, None) => format!(" WHERE ctid >= '({from},0)'"),
        (from, Some(to)) => format!(" WHERE ctid >= '({from},0)' AND ctid < '({to},0)'"),
    };
    format!("COPY (SELECT {} FROM {}{range}) TO STDOUT (FORMAT binary)", plan.select_list(), plan.source.quoted())
}

fn assemble(plans: Vec<TablePlan>, mut parts: Vec<Part>) -> Result<Copied> {
    parts.sort_by_key(|part| (part.chunk.table, part.chunk.part));
    let mut copied = Copied { tables: Vec::with_capacity(plans.len()), omitted: Vec::new(), as_text: Vec::new() };
    for (index, plan) in plans.into_iter().enumerate() {
        let mut fidelity = vec![Fidelity::default(); plan.columns.len()];
        let mut files = Vec::new();
        for part in parts.iter().filter(|part| part.chunk.table == index) {
            for (sum, one) in fidelity.iter_mut().zip(&part.fidelity) {
                sum.nulled += one.nulled;
                sum.clamped += one.clamped;
            }
            files.extend(part.file.clone());
        }
        let columns = plan.store_columns(&fidelity)?;
        copied.as_text.extend(plan.text_columns());
        copied.omitted.extend(plan.omitted);
        copied.tables.push(Table {
            digest: Table::content_digest(&columns, &files),
            row_count: files.iter().map(|file| file.rows).sum(),
            name: plan.name,
            columns,
            excluded_columns: plan.excluded,
            primary_key: plan.primary_key,
            foreign_keys: plan.foreign_keys,
            mode: TableMode::Full,
            cursor: None,
            sort_order: plan.sort_by,
            files,
        });
    }
    copied.tables.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(copied)
}
