//! Two results of one query, from Postgres and from Pilaster, compared as the design's section 8 says.
//!
//! Integers, text and dates are exact; numerics are equal by value, but for quotients and averages, which are equal at the
//! smaller of the two scales; floats are equal to 1e-9 of the larger. Rows are in order. Names and types of columns are part of
//! a result.

use std::collections::BTreeMap;

use serde_json::Value;

/// Of the larger of two floats.
const FLOAT_TOLERANCE: f64 = 1e-9;

/// A result: its columns, and its values as text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rows {
    /// Name and Postgres type.
    pub(crate) columns: Vec<(String, String)>,
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

impl Rows {
    /// Runs a query on Postgres. Values come in Postgres's own spelling.
    pub(crate) async fn on_postgres(url: &str, sql: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        client.batch_execute("SET timezone = 'UTC'; SET jit = off").await.unwrap();
        let sql = sql.trim().trim_end_matches(';');
        let statement = client.prepare(sql).await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
        let columns = statement.columns().iter();
        let columns = columns.map(|column| (column.name().to_owned(), column.type_().name().to_owned())).collect();
        let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
        let rows = messages.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        });
        let rows = Self { columns, rows: rows.collect() };
        drop(client);
        drop(connection.await);
        rows
    }

    /// What a JSON reply of Pilaster says, in Postgres's spelling.
    pub(crate) fn from_json(reply: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let columns: Vec<(String, String)> = reply["meta"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| (text(&column["name"]), text(&column["type"])))
            .collect();
        let row = |row: &Value| columns.iter().map(|(name, kind)| spelled(&row[name], kind)).collect();
        let rows: Vec<_> = reply["data"].as_array().unwrap().iter().map(row).collect();
        assert_eq!(reply["rows"], rows.len(), "rows are counted");
        Self { columns, rows }
    }
}

fn spelled(value: &Value, kind: &str) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(value) => Some(if *value { "t" } else { "f" }.to_owned()),
        Value::String(text) if kind.starts_with("timestamp") => {
            let text = text.replacen('T', " ", 1);
            Some(text.strip_suffix(":00").filter(|_| kind == "timestamptz").unwrap_or(&text).to_owned())
        }
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// How two results differ: what the columns are called and of which types they are, and the first place where the rows do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Difference {
    pub(crate) columns: Option<String>,
    pub(crate) rows: Option<String>,
}

/// Whether Pilaster's answer is Postgres's. Values are compared by Postgres's types. `quotients` are the columns whose values
/// come from a division or an average that nothing rounds.
pub(crate) fn compare(postgres: &Rows, pilaster: &Rows, quotients: &[&str]) -> Difference {
    let mut difference = Difference::default();
    if postgres.columns != pilaster.columns {
        let pairs = postgres.columns.iter().zip(&pilaster.columns).filter(|(theirs, ours)| theirs != ours);
        difference.columns = Some(match pairs.collect::<Vec<_>>() {
            pairs if postgres.columns.len() == pilaster.columns.len() => {
                format!("Postgres's and Pilaster's: {pairs:?}")
            }
            _ => format!("Postgres has {:?}, Pilaster {:?}", postgres.columns, pilaster.columns),
        });
    }
    difference.rows = compare_rows(postgres, pilaster, quotients).err();
    difference
}

fn compare_rows(postgres: &Rows, pilaster: &Rows, quotients: &[&str]) -> Result<(), String> {
    for (index, (theirs, ours)) in postgres.rows.iter().zip(&pilaster.rows).enumerate() {
        for (((name, kind), theirs), ours) in postgres.columns.iter().zip(theirs).zip(ours) {
            let is_quotient = quotients.contains(&name.as_str());
            let equal = match (theirs, ours) {
                (None, None) => true,
                (Some(theirs), Some(ours)) => are_equal(kind, theirs, ours, is_quotient),
                _ => false,
            };
            if !equal {
                return Err(format!("row {index}, {name} {kind}: Postgres has {theirs:?}, Pilaster {ours:?}"));
            }
        }
    }
    match (postgres.rows.len(), pilaster.rows.len()) {
        (theirs, ours) if theirs == ours => Ok(()),
        (theirs, ours) => Err(format!("Postgres has {theirs} rows, Pilaster {ours}")),
    }
}

/// Differences by query, held against those that are known.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    columns: BTreeMap<String, String>,
    rows: BTreeMap<String, String>,
}

impl Tally {
    /// Notes how one way to ask a query came out.
    pub(crate) fn add(&mut self, query: &str, asked: &str, difference: Difference) {
        let note = |notes: &mut BTreeMap<String, String>, what: Option<String>| {
            if let Some(what) = what {
                notes.entry(query.to_owned()).or_insert_with(|| format!("{query} {asked}: {what}"));
            }
        };
        note(&mut self.columns, difference.columns);
        note(&mut self.rows, difference.rows);
    }

