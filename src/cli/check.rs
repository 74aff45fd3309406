//! `pilaster check`

use std::{io::Write, process::ExitCode};

use super::build;
use crate::{
    config::Config,
    error::{Code, Error, Result},
    output::postgres_type_name,
};

/// Plans every named query against the newest snapshot. What is wrong is listed, all of it; the exit code says whether anything
/// is.
pub(super) async fn run(config: Config) -> Result<ExitCode> {
    build::schedule(&config)?;
    build::run_options(&config)?;
    let store = build::store(&config)?;
    let service = build::service(&config, store)?;
    service.refresh().await?;
    let engine = service.newest().ok_or_else(|| {
        Error::new(
            Code::SnapshotPending,
            format!("the store {} has no snapshot to check against", service.store().url()),
        )
        .with_hint("take one with pilaster snapshot")
    })?;
    let mut report =
        format!("snapshot {} as of {}\n", engine.version(), engine.as_of().format("%Y-%m-%d %H:%M:%S UTC"));
    let catalog = service.library().catalog();
    let mut broken = 0;
    for (path, error) in &catalog.broken {
        broken += 1;
        report.push_str(&problem(&path.display().to_string(), error));
    }
    for query in catalog.queries.values() {
        let name = format!("{}/{}", query.dashboard, query.name);
        let columns = service.describe(query).await.and_then(|schema| {
            if let Some(field) = schema.fields().iter().find(|field| is_unnamed(field.name())) {
                return Err(Error::new(Code::InvalidConfig, format!("the column {:?} has no name", field.name()))
                    .with_hint("name every column with AS, so that both backends agree"));
            }
            Ok(schema)
        });
        match columns {
            Ok(schema) => {
                let columns: Vec<String> = schema
                    .fields()
                    .iter()
                    .map(|field| format!("{} {}", field.name(), postgres_type_name(field)))
                    .collect();
                report.push_str(&format!("ok      {name}: {}\n", columns.join(", ")));
            }
            Err(error) => {
                broken += 1;
                report.push_str(&problem(&name, &error));
            }
        }
    }
    let count = catalog.queries.len();
    report.push_str(&match broken {
        0 => format!("{count} queries, all well\n"),
        _ => format!("{count} queries, {broken} problems\n"),
    });
    // A reader that stops reading has seen enough.
    drop(std::io::stdout().lock().write_all(report.as_bytes()));
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What Postgres calls a column that has no better name.
fn is_unnamed(name: &str) -> bool {
    name == "?column?"
}

fn problem(name: &str, error: &Error) -> String {
    let place = error.position().map(|position| format!(" at character {position}")).unwrap_or_default();
    let hint = error.hint().map(|hint| format!("\n        hint: {hint}")).unwrap_or_default();
    format!("BROKEN  {name}{place}: {error}{hint}\n")
}
