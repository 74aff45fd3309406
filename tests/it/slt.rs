//! The corpus: `tests/slt/*.slt`, each statement on real Postgres and on the engine, through a real snapshot and the one door.
//!
//! Postgres is the judge, on a cluster that sorts text by ICU and on one that sorts by bytes. Every statement is equal on the
//! engine (values, types and names of columns; the SQLSTATE of errors), or carries a line that says it is not:
//! `# differs: key` names the difference of `sql::differences` that it shows, `# open: …` says that nobody has mended it yet. A
//! line that is no longer true fails, so that neither list can rot; nor can the differences: each that a statement can show is shown.
//!
//! `make slt` records Postgres's answers and the open ones anew; read the diff before you commit it.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use pilaster::sql::differences::{DIFFERENCES, Effect, find_in};
use tokio_postgres::Client;

use crate::{
    compare::{Rows, compare, connect},
    support::{Locale, Postgres},
    support_server::{Reply, Server, Settings, take_snapshot},
};

/// A statement of the corpus.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    comments: Vec<String>,
    /// The one cluster that it is for.
    only_on: Option<Locale>,
    expect: Expect,
    pub(crate) sql: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Expect {
    /// One letter for each column (I integer, N numeric, Q quotient, F float, T any other) and the rows as they are recorded.
    Rows { types: String, sorted: bool, rows: Vec<String> },
    /// A SQLSTATE.
    Error(String),
}

/// How the engine's answer stands to Postgres's.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Equal,
    /// What differs (`rows`, `columns`, `error`, `accepts`, `sqlstate`), and how.
    Not(&'static str, String),
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_answers_the_corpus_as_postgres_with_icu_does() {
    run(Locale::Icu).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_answers_the_corpus_as_postgres_with_c_does() {
    run(Locale::C).await;
}

async fn run(locale: Locale) {
    let postgres = Postgres::private_in(locale, &[], "");
    let url = postgres.database("slt");
    load_corpus(&url);
    let store = tempfile::tempdir().unwrap();
    take_snapshot(&url, store.path());
    let server = Settings::replica(store.path()).env("PILASTER__ENGINE__TIMEOUT", "20s").start();
    let (client, connection) = connect(&url).await;

    let (mut wrong, mut tally) = (Vec::new(), Tally::default());
    for path in files() {
        let mut records = parse(&std::fs::read_to_string(&path).unwrap());
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut made = Vec::with_capacity(records.len());
        for record in records.drain(..) {
            if record.only_on.is_some_and(|only| only != locale) {
                made.push(record);
                continue;
            }
            let theirs = on_postgres(&client, &record.sql).await;
            let recorded = record.recorded(&theirs);
            let verdict = judge(&record, &theirs, on_engine(&server, &record.sql).await);
            tally.add(&record, &verdict);
            if let Some(why) = record.contradicts(locale, &verdict).filter(|_| !fills()) {
                wrong.push(format!("{file}: {why}\n{}", record.sql));
            }
            if recorded != record.expect && !fills() {
                wrong.push(format!("{file}: Postgres answers {recorded:?}, not {:?}\n{}", record.expect, record.sql));
            }
            made.extend(record.filled(locale, recorded, &verdict));
        }
        if fills() {
            std::fs::write(&path, written(&heading(&path), &made)).unwrap();
        }
    }
    drop(client);
    drop(connection.await);
    println!("corpus on {}: {tally}", locale.name());
    assert!(wrong.is_empty(), "{} of {}:\n\n{}", wrong.len(), tally.total(), wrong.join("\n\n"));
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch is not configuration")]
fn fills() -> bool {
    std::env::var_os("SLT_FILL").is_some()
}

/// Every file of the corpus by its name, with its records.
pub(crate) fn corpus() -> Vec<(String, Vec<Record>)> {
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, parse(&std::fs::read_to_string(path).unwrap()))
    };
    files().into_iter().map(read).collect()
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|name| name == "slt")).collect();
    files.sort();
    assert!(!files.is_empty(), "there is a corpus");
    files
}