    /// Panics unless exactly the known ones differ. Each list names queries, with the cause.
    #[track_caller]
    pub(crate) fn check(&self, known_columns: &[(&str, &str)], known_rows: &[(&str, &str)]) {
        let mut wrong = Vec::new();
        for (what, found, known) in [("columns", &self.columns, known_columns), ("rows", &self.rows, known_rows)] {
            let unknown = found.iter().filter(|(query, _)| known.iter().all(|(known, _)| known != query));
            wrong.extend(unknown.map(|(_, difference)| format!("{what} of {difference}")));
            let mended = known.iter().filter(|(query, _)| !found.contains_key(*query));
            wrong.extend(mended.map(|(query, cause)| {
                format!("{what} of {query} are equal now: it is no longer known to differ by {cause}")
            }));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

fn are_equal(kind: &str, theirs: &str, ours: &str, is_quotient: bool) -> bool {
    if theirs == ours {
        return true;
    }
    match kind {
        "numeric" => match (Decimal::parse(theirs), Decimal::parse(ours)) {
            (Some(theirs), Some(ours)) if is_quotient => {
                let scale = theirs.scale.min(ours.scale);
                theirs.rounded(scale) == ours.rounded(scale)
            }
            (Some(theirs), Some(ours)) => {
                let scale = theirs.scale.max(ours.scale);
                theirs.widened(scale) == ours.widened(scale)
            }
            _ => false,
        },
        "float4" | "float8" => match (theirs.parse::<f64>(), ours.parse::<f64>()) {
            (Ok(theirs), Ok(ours)) => (theirs - ours).abs() <= FLOAT_TOLERANCE * theirs.abs().max(ours.abs()),
            _ => false,
        },
        _ => false,
    }
}

/// `units / 10^scale`
#[derive(Clone, Copy, Debug, PartialEq)]
struct Decimal {
    units: i128,
    scale: u32,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let units = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { units, scale: u32::try_from(fraction.len()).ok()? })
    }

    /// Half away from zero, as Postgres rounds.
    fn rounded(self, scale: u32) -> Self {
        let divisor = 10_i128.pow(self.scale - scale);
        let (quotient, rest) = (self.units / divisor, self.units % divisor);
        let up = if 2 * rest.abs() >= divisor && divisor > 1 { self.units.signum() } else { 0 };
        Self { units: quotient + up, scale }
    }

    fn widened(self, scale: u32) -> Self {
        let factor = 10_i128.checked_pow(scale - self.scale).expect("numerics of the tests have few digits");
        Self { units: self.units.checked_mul(factor).expect("numerics of the tests have few digits"), scale }
    }
}

#[test]
fn values_are_compared_by_their_types() {
    let check = |kind: &str, theirs: &str, ours: &str, is_quotient: bool, expect: bool| {
        let rows = |text: &str| Rows {
            columns: vec![("x".to_owned(), kind.to_owned())],
            rows: vec![vec![Some(text.to_owned())]],
        };
        let quotients: &[&str] = if is_quotient { &["x"] } else { &[] };
        let difference = compare(&rows(theirs), &rows(ours), quotients);
        assert_eq!(difference == Difference::default(), expect, "{kind} {theirs} {ours}: {difference:?}");
    };
    check("int8", "1", "1", false, true);
    check("int8", "1", "1.0", false, false);
    check("text", "a", "a ", false, false);
    check("numeric", "1.50", "1.5", false, true);
    check("numeric", "-0.05", "-0.050", false, true);
    check("numeric", "1.50", "1.51", false, false);
    check("numeric", "0.04999943011540163117", "0.049999", false, false);
    check("numeric", "0.04999943011540163117", "0.049999", true, true);
    check("numeric", "0.04999963011540163117", "0.049999", true, false);
    check("numeric", "-2.5", "-3", true, true);
    check("numeric", "12.5", "12", true, false);
    check("float8", "0.1", "0.10000000000000001", false, true);
    check("float8", "1000000000", "1000000000.5", false, true);
    check("float8", "1000000000", "1000000002", false, false);
    check("float8", "0", "1e-300", false, false);
}

#[test]
fn columns_rows_and_nulls_count() {
    let columns = vec![("x".to_owned(), "int8".to_owned())];
    let one = Rows { columns: columns.clone(), rows: vec![vec![Some("1".to_owned())], vec![None]] };
    let rows = |theirs: &Rows, ours: &Rows| compare(theirs, ours, &[]).rows.unwrap();
    assert_eq!(compare(&one, &one, &[]), Difference::default());
    let shorter = Rows { rows: one.rows[..1].to_vec(), ..one.clone() };
    assert!(rows(&one, &shorter).contains("2 rows, Pilaster 1"));
    assert!(rows(&shorter, &one).contains("1 rows, Pilaster 2"));
    let swapped = Rows { rows: one.rows.iter().rev().cloned().collect(), ..one.clone() };
    assert!(rows(&one, &swapped).contains("row 0"));
    let typed = Rows { columns: vec![("x".to_owned(), "numeric".to_owned())], ..one.clone() };
    let difference = compare(&one, &typed, &[]);
    assert!(difference.columns.unwrap().contains("numeric") && difference.rows.is_none());
}

#[test]
fn what_is_known_must_be_so() {
    let differs = Difference { columns: None, rows: Some("somewhere".to_owned()) };
    let mut tally = Tally::default();
    tally.add("a", "", differs.clone());
    tally.check(&[], &[("a", "a cause")]);
    let fails = |tally: Tally, known: &'static [(&'static str, &'static str)]| {
        std::panic::catch_unwind(move || tally.check(&[], known)).is_err()
    };
    assert!(fails(tally, &[]), "a difference that nobody knows");
    let mut tally = Tally::default();
    tally.add("a", "", Difference::default());
    assert!(fails(tally, &[("a", "a cause")]), "a known difference that is gone");
}
