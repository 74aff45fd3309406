//! The tables that statements read: those of the corpus, and random ones with their data.

use std::fmt::Write as _;

use super::{Kind, Random};

/// Tables.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    pub(super) tables: Vec<Table>,
    /// What makes them and fills them; nothing for those that are there.
    pub(crate) setup: String,
}

#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    pub(super) row_count: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) is_key: bool,
    /// Whether it has values that leave their type as soon as one computes with them.
    pub(super) is_wild: bool,
}

/// Name, rows and columns; `*` is of the key, `!` is wild.
const CORPUS: &str = "
    numbers 16 id:int4* i2:int2! i4:int4! i8:int8! f8:float8! n:numeric! n0:numeric! nb:numeric!
    texts 24 id:int4* t:text v:varchar
    times 14 id:int4* d:date ts:timestamp tz:timestamptz iv:interval
    misc 6 id:int4* b:bool
    customers 8 id:int4* name:text country:varchar plan:text signed_up:date credit:numeric
    orders 500 id:int4* customer_id:int4 placed_at:timestamptz status:text total:numeric discount:float8
    items 667 order_id:int4* line:int4* product:text quantity:int4 price:numeric
    employees 9 id:int4* name:text boss_id:int4 department:text salary:numeric hired:date
    nothing 0 id:int4* i:int4 n:numeric t:text ts:timestamptz
";

/// The tables of the corpus, `tests/slt/tables.sql`, as far as their columns are of our types.
pub(crate) fn corpus() -> Schema {
    let table = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, row_count) = (words.next().unwrap().to_owned(), words.next().unwrap().parse().unwrap());
        let column = |word: &str| {
            let (name, kind) = word.split_once(':').unwrap();
            Column {
                name: name.to_owned(),
                kind: Kind::named(kind.trim_end_matches(['*', '!'])).unwrap(),
                is_key: kind.ends_with('*'),
                is_wild: kind.ends_with('!'),
            }
        };
        Table { name, row_count, columns: words.map(column).collect() }
    };
    let tables = CORPUS.lines().map(str::trim).filter(|line| !line.is_empty()).map(table).collect();
    Schema { tables, setup: String::new() }
}

/// A few random tables.
pub(crate) fn random(seed: u64) -> Schema {
    let mut random = Random::new(seed);
    let (mut tables, mut setup) = (Vec::new(), String::new());
    for number in 1..=2 + random.below(3) {
        let table = random_table(&mut random, number);
        write_table(&mut setup, &mut random, &table);
        tables.push(table);
    }
    Schema { tables, setup }
}

pub(super) fn random_table(random: &mut Random, number: usize) -> Table {
    let mut columns = vec![Column { name: "id".to_owned(), kind: Kind::Int4, is_key: true, is_wild: false }];
    for place in 1..=3 + random.below(6) {
        let kind = *random.pick(&Kind::ALL);
        let is_number = matches!(kind, Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Numeric | Kind::Float8);
        let is_wild = is_number && random.chance(20);
        columns.push(Column { name: format!("{}_{place}", kind.name()), kind, is_key: false, is_wild });
    }
    let row_count = *random.pick(&[0, 1, 3, 10, 30, 60]);
    Table { name: format!("fuzz_{number}"), columns, row_count }
}

fn write_table(setup: &mut String, random: &mut Random, table: &Table) {
    create_table(setup, random, table, &["numeric(12,2)", "numeric(18,4)", "numeric(20,0)", "numeric"], "");
    insert_rows(setup, random, table, 1..=table.row_count, |_| None);
}

/// `rest` stands behind the columns.
pub(super) fn create_table(setup: &mut String, random: &mut Random, table: &Table, numerics: &[&str], rest: &str) {
    let _ = write!(setup, "CREATE TABLE {} (", table.name);
    for (index, column) in table.columns.iter().enumerate() {
        let kind = match column.kind {
            Kind::Numeric => *random.pick(numerics),
            Kind::Varchar => *random.pick(&["varchar(20)", "varchar"]),
            kind => kind.name(),
        };
        let rest = if column.is_key { " PRIMARY KEY" } else { "" };
        let _ = write!(setup, "{}{} {kind}{rest}", if index == 0 { "" } else { ", " }, column.name);
    }
    let _ = writeln!(setup, "{rest});");
}

