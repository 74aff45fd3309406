//! `pilaster check`

mod tables;

use std::{fmt::Write as _, io::Write as _, process::ExitCode, sync::Arc};

use arrow::datatypes::SchemaRef;

use super::build;
use crate::{
    access::Scope,
    config::Config,
    engine::Sight,
    error::{Code, Error, Result},
    output::postgres_type_name,
    sql::differences::{Effect, Found, find, find_in},
    store::TableName,
};

/// Where the lines below a query's first begin.
const INDENT: &str = "             ";

/// Plans every named query against the newest snapshot, and says of each whether its answer is Postgres's. What is wrong is listed,
/// all of it; the exit code says whether anything is. A query that is different is not wrong: somebody has to know.
pub(super) async fn run(config: Config) -> Result<ExitCode> {
    build::schedule(&config)?;
    build::run_options(&config)?;
    let store = build::store(&config)?;
    let service = build::service(&config, store, build::rollout(&config)?)?;
    service.refresh().await?;
    let engine = service.newest().ok_or_else(|| {
        Error::new(
            Code::SnapshotPending,
            format!("the store {} has no snapshot to check against", service.store().url()),
        )
        .with_hint("take one with pilaster snapshot")
    })?;
    let mut report = Report::default();
    let _ =
        writeln!(report.text, "snapshot {} as of {}", engine.version(), engine.as_of().format("%Y-%m-%d %H:%M:%S UTC"));
    let catalog = service.library().catalog();
    for (path, error) in &catalog.broken {
        // To say the line and the construct; of a file that cannot be read there is neither.
        let text = std::fs::read_to_string(config.queries.folder.join(path)).unwrap_or_default();
        report.add(&path.display().to_string(), &text, &judge_unread(error, find_in(&text)));
    }
    let policies = build::policies(&config)?;
    // A product whose rows are nobody's has no tenants to refuse.
    let has_tenants = policies.iter().next().is_some() || config.access.asks();
    for query in catalog.queries.values() {
        let planned = service.describe(query, &Scope::All).await;
        let read = planned.as_ref().map_or_else(|_| Vec::new(), |planned| planned.facts().tables.clone());
        let verdict = judge(planned.map(|planned| Arc::clone(planned.schema())), find(&query.sql));
        report.add(&format!("{}/{}", query.dashboard, query.name), query.sql.text(), &verdict);
        let is_shown = |name: &TableName| engine.tables(Sight::OneTenant).any(|table| table.name == *name);
        let hidden: Vec<&TableName> = read.iter().map(|table| &table.name).filter(|name| !is_shown(name)).collect();
        if has_tenants && !hidden.is_empty() {
            report.refused_to_tenants(&hidden);
        } else if has_tenants
            && service.has_postgres()
            && let Err(error) = service.allows_tenants_on_postgres(query).await
        {
            report.not_routed(&error);
        }
    }
    report.finish();
    let of_tables = tables::tables(engine.manifest(), &policies, service.tenant_type());
    report.text.push_str(&of_tables.lines);
    report.broken += of_tables.broken;
    // A reader that stops reading has seen enough.
    drop(std::io::stdout().lock().write_all(report.text.as_bytes()));
    Ok(if report.fails() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How a query's answer stands to Postgres's.
enum Verdict {
    /// The same.
    Equal(SchemaRef),
    /// There is one, which may be another.
    Different(SchemaRef, Vec<Found>),
    /// There is none: the planner says why, or the table does.
    Unsupported(Option<Error>, Vec<Found>),
    /// The file is wrong.
    Broken(Error),
}

fn judge(planned: Result<SchemaRef>, found: Vec<Found>) -> Verdict {
    let (unsupported, different) = by_effect(found);
    match planned {
        Err(error) if is_about_sql(&error) => Verdict::Unsupported(Some(error), unsupported),
        Err(error) => Verdict::Broken(error),
        Ok(schema) => match schema.fields().iter().find(|field| is_unnamed(field.name())) {
            Some(field) => Verdict::Broken(
                Error::new(Code::InvalidConfig, format!("the column {:?} has no name", field.name()))
                    .with_hint("name every column with AS, so that both backends agree"),
            ),
            None if !unsupported.is_empty() => Verdict::Unsupported(None, unsupported),
            None if !different.is_empty() => Verdict::Different(schema, different),
            None => Verdict::Equal(schema),
        },
    }
}

/// Of a file that is no query: because of a construct that only Postgres knows, or because it is wrong.
fn judge_unread(error: &Error, found: Vec<Found>) -> Verdict {
    let (unsupported, _) = by_effect(found);
    match is_about_sql(error) && !unsupported.is_empty() {
        true => Verdict::Unsupported(Some(error.clone()), unsupported),
        false => Verdict::Broken(error.clone()),
    }
}

fn is_about_sql(error: &Error) -> bool {
    matches!(error.code(), Code::InvalidSql | Code::UnsupportedSql | Code::InvalidValue)
}

/// Those that are errors and those that are not, each difference once, at its first place.
fn by_effect(found: Vec<Found>) -> (Vec<Found>, Vec<Found>) {
    let mut first: Vec<Found> = Vec::new();
    for place in found {
        if !first.iter().any(|had| had.difference.key == place.difference.key) {
            first.push(place);
        }
    }
    first.into_iter().partition(|found| found.difference.effect == Effect::Unsupported)
}

/// What Postgres calls a column that has no better name.
fn is_unnamed(name: &str) -> bool {
    name == "?column?"
}

#[derive(Default)]
struct Report {
    text: String,
    equal: usize,
    different: usize,
    unsupported: usize,
    broken: usize,
}

impl Report {
    /// `file` is the text of the query's file.
    fn add(&mut self, name: &str, file: &str, verdict: &Verdict) {
        match verdict {
            Verdict::Equal(schema) => {
                self.equal += 1;
                self.line("equal", format_args!("{name}: {}", columns(schema)));
            }
            Verdict::Different(schema, found) => {
                self.different += 1;
                self.line("different", format_args!("{name}: {}", columns(schema)));
                self.places(file, found);
            }
            Verdict::Unsupported(error, found) => {
                self.unsupported += 1;
                match error {
                    Some(error) => self.error("unsupported", name, file, error),
                    None => self.line("unsupported", format_args!("{name}: it is planned, and fails when it runs")),
                }
                self.places(file, found);
            }
            Verdict::Broken(error) => {
                self.broken += 1;
                self.error("BROKEN", name, file, error);
            }
        }
    }

    fn line(&mut self, verdict: &str, rest: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{verdict:<12} {rest}");
    }

    fn error(&mut self, verdict: &str, name: &str, file: &str, error: &Error) {
        let place = error.position().map(|position| format!(" {}", line_and_column(file, position)));
        self.line(verdict, format_args!("{name}{}: {error}", place.unwrap_or_default()));
        if let Some(hint) = error.hint() {
            let _ = writeln!(self.text, "{INDENT}hint: {hint}");
        }
    }

    fn places(&mut self, file: &str, found: &[Found]) {
        for Found { difference, position } in found {
            let _ = write!(
                self.text,
                "{INDENT}{} {} ({})\n{INDENT}  PostgreSQL: {}\n{INDENT}  here: {}\n{INDENT}  mend: {}\n",
                line_and_column(file, *position),
                difference.construct,
                difference.key,
                difference.postgres,
                difference.engine,
                difference.mend,
            );
        }
    }

    fn not_routed(&mut self, error: &Error) {
        let _ = writeln!(self.text, "{INDENT}{}", error.chain());
    }

    fn refused_to_tenants(&mut self, hidden: &[&TableName]) {
        let names: Vec<String> = hidden.iter().map(ToString::to_string).collect();
        let _ = writeln!(self.text, "{INDENT}not for tenants, who do not see {}", names.join(", "));
    }

    fn finish(&mut self) {
        let Self { equal, different, unsupported, broken, .. } = *self;
        let queries = equal + different + unsupported + broken;
        let _ = writeln!(
            self.text,
            "{queries} queries: {equal} equal, {different} different, {unsupported} unsupported, {broken} broken"
        );
    }

    fn fails(&self) -> bool {
        self.unsupported + self.broken > 0
    }
}

fn columns(schema: &SchemaRef) -> String {
    let columns = schema.fields().iter().map(|field| format!("{} {}", field.name(), postgres_type_name(field)));
    columns.collect::<Vec<_>>().join(", ")
}

/// As editors count, from a position in characters from 1.
fn line_and_column(file: &str, position: usize) -> String {
    let before: String = file.chars().take(position.saturating_sub(1)).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    format!("{line}:{column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_lines_and_columns() {
        let check = |position: usize, expect: &str| {
            assert_eq!(line_and_column("-- é\nSELECT\n  x", position), expect, "{position}");
        };
        check(1, "1:1");
        check(4, "1:4");
        check(6, "2:1");
        check(15, "3:3");
    }
}