/// The corpus's tables, into a database that has none.
pub(crate) fn load_corpus(url: &str) {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt/tables.sql");
    let loaded = Command::new("psql")
        .args([url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", tables.to_str().unwrap()])
        .stdout(Stdio::null())
        .status();
    assert!(loaded.unwrap().success(), "the corpus's tables cannot be loaded");
}

pub(crate) async fn on_postgres(client: &Client, sql: &str) -> Result<Rows, String> {
    Rows::of_client(client, sql).await.map_err(|error| {
        let code = error.code().unwrap_or_else(|| panic!("{error:?}\n{sql}"));
        code.code().to_owned()
    })
}

/// Names and types as JSON has them, values as CSV spells them, which is Postgres's way.
pub(crate) async fn on_engine(server: &Server, sql: &str) -> Result<Rows, (String, String)> {
    on_engine_as(server, None, sql).await
}

/// The same for one tenant.
pub(crate) async fn on_engine_as(server: &Server, tenant: Option<&str>, sql: &str) -> Result<Rows, (String, String)> {
    let request = || match tenant {
        Some(tenant) => server.sql(sql).header("Pilaster-Tenant", tenant),
        None => server.sql(sql),
    };
    let Ok(reply) = Reply::try_of(request()).await else {
        return Err((String::new(), "the reply was cut".to_owned()));
    };
    if reply.status != 200 {
        let problem = reply.json();
        let state = problem["sqlstate"].as_str().unwrap_or_default().to_owned();
        return Err((state, format!("{} {}", problem["code"].as_str().unwrap_or_default(), problem["message"])));
    }
    let columns = Rows::columns_of(&reply.json());
    let csv = Reply::try_of(request().query(&[("format", "csv")])).await;
    let csv = csv.unwrap_or_else(|error| panic!("{error}: {sql}: {}", server.log())).ok();
    Ok(Rows { columns, rows: from_csv(&csv.text()) })
}

/// Rows that have no order, in one. What may differ by noise comes last, so that noise does not decide it.
pub(crate) fn sort_rows(rows: &mut Rows, types: &str) {
    rows.rows.sort_by_cached_key(|row| {
        let (noisy, exact): (Vec<_>, Vec<_>) =
            row.iter().cloned().zip(types.chars()).partition(|(_, kind)| matches!(kind, 'Q' | 'F' | 'N'));
        // One number may have two spellings; and of two that are nearly one the first is the less.
        let number = |text: &String| text.parse().map_or(text.clone(), |number: f64| format!("{:.7e}", number + 0.0));
        let rounded: Vec<_> = noisy.iter().map(|(value, _)| value.as_ref().map(number)).collect();
        let shortest = |text: String| if text.contains('.') { text.trim_end_matches('0').to_owned() } else { text };
        let nearly = |text: &String| text.parse().map_or(text.clone(), |number: f64| format!("{:.11e}", number + 0.0));
        let near: Vec<_> = noisy.iter().map(|(value, _)| value.as_ref().map(nearly)).collect();
        let numerics = noisy.into_iter().filter(|(_, kind)| *kind == 'N').map(|(value, _)| value.map(shortest));
        (exact, rounded, numerics.collect::<Vec<_>>(), near)
    });
}

/// The rows of CSV as `COPY` writes it: what is not quoted and empty is NULL.
fn from_csv(text: &str) -> Vec<Vec<Option<String>>> {
    let (mut rows, mut row, mut value) = (Vec::new(), Vec::new(), String::new());
    let (mut inside, mut was_quoted) = (false, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if inside && letters.next_if_eq(&'"').is_some() => value.push('"'),
            '"' => {
                inside = !inside;
                was_quoted = true;
            }
            ',' | '\n' if !inside => {
                let whole = std::mem::take(&mut value);
                row.push(Some(whole).filter(|whole| was_quoted || !whole.is_empty()));
                was_quoted = false;
                if letter == '\n' {
                    rows.push(std::mem::take(&mut row));
                }
            }
            letter => value.push(letter),
        }
    }
    rows.remove(0);
    rows
}

fn judge(record: &Record, theirs: &Result<Rows, String>, ours: Result<Rows, (String, String)>) -> Verdict {
    match (theirs, ours) {
        (Err(_), Ok(_)) => Verdict::Not("accepts", "Postgres refuses it".to_owned()),
        (Ok(_), Err((_, message))) => Verdict::Not("error", message),
        (Err(theirs), Err((ours, message))) if *theirs != ours => {
            Verdict::Not("sqlstate", format!("{theirs} on Postgres, {ours}: {message}"))
        }
        (Err(_), Err(_)) => Verdict::Equal,
        (Ok(theirs), Ok(mut ours)) => {
            let (types, sorted) = match &record.expect {
                Expect::Rows { types, sorted, .. } => (types.as_str(), *sorted),
                Expect::Error(_) => ("", false),
            };
            let mut theirs = theirs.clone();
            if sorted {
                sort_rows(&mut theirs, types);
                sort_rows(&mut ours, types);
            }
            let quotients: Vec<bool> = types.chars().map(|kind| kind == 'Q').collect();
            let difference = compare(&theirs, &ours, |column, _| quotients.get(column).copied().unwrap_or(false));
            match (difference.rows, difference.columns) {
                (Some(how), _) => Verdict::Not("rows", how),
                (None, Some(how)) => Verdict::Not("columns", how),
                (None, None) => Verdict::Equal,
            }
        }
    }
}

impl Record {
    /// What would be recorded of Postgres's answer.
    fn recorded(&self, theirs: &Result<Rows, String>) -> Expect {
        match theirs {
            Err(state) => Expect::Error(state.clone()),
            Ok(theirs) => {
                let (types, sorted) = match &self.expect {
                    Expect::Rows { types, sorted, .. } => (types.clone(), *sorted),
                    Expect::Error(_) => ("T".repeat(theirs.columns.len()), true),
                };
                let mut rows: Vec<String> = theirs.rows.iter().map(|row| spelled(row)).collect();
                if sorted {
                    rows.sort();
                }
                Expect::Rows { types, sorted, rows }
            }
        }
    }

    /// What it is said to be on this cluster.
    fn said(&self, locale: Locale) -> Option<&str> {
        let here = format!("# open on {}: ", locale.name());
        let find = |prefix: &str| self.comments.iter().find_map(|line| line.strip_prefix(prefix));
        find("# open: ").or_else(|| find(&here)).map(|what| what.split(' ').next().unwrap_or_default())
    }

    /// The key of the difference that it shows.
    fn differs(&self) -> Option<&str> {
        self.comments.iter().find_map(|line| line.strip_prefix("# differs: ")).map(str::trim)
    }

    pub(crate) fn is_listed(&self) -> bool {
        self.differs().is_some()
    }

    /// Whether it is the same on both, wherever it runs.
    pub(crate) fn is_equal(&self) -> bool {
        !self.is_listed() && !self.comments.iter().any(|line| line.starts_with("# open"))
    }

    fn contradicts(&self, locale: Locale, verdict: &Verdict) -> Option<String> {
        match (self.said(locale), self.is_listed(), verdict) {
            (None, false, Verdict::Equal) | (None, true, Verdict::Not(..)) => None,
            (None, false, Verdict::Not(what, how)) => Some(format!("not equal: {what}: {how}")),
            (Some(said), false, Verdict::Not(what, _)) if said == *what => None,
            (Some(said), _, Verdict::Not(what, how)) => {
                Some(format!("said to be open by {said}, but it is {what}: {how}"))
            }
            (said, listed, Verdict::Equal) => {
                Some(format!("equal now, but it is said to be open ({said:?}) or listed ({listed})"))
            }
        }
    }

    /// The record anew. Where the clusters answer differently, one for each.
    fn filled(mut self, locale: Locale, recorded: Expect, verdict: &Verdict) -> Vec<Self> {
        let was_open = |line: &String| line.starts_with("# open");
        let other = self
            .comments
            .iter()
            .find(|line| line.starts_with("# open: ") || line.starts_with("# open on icu: "))
            .cloned();
        self.comments.retain(|line| !was_open(line));
        let mut second = None;
        if locale == Locale::C && self.only_on.is_none() && recorded != self.expect {
            second = Some(Self { only_on: Some(Locale::C), expect: recorded.clone(), ..self.clone() });
            self.only_on = Some(Locale::Icu);
        }
        let tag = match verdict {
            Verdict::Not(what, _) if !self.is_listed() => Some((*what).to_owned()),
            _ => None,
        };
        if let Some(mut second) = second {
            second.comments.extend(tag.map(|what| format!("# open: {what}")));
            self.comments.extend(other);
            return vec![self, second];
        }
        // The cluster with ICU goes first, and says what holds on both until the other has been asked.
        let lines = match (locale, self.only_on, tag, other) {
            (Locale::C, None, tag, other) => {
                let on_icu = other.and_then(|line| line.split_once(": ").map(|(_, what)| what.to_owned()));
                match (on_icu, tag) {
                    (Some(icu), Some(c)) if icu == c => vec![format!("# open: {icu}")],
                    (icu, c) => {
                        let icu = icu.map(|what| format!("# open on icu: {what}"));
                        icu.into_iter().chain(c.map(|what| format!("# open on c: {what}"))).collect()
                    }
                }
            }
            (_, _, tag, _) => tag.iter().map(|what| format!("# open: {what}")).collect(),
        };
        self.comments.extend(lines);
        self.expect = recorded;
        vec![self]
    }
}

/// Values by tabs; what would break a line is escaped.
fn spelled(row: &[Option<String>]) -> String {
    let value = |value: &Option<String>| match value.as_deref() {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text @ ("NULL" | "(empty)")) => format!("\\{text}"),
        Some(text) => text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t").replace('\r', "\\r"),
    };
    let text = row.iter().map(value).collect::<Vec<_>>().join("\t");
    // A line that is blank would end the record.
    if text.trim().is_empty() { format!("\\{text}") } else { text }
}

