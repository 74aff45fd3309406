//! Two results of one query, from Postgres and from Pilaster, compared as the design's section 8 says.
//!
//! Integers, text and dates are exact; numerics are equal by value, but for quotients and averages, which are equal at the
//! smaller of the two scales; floats are equal to 1e-9 of the larger. Rows are in order. Names and types of columns are part of
//! a result.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

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
        let (client, connection) = connect(url).await;
        let rows = Self::of_client(&client, sql).await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
        drop(client);
        drop(connection.await);
        rows
    }

    /// The same over a connection that is there.
    pub(crate) async fn of_client(client: &Client, sql: &str) -> Result<Self, tokio_postgres::Error> {
        let sql = sql.trim().trim_end_matches(';');
        let statement = client.prepare(sql).await?;
        let name = |kind: &str| match kind.strip_prefix('_') {
            Some(element) => format!("{element}[]"),
            None => kind.to_owned(),
        };
        let columns = statement.columns().iter();
        let columns = columns.map(|column| (column.name().to_owned(), name(column.type_().name()))).collect();
        let messages = client.simple_query(sql).await?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(Self { columns, rows: rows.collect() })
    }

    /// The names and types of a JSON reply.
    pub(crate) fn columns_of(reply: &Value) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let columns = reply["meta"].as_array().unwrap().iter();
        columns.map(|column| (text(&column["name"]), text(&column["type"]))).collect()
    }

    /// What a JSON reply of Pilaster says, in Postgres's spelling.
    pub(crate) fn from_json(reply: &Value) -> Self {
        let columns = Self::columns_of(reply);
        let row = |row: &Value| columns.iter().map(|(name, kind)| spelled(&row[name], kind)).collect();
        let rows: Vec<_> = reply["data"].as_array().unwrap().iter().map(row).collect();
        assert_eq!(reply["rows"], rows.len(), "rows are counted");
        Self { columns, rows }
    }
}