/// Rows with these keys; `last` gives what stands in a column behind the table's own.
pub(super) fn insert_rows(
    setup: &mut String,
    random: &mut Random,
    table: &Table,
    keys: impl Iterator<Item = usize>,
    mut last: impl FnMut(&mut Random) -> Option<String>,
) {
    for (place, key) in keys.enumerate() {
        let start = if place == 0 { format!("INSERT INTO {} VALUES", table.name) } else { ",".to_owned() };
        let _ = write!(setup, "{start}\n    ({key}");
        for column in table.columns.iter().skip(1) {
            let value = if random.chance(15) { "NULL".to_owned() } else { value(random, column) };
            let _ = write!(setup, ", {value}");
        }
        if let Some(value) = last(random) {
            let _ = write!(setup, ", {value}");
        }
        setup.push(')');
    }
    if setup.ends_with(')') {
        setup.push_str(";\n");
    }
}

fn value(random: &mut Random, column: &Column) -> String {
    let edge = |random: &mut Random, edges: &[&str]| (*random.pick(edges)).to_owned();
    if column.is_wild && random.chance(30) {
        return match column.kind {
            Kind::Int2 => edge(random, &["32767", "-32768"]),
            Kind::Int4 => edge(random, &["2147483647", "-2147483648"]),
            Kind::Int8 => edge(random, &["9223372036854775807", "-9223372036854775808", "9007199254740993"]),
            Kind::Numeric => edge(random, &["9999999999.99", "-9999999999.99", "0.01"]),
            _ => edge(random, &["1.7e308", "-1.7e308", "1e-300", "5e-324"]),
        };
    }
    literal(random, column.kind)
}

/// A value of a type, as an expression of that type.
pub(super) fn literal(random: &mut Random, kind: Kind) -> String {
    let quoted = |random: &mut Random, values: &[&str]| format!("'{}'", random.pick(values));
    match kind {
        Kind::Bool => (*random.pick(&["true", "false"])).to_owned(),
        Kind::Int2 => format!("({})::int2", random.between(-20, 50)),
        Kind::Int4 => match random.between(-9, 100) {
            number @ ..0 => format!("({number})"),
            number => number.to_string(),
        },
        Kind::Int8 => format!("({})::int8", random.between(-1_000, 100_000)),
        Kind::Numeric => match random.below(4) {
            0 => format!("({})::numeric", random.between(-50, 500)),
            1 => format!("({}.{})", random.between(-9, 99), random.below(10)),
            _ => format!("{}.{:02}", random.below(1_000), random.below(100)),
        },
        Kind::Float8 => match random.below(3) {
            0 => format!("({})::float8", random.between(-50, 500)),
            1 => format!("({}.5)::float8", random.between(-9, 99)),
            _ => format!("{}.{}::float8", random.below(100), random.below(1_000)),
        },
        Kind::Text => text(random),
        Kind::Varchar => format!("{}::varchar", text(random)),
        Kind::Date => format!("DATE {}", date(random)),
        Kind::Timestamp => {
            let time = quoted(random, &["00:00:00", "12:34:56.789", "23:59:59.999999", "02:30:00", "06:00:00"]);
            format!("TIMESTAMP '{} {}'", date(random).trim_matches('\''), time.trim_matches('\''))
        }
        Kind::Timestamptz => {
            let time = quoted(random, &["00:00:00+00", "12:34:56.789+02", "23:59:59.999999-05", "01:30:00+00"]);
            format!("TIMESTAMPTZ '{} {}'", date(random).trim_matches('\''), time.trim_matches('\''))
        }
        Kind::Interval => {
            let values = [
                "1 day",
                "0",
                "1 month",
                "-3 days",
                "36 hours",
                "1 year 2 months",
                "00:00:00.5",
                "30 days",
                "12:30:00",
                "-1 month 3 days 04:05:06.789",
            ];
            format!("INTERVAL {}", quoted(random, &values))
        }
    }
}

fn text(random: &mut Random) -> String {
    let values = [
        "a", "b", "B", "apple", "Apple", "banana", "", " ", " lead", "trail ", "it''s", "é", "Émile", "emile", "a_b%c",
        "10", "9", "co-op", "coop", "日本", "new", "paid", "x y z",
    ];
    format!("'{}'", random.pick(&values))
}

fn date(random: &mut Random) -> String {
    let values = ["2024-02-29", "2023-12-31", "2024-01-01", "1999-12-31", "1970-01-01", "2024-03-31", "2000-02-28"];
    match random.chance(50) {
        true => format!("'{}'", random.pick(&values)),
        false => {
            format!("'{}-{:02}-{:02}'", random.between(1990, 2030), random.between(1, 12), random.between(1, 28))
        }
    }
}