/// The comment at the head of a file, which belongs to no record.
fn heading(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
    lines.join("\n")
}

fn parse(text: &str) -> Vec<Record> {
    let mut records = Vec::new();
    let lines: Vec<&str> = text.lines().chain([""]).collect();
    let mut block = Vec::new();
    for line in lines {
        if !line.is_empty() {
            block.push(line);
            continue;
        }
        let found = std::mem::take(&mut block);
        if found.iter().any(|line| !line.starts_with('#')) {
            records.push(parse_one(&found));
        }
    }
    records
}

fn parse_one(lines: &[&str]) -> Record {
    let is_head = |line: &&str| line.starts_with("query ");
    let start = lines.iter().position(is_head).unwrap_or_else(|| panic!("no query in {lines:?}"));
    let (mut comments, mut only_on) = (Vec::new(), None);
    for line in &lines[..start] {
        match line.strip_prefix("onlyif ") {
            Some("icu") => only_on = Some(Locale::Icu),
            Some("c") => only_on = Some(Locale::C),
            Some(other) => panic!("onlyif {other} is not known"),
            None => comments.push((*line).to_owned()),
        }
    }
    let rest = &lines[start + 1..];
    let end = rest.iter().position(|line| *line == "----");
    let sql = rest[..end.unwrap_or(rest.len())].join("\n");
    let words: Vec<&str> = lines[start].split_whitespace().collect();
    let expect = match (words[1], end) {
        ("error", None) => Expect::Error(words[2].to_owned()),
        (types, Some(end)) => Expect::Rows {
            types: types.to_owned(),
            sorted: words.get(2) == Some(&"rowsort"),
            rows: rest[end + 1..].iter().map(|line| (*line).to_owned()).collect(),
        },
        _ => panic!("{lines:?} is no record"),
    };
    Record { comments, only_on, expect, sql }
}

