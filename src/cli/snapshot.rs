//! `pilaster snapshot`

use std::{io::Write, process::ExitCode};

use super::{build, progress};
use crate::{
    config::Config,
    error::{Error, Result},
    snapshot::{self, RunReport},
};

pub(super) async fn run(config: Config) -> Result<ExitCode> {
    let report = take(&config).await?;
    let mut out = std::io::stdout().lock();
    // A closed pipe is no failure of the run, which has been published.
    drop(out.write_all(summary(&report, build::store(&config)?.url().as_str()).as_bytes()));
    Ok(ExitCode::SUCCESS)
}

/// Takes a snapshot, with its certificate where there are two sides.
pub(super) async fn take(config: &Config) -> Result<RunReport> {
    let source = build::source(config)?;
    let store = build::store(config)?;
    let gate = match build::rollout(config)? {
        Some(rollout) => {
            let service = build::service(config, store.clone(), Some(rollout))?;
            service.refresh_rollout().await?;
            build::certifying_gate(service)
        }
        None => snapshot::open_gate(),
    };
    let options = build::run_options(config)?;
    let progress = progress::for_terminal();
    let stop = tokio::signal::ctrl_c();
    let report = tokio::select! {
        report = snapshot::take(&source, &store, &options, progress.as_ref(), gate) => report?,
        _ = stop => return Err(Error::new(crate::error::Code::Cancelled, "stopped; the snapshot before is untouched")),
    };
    drop(progress);
    Ok(report)
}

fn summary(report: &RunReport, store: &str) -> String {
    let manifest = &report.manifest;
    let mut text = format!(
        "snapshot {} as of {}\n{} rows of {} tables, {} in {}, {} rows/s\nstore {store}\n",
        manifest.version,
        manifest.as_of.format("%Y-%m-%d %H:%M:%S%.3f UTC"),
        manifest.row_count(),
        manifest.tables.len(),
        progress::human_bytes(manifest.bytes()),
        progress::human_duration(report.elapsed),
        per_second(manifest.row_count(), report.elapsed),
    );
    if !report.omitted.is_empty() {
        let names: Vec<String> = report.omitted.iter().map(|it| format!("{}.{}", it.table, it.column)).collect();
        text.push_str(&format!(
            "left out because they look like secrets: {}\n  (copy one with include_columns in [tables.\"schema.table\"])\n",
            names.join(", ")
        ));
    }
    if !report.as_text.is_empty() {
        let names: Vec<String> =
            report.as_text.iter().map(|it| format!("{}.{} {}", it.table, it.column, it.declared_type)).collect();
        text.push_str(&format!("copied as text: {}\n", names.join(", ")));
    }
    for table in &manifest.tables {
        for column in &table.columns {
            let fidelity = column.fidelity;
            if fidelity.nulled + fidelity.clamped > 0 {
                text.push_str(&format!(
                    "out of range in {}.{}: {} became NULL, {} the nearest value\n",
                    table.name, column.name, fidelity.nulled, fidelity.clamped
                ));
            }
        }
    }
    if let Ok(pruned) = &report.pruned
        && pruned.files > 0
    {
        text.push_str(&format!("pruned {} old files, {}\n", pruned.files, progress::human_bytes(pruned.bytes)));
    }
    text
}

fn per_second(rows: u64, elapsed: std::time::Duration) -> u64 {
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    rows.saturating_mul(1_000) / milliseconds
}