/// A connection whose answers depend on nothing but the data.
pub(crate) async fn connect(url: &str) -> (Client, tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute("SET timezone = 'UTC'; SET jit = off; SET statement_timeout = '60s'").await.unwrap();
    (client, connection)
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

/// Whether Pilaster's answer is Postgres's. Values are compared by Postgres's types. `is_quotient` says of a column,
/// by its place and name, whether its values come from a division or an average that nothing rounds.
pub(crate) fn compare(postgres: &Rows, pilaster: &Rows, is_quotient: impl Fn(usize, &str) -> bool) -> Difference {
    compare_to_scale(postgres, pilaster, |column, name| is_quotient(column, name).then_some(usize::MAX))
}

/// The same, where quotients may be of other values' making: `quotient_scale_max` says how many of their digits behind the point count.
pub(crate) fn compare_to_scale(
    postgres: &Rows,
    pilaster: &Rows,
    quotient_scale_max: impl Fn(usize, &str) -> Option<usize>,
) -> Difference {
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
    difference.rows = compare_rows(postgres, pilaster, quotient_scale_max).err();
    difference
}

fn compare_rows(
    postgres: &Rows,
    pilaster: &Rows,
    quotient_scale_max: impl Fn(usize, &str) -> Option<usize>,
) -> Result<(), String> {
    for (index, (theirs, ours)) in postgres.rows.iter().zip(&pilaster.rows).enumerate() {
        for (column, (((name, kind), theirs), ours)) in postgres.columns.iter().zip(theirs).zip(ours).enumerate() {
            let scale_max = quotient_scale_max(column, name);
            let equal = match (theirs, ours) {
                (None, None) => true,
                (Some(theirs), Some(ours)) => are_equal(kind, theirs, ours, scale_max),
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

/// Differences by query.
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

    /// Panics if one differs.
    #[track_caller]
    pub(crate) fn check(&self) {
        let columns = self.columns.values().map(|difference| format!("columns of {difference}"));
        let rows = self.rows.values().map(|difference| format!("rows of {difference}"));
        let wrong: Vec<String> = columns.chain(rows).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

fn are_equal(kind: &str, theirs: &str, ours: &str, quotient_scale_max: Option<usize>) -> bool {
    if theirs == ours {
        return true;
    }
    match kind {
        "numeric" => match (Decimal::parse(theirs), Decimal::parse(ours)) {
            (Some(theirs), Some(ours)) => {
                let scales = [theirs.scale(), ours.scale()];
                let [less, more] = [scales[0].min(scales[1]), scales[0].max(scales[1])];
                let scale = quotient_scale_max.map_or(more, |most| less.min(most));
                theirs.at_scale(scale) == ours.at_scale(scale)
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

/// A decimal number of any length: its sign, and its digits before and behind the point.
#[derive(Clone, Debug, PartialEq)]
struct Decimal {
    is_negative: bool,
    whole: Vec<u8>,
    fraction: Vec<u8>,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| -> Option<Vec<u8>> {
            text.bytes().map(|byte| byte.is_ascii_digit().then(|| byte - b'0')).collect()
        };
        Some(Self { is_negative, whole: digits(whole)?, fraction: digits(fraction)? })
    }

    fn scale(&self) -> usize {
        self.fraction.len()
    }

    /// Half away from zero, as Postgres rounds; as the sign and the digits without leading zeros.
    fn at_scale(&self, scale: usize) -> (bool, Vec<u8>) {
        let mut digits: Vec<u8> = self.whole.iter().chain(&self.fraction).copied().collect();
        if scale >= self.scale() {
            digits.resize(digits.len() + scale - self.scale(), 0);
        } else {
            let cut = digits.len() + scale - self.scale();
            let rounds_up = digits[cut] >= 5;
            digits.truncate(cut);
            let mut carry = u8::from(rounds_up);
            for digit in digits.iter_mut().rev() {
                *digit += carry;
                carry = *digit / 10;
                *digit %= 10;
            }
            if carry > 0 {
                digits.insert(0, carry);
            }
        }
        let significant: Vec<u8> = digits.into_iter().skip_while(|digit| *digit == 0).collect();
        (self.is_negative && !significant.is_empty(), significant)
    }
}

#[test]
fn values_are_compared_by_their_types() {
    let check = |kind: &str, theirs: &str, ours: &str, is_quotient: bool, expect: bool| {
        let rows = |text: &str| Rows {
            columns: vec![("x".to_owned(), kind.to_owned())],
            rows: vec![vec![Some(text.to_owned())]],
        };
        let difference = compare(&rows(theirs), &rows(ours), |_, _| is_quotient);
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
    check("numeric", "99.96", "100.0", true, true);
    check("numeric", "0.00", "-0", false, true);
    check("numeric", &format!("1{}", "0".repeat(80)), &format!("1{}.0", "0".repeat(80)), false, true);
    check("float8", "0.1", "0.10000000000000001", false, true);
    check("float8", "1000000000", "1000000000.5", false, true);
    check("float8", "1000000000", "1000000002", false, false);
    check("float8", "0", "1e-300", false, false);
}

#[test]
fn columns_rows_and_nulls_count() {
    let columns = vec![("x".to_owned(), "int8".to_owned())];
    let one = Rows { columns: columns.clone(), rows: vec![vec![Some("1".to_owned())], vec![None]] };
    let rows = |theirs: &Rows, ours: &Rows| compare(theirs, ours, |_, _| false).rows.unwrap();
    assert_eq!(compare(&one, &one, |_, _| false), Difference::default());
    let shorter = Rows { rows: one.rows[..1].to_vec(), ..one.clone() };
    assert!(rows(&one, &shorter).contains("2 rows, Pilaster 1"));
    assert!(rows(&shorter, &one).contains("1 rows, Pilaster 2"));
    let swapped = Rows { rows: one.rows.iter().rev().cloned().collect(), ..one.clone() };
    assert!(rows(&one, &swapped).contains("row 0"));
    let typed = Rows { columns: vec![("x".to_owned(), "numeric".to_owned())], ..one.clone() };
    let difference = compare(&one, &typed, |_, _| false);
    assert!(difference.columns.unwrap().contains("numeric") && difference.rows.is_none());
}

#[test]
fn what_differs_is_a_failure() {
    let mut tally = Tally::default();
    tally.add("a", "", Difference::default());
    tally.check();
    tally.add("a", "", Difference { columns: None, rows: Some("somewhere".to_owned()) });
    assert!(std::panic::catch_unwind(move || tally.check()).is_err());
}
