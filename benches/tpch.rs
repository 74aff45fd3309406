//! What Postgres's semantics cost: TPC-H's queries on Pilaster and on stock DataFusion, over the same Parquet files, side by side in one run,
//! printed as Markdown.
//!
//! `cargo bench --bench tpch` starts a private Postgres, loads TPC-H (`TPCH_SCALE`, 1 by default), takes a snapshot and asks each query of
//! both, in turn. Pilaster answers over HTTP, as it does its users; stock DataFusion in process, with its defaults. Machines differ and are
//! noisy: read the ratios.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on has failed, and prints")]

#[path = "support/server.rs"]
mod server;
#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod support;
#[path = "../tests/it/support_tpch.rs"]
mod support_tpch;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use datafusion::prelude::{ParquetReadOptions, SessionContext};
use server::{Server, median, timed};
use support::Postgres;
use support_tpch::{QUERIES, SCHEMA, load, scale};

const RUNS: usize = 7;

fn main() {
    let scale = scale(1.0);
    let postgres = Postgres::private(&["shared_buffers = 1GB", "max_wal_size = 8GB"], "");
    let url = postgres.database("tpch");
    let folder = tempfile::tempdir().unwrap();
    load(&url, SCHEMA, folder.path(), scale);
    let store = folder.path().join("store");
    let snapshot = Command::new(env!("CARGO_BIN_EXE_pilaster"))
        .args(["snapshot", "--postgres", &url, "--store", store.to_str().unwrap()])
        .stdout(Stdio::null())
        .status();
    assert!(snapshot.unwrap().success(), "the snapshot failed");

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let stock = runtime.block_on(stock(&store));
    let server = Server::start(&store, &[]);
    println!("TPC-H at scale {scale}, medians of {RUNS} runs.\n");
    println!("| query | stock DataFusion | Pilaster | ratio |\n|---|---:|---:|---:|");
    let mut logarithms = Vec::new();
    let mut totals = [Duration::ZERO; 2];
    for (name, sql) in QUERIES {
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        let on_stock = || runtime.block_on(async { stock.sql(sql).await?.collect().await });
        let is_answered = on_stock().is_ok();
        server.ask(sql, "");
        for _ in 0..RUNS {
            if is_answered {
                theirs.push(timed(|| drop(on_stock().unwrap())));
            }
            ours.push(timed(|| drop(server.ask(sql, ""))));
        }
        let ours = median(ours);
        if !is_answered {
            println!("| {name} | cannot run it | {ours:.1?} | |");
            continue;
        }
        let theirs = median(theirs);
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        logarithms.push(ratio.ln());
        totals[0] += theirs;
        totals[1] += ours;
        println!("| {name} | {theirs:.1?} | {ours:.1?} | {ratio:.2}× |");
    }
    let count = f64::from(u32::try_from(logarithms.len()).unwrap());
    let mean = (logarithms.iter().sum::<f64>() / count).exp();
    let sum = totals[1].as_secs_f64() / totals[0].as_secs_f64();
    println!("\nPilaster takes {mean:.2}× the time of stock DataFusion in the geometric mean, {sum:.2}× in sum.");
}

/// DataFusion as it comes, over the files of the snapshot.
#[expect(clippy::disallowed_methods, reason = "what is measured is the engine without us")]
async fn stock(store: &Path) -> SessionContext {
    let context = SessionContext::new();
    for entry in std::fs::read_dir(store.join("tables")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let table = name.strip_prefix("public.").unwrap();
        let version = std::fs::read_dir(entry.path()).unwrap().next().unwrap().unwrap().path();
        context.register_parquet(table, version.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
    }
    context
}