fn written(heading: &str, records: &[Record]) -> String {
    let mut text = format!("{heading}\n");
    for record in records {
        text.push('\n');
        for comment in &record.comments {
            let _ = writeln!(text, "{comment}");
        }
        if let Some(only) = record.only_on {
            let _ = writeln!(text, "onlyif {}", only.name());
        }
        match &record.expect {
            Expect::Error(state) => {
                let _ = writeln!(text, "query error {state}\n{}", record.sql);
            }
            Expect::Rows { types, sorted, rows } => {
                let sort = if *sorted { " rowsort" } else { "" };
                let _ = writeln!(text, "query {types}{sort}\n{}\n----", record.sql);
                for row in rows {
                    let _ = writeln!(text, "{row}");
                }
            }
        }
    }
    text
}

/// How many statements came out how.
#[derive(Default)]
struct Tally {
    equal: usize,
    listed: usize,
    open: std::collections::BTreeMap<&'static str, usize>,
}

impl Tally {
    fn add(&mut self, record: &Record, verdict: &Verdict) {
        match verdict {
            Verdict::Equal => self.equal += 1,
            Verdict::Not(..) if record.is_listed() => self.listed += 1,
            Verdict::Not(what, _) => *self.open.entry(what).or_default() += 1,
        }
    }

