//! How a run looks to a person: bars on a terminal, lines elsewhere.

use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{
    snapshot::{Event, Progress},
    store::TableName,
};

/// Bars when standard error is a terminal, plain lines otherwise.
pub(super) fn for_terminal() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(Bars::default()) } else { Box::new(Lines) }
}

#[derive(Default)]
struct Bars {
    all: MultiProgress,
    tables: Mutex<HashMap<TableName, ProgressBar>>,
}

struct Lines;

impl Progress for Bars {
    fn report(&self, event: Event<'_>) {
        let mut bars = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        // A line that cannot be printed is not worth failing a run for.
        match event {
            Event::Started { run, version } => drop(self.all.println(format!("run {run} for snapshot {version}"))),
            Event::StartedOver { reason } => {
                for (_, bar) in bars.drain() {
                    bar.finish_and_clear();
                }
                drop(self.all.println(format!("starting over: {reason}")));
            }
            Event::Exporting { tables, .. } => {
                let style =
                    ProgressStyle::with_template("{prefix:32!} {bar:24} {human_pos:>13} rows {per_sec:>16} {msg}")
                        .expect("the template is right")
                        .progress_chars("█▉▊▋▌▍▎▏ ");
                for (name, estimate) in tables {
                    let bar = self.all.add(ProgressBar::new(estimate.unwrap_or(0)).with_style(style.clone()));
                    bar.set_prefix(name.to_string());
                    bars.insert(name.clone(), bar);
                }
            }
            Event::Copied { table, rows } => {
                if let Some(bar) = bars.get(table) {
                    bar.inc(rows);
                    // The source's count of rows is an estimate.
                    bar.set_length(bar.length().unwrap_or(0).max(bar.position()));
                }
            }
            Event::TableDone { table, rows, bytes } => {
                if let Some(bar) = bars.get(table) {
                    bar.set_length(rows);
                    bar.set_position(rows);
                    bar.finish_with_message(human_bytes(bytes));
                }
            }
            Event::AtGate | Event::Published { .. } => {}
        }
    }
}

impl Progress for Lines {
    fn report(&self, event: Event<'_>) {
        let line = match event {
            Event::Started { run, version } => format!("run {run} for snapshot {version}"),
            Event::Exporting { tables, as_of } => format!("copying {} tables as of {as_of}", tables.len()),
            Event::StartedOver { reason } => format!("starting over: {reason}"),
            Event::TableDone { table, rows, bytes } => format!("{table}: {rows} rows, {}", human_bytes(bytes)),
            Event::Copied { .. } | Event::AtGate | Event::Published { .. } => return,
        };
        // Nobody reading is no reason to stop.
        drop(writeln!(std::io::stderr(), "{line}"));
    }
}

/// `1.5 MiB`
pub(super) fn human_bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// `850 ms`, `12.3 s`, `4 min 05 s`
pub(super) fn human_duration(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}