    fn total(&self) -> usize {
        self.equal + self.listed + self.open.values().sum::<usize>()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let open: usize = self.open.values().sum();
        write!(
            formatter,
            "{} statements, {} equal, {} listed as different, {open} open {:?}",
            self.total(),
            self.equal,
            self.listed,
            self.open
        )
    }
}

#[test]
fn each_difference_is_shown_and_seen() {
    let (mut wrong, mut shown) = (Vec::new(), Vec::new());
    for (file, records) in corpus() {
        for record in &records {
            let found = find_in(&record.sql);
            let Some(key) = record.differs() else {
                let is_answered = record.is_equal() && matches!(record.expect, Expect::Rows { .. });
                let refused = found.iter().find(|found| found.difference.effect == Effect::Unsupported);
                if let Some(refused) = refused.filter(|_| is_answered) {
                    wrong.push(format!("{file}: equal, though it has {}\n{}", refused.difference.key, record.sql));
                }
                continue;
            };
            match DIFFERENCES.iter().find(|difference| difference.key == key) {
                None => wrong.push(format!("{file}: no difference has the key {key:?}\n{}", record.sql)),
                Some(difference)
                    if difference.is_visible() && !found.iter().any(|found| found.difference.key == key) =>
                {
                    wrong.push(format!("{file}: {key} is not seen in it\n{}", record.sql));
                }
                Some(_) => shown.push(key.to_owned()),
            }
        }
    }
    let visible = DIFFERENCES.iter().filter(|difference| difference.is_visible());
    let unshown = visible.map(|difference| difference.key).filter(|key| !shown.iter().any(|shown| shown == key));
    wrong.extend(unshown.map(|key| format!("no record shows {key}")));
    assert!(wrong.is_empty(), "{}:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn records_are_read_and_written_as_they_are() {
    let text = "# About numbers.\n\n# one\n# open: rows\nonlyif c\nquery IT rowsort\nSELECT 1,\n  'a'\n----\n1\ta\n2\tNULL\n\n\
                query error 22012\nSELECT 1 / 0\n";
    let records = parse(text);
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].only_on, Some(Locale::C));
    assert_eq!((records[0].said(Locale::C), records[1].said(Locale::C)), (Some("rows"), None));
    assert_eq!(written("# About numbers.", &records), text);
}

#[test]
fn csv_tells_null_from_empty() {
    let check = |text: &str, expect: &[&[Option<&str>]]| {
        let owned = |row: &&[Option<&str>]| row.iter().map(|value| value.map(str::to_owned)).collect::<Vec<_>>();
        assert_eq!(from_csv(text), expect.iter().map(owned).collect::<Vec<_>>(), "{text:?}");
    };
    check("a,b\n1,\n", &[&[Some("1"), None]]);
    check("a,b\n,\"\"\n", &[&[None, Some("")]]);
    check("a\n\n\"x\"\"y\n,z\"\n", &[&[None], &[Some("x\"y\n,z")]]);
    check("a\n", &[]);
}
