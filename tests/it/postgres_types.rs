//! Type torture: every supported type with its extremes, through COPY BINARY and the decoder, against PostgreSQL's own
//! text.

use std::fmt::Write as _;

use arrow::{
    array::{Array, AsArray as _, RecordBatch},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
        Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
    },
};
use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveDateTime, Timelike as _};
use pilaster::{
    error::{Code, Result},
    postgres::{
        Client, ColumnPlan, CopyDecoder, Kind, NumericWidth, OutOfRange, PlannedKind, Progress, SourceConfig,
        TableDefinition, inspect, measure, plan_column, quote_ident,
    },
};

use crate::support::Postgres;

/// How each column of a table travels, measured where its type does not say.
async fn plans(client: &Client, table: &TableDefinition, policy: OutOfRange) -> Vec<ColumnPlan> {
    let mut plans = Vec::new();
    for column in &table.columns {
        let planned = match plan_column(&column.base, policy) {
            PlannedKind::Unmeasured => {
                let measured = measure(client, &table.name, &[&column.name]).await.unwrap();
                measured[0].width.unwrap_or_default().planned()
            }
            known @ PlannedKind::Known { .. } => known,
        };
        let PlannedKind::Known { kind, .. } = planned else { panic!("{} is not planned", column.name) };
        plans.push(ColumnPlan {
            name: column.name.clone(),
            kind,
            out_of_range: policy,
            is_nullable: !column.is_not_null,
        });
    }
    plans
}

/// Copies a table, ordered by its first column, in one batch.
async fn export(
    source: &SourceConfig,
    table: &TableDefinition,
    plans: &[ColumnPlan],
) -> Result<(RecordBatch, CopyDecoder)> {
    let mut decoder = CopyDecoder::new(&table.name, plans, None)?;
    let columns: Vec<_> = plans.iter().map(|plan| plan.kind.select_expression(&quote_ident(&plan.name))).collect();
    let sql = format!(
        "COPY (SELECT {} FROM {} ORDER BY 1) TO STDOUT (FORMAT binary)",
        columns.join(", "),
        table.name.quoted()
    );
    let mut connection = source.connect_copy().await?;
    connection.start_copy(&sql).await?;
    while connection.next_chunk(&mut decoder).await? == Progress::More {}
    let batch = decoder.take_batch()?.expect("there are rows");
    connection.close().await;
    Ok((batch, decoder))
}

/// The value as PostgreSQL's `::text` writes it in our sessions.
fn as_postgres(array: &dyn Array, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => float(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => array.as_binary::<i32>().value(row).iter().fold("\\x".to_owned(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        }),
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().value(row);
            let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
            let distance = Days::new(u64::from(days.unsigned_abs()));
            let date = if days < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) };
            let (text, era) = date_text(date.unwrap());
            text + era
        }
        DataType::Time64(_) => {
            let micros = array.as_primitive::<Time64MicrosecondType>().value(row);
            let seconds = u32::try_from(micros / 1_000_000).unwrap();
            let fraction = u32::try_from(micros % 1_000_000).unwrap();
            time_text(chrono::NaiveTime::from_num_seconds_from_midnight_opt(seconds, fraction * 1000).unwrap())
        }
        DataType::Timestamp(_, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let at: NaiveDateTime = DateTime::from_timestamp_micros(micros).unwrap().naive_utc();
            let (date, era) = date_text(at.date());
            format!("{date} {}{}{era}", time_text(at.time()), if zone.is_some() { "+00" } else { "" })
        }
        DataType::Struct(_) => {
            let parts = array.as_struct();
            format!(
                "{} {} {}",
                parts.column(0).as_primitive::<Int32Type>().value(row),
                parts.column(1).as_primitive::<Int32Type>().value(row),
                parts.column(2).as_primitive::<Int64Type>().value(row),
            )
        }
        other => panic!("{other} is not a type of the export"),
    })
}

fn float(value: f64) -> String {
    format!("{:016x}", if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() })
}

fn date_text(date: NaiveDate) -> (String, &'static str) {
    let (year, era) = if date.year() > 0 { (date.year(), "") } else { (1 - date.year(), " BC") };
    (format!("{year:04}-{:02}-{:02}", date.month(), date.day()), era)
}

fn time_text(time: chrono::NaiveTime) -> String {
    let mut text = format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
    let micros = time.nanosecond() / 1000;
    if micros > 0 {
        write!(text, ".{micros:06}").unwrap();
    }
    text.trim_end_matches(|character| micros > 0 && character == '0').to_owned()
}

/// What PostgreSQL's text becomes before it is compared.
fn truth(kind: Kind, text: &str) -> String {
    match kind {
        // The shortest text that gives the same float gives the same bits.
        Kind::Float4 => float(f64::from(text.parse::<f32>().unwrap())),
        Kind::Float8 => float(text.parse::<f64>().unwrap()),
        // PostgreSQL keeps zeros of the value, Arrow those of the column.
        Kind::Numeric { scale, .. } => {
            let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
            let scale = usize::from(scale);
            if scale == 0 { integer.to_owned() } else { format!("{integer}.{fraction:0<scale$}") }
        }
        _ => text.to_owned(),
    }
}

/// Puts the values into a table with one column of the type, exports it and compares each value.
async fn check(client: &Client, source: &SourceConfig, name: &str, sql_type: &str, values: &[&str], expect: &str) {
    let mut rows: Vec<_> =
        values.iter().enumerate().map(|(index, value)| format!("({index}, ({value})::{sql_type})")).collect();
    rows.push(format!("({}, NULL)", values.len()));
    let create = format!("CREATE TABLE {name} (id int NOT NULL, v {sql_type})");
    let setup = format!("{create}; INSERT INTO {name} VALUES {}", rows.join(", "));
    client.batch_execute(&setup).await.unwrap_or_else(|error| panic!("{sql_type}: {error:?}"));
    let tables = inspect(client, &["public".to_owned()]).await.unwrap();
    let table = tables.iter().find(|table| table.name.name == name).unwrap();
    let plans = plans(client, table, OutOfRange::Error).await;
    let kind = plans[1].kind;
    assert_eq!(kind.arrow_type().to_string(), expect, "{sql_type}");
    let text = if kind == Kind::Interval {
        "(extract(year FROM v) * 12 + extract(month FROM v))::int8 || ' ' || extract(day FROM v) || ' ' || \
         (extract(hour FROM v) * 3600000000 + extract(minute FROM v) * 60000000 + extract(microseconds FROM v))::int8"
    } else {
        "v::text"
    };
    let wanted = client.query(&format!("SELECT {text} FROM {name} ORDER BY id"), &[]).await.unwrap();
    let (batch, decoder) = export(source, table, &plans).await.unwrap_or_else(|error| panic!("{sql_type}: {error:?}"));
    assert_eq!(batch.num_rows(), wanted.len(), "{sql_type}");
    for (row, wanted) in wanted.iter().enumerate() {
        let wanted: Option<String> = wanted.get(0);
        let actual = as_postgres(batch.column(1), row);
        let value = values.get(row).unwrap_or(&"NULL");
        assert_eq!(actual, wanted.map(|text| truth(kind, &text)), "{sql_type} of {value}");
    }
    assert_eq!(decoder.counts()[1].nulls, 1);
}

#[tokio::test]
async fn every_type_arrives_equal() {
    let url = Postgres::start().database("types");
    let source = SourceConfig::parse(&url).unwrap();
    let client = source.connect().await.unwrap();
    client
        .batch_execute(
            "CREATE TYPE mood AS ENUM ('sad', 'ok', 'żywy'); CREATE TYPE pair AS (a int, b text); \
             CREATE DOMAIN price AS numeric(12,3) CHECK (VALUE >= 0); \
             CREATE DOMAIN maybe AS price; CREATE TYPE float_range AS RANGE (subtype = float8)",
        )
        .await
        .unwrap();
    let nines = |count: usize| "9".repeat(count);
    let (n38, n76) = (format!("'{}'", nines(38)), format!("'-{}.{}'", nines(36), nines(40)));
    let tiny = format!("'0.{}1'", "0".repeat(37));
    let wide = format!("'{}.5'", nines(60));
    let huge = format!("'{}'", nines(100));
    let long = "repeat('🐢 żółw ', 200000)";
    let cases: &[(&str, &[&str], &str)] = &[
        ("bool", &["true", "false"], "Boolean"),
        ("int2", &["-32768", "0", "32767"], "Int16"),
        ("int4", &["-2147483648", "2147483647"], "Int32"),
        ("int8", &["'-9223372036854775808'", "9223372036854775807"], "Int64"),
        ("float4", &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "'1e-45'", "3.4028235e38", "0.1"], "Float32"),
        (
            "float8",
            &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "'5e-324'", "1.7976931348623157e308", "0.1"],
            "Float64",
        ),
        (
            "numeric(10,2)",
            &["0", "-0.01", "99999999.99", "-99999999.99", "10000", "0.1", "100000.00"],
            "Decimal128(10, 2)",
        ),
        ("numeric(38,0)", &[&n38, "0", "-1", "10000000000000000"], "Decimal128(38, 0)"),
        ("numeric(38,38)", &[&tiny, "0", "0.1", "-0.00001"], "Decimal128(38, 38)"),
        ("numeric(76,40)", &[&n76, "1", "0.0000000000000000000000000000000000000001"], "Decimal256(76, 40)"),
        ("numeric(77,0)", &["1", "'NaN'"], "Utf8"),
        ("numeric(3,5)", &["0.00999", "0.00001"], "Decimal128(5, 5)"),
        ("numeric(3,-2)", &["99900", "100", "-149"], "Decimal128(5, 0)"),
        ("numeric", &["1.50", "-123456.7890123", "0", "1e10"], "Decimal128(18, 7)"),
        ("numeric", &["1e-20", "1e20"], "Decimal256(41, 20)"),
        ("numeric", &[&wide], "Decimal256(61, 1)"),
        ("numeric", &[&huge], "Utf8"),
        ("numeric", &[], "Decimal128(1, 0)"),
        ("price", &["1.5", "999999999.999"], "Decimal128(12, 3)"),
        ("maybe", &["1.5", "0"], "Decimal128(12, 3)"),
        ("text", &["''", "'a'", "E'\\n\\t\\\\'", "'żółw 🐢'", long], "Utf8"),
        ("varchar(5)", &["'abc'", "''"], "Utf8"),
        ("char(5)", &["'ab'", "''", "'abcde'", "'żż'"], "Utf8"),
        ("name", &["'ab'"], "Utf8"),
        ("\"char\"", &["'a'", "''", "'\\377'::text::bytea::text::\"char\""], "Utf8"),
        ("json", &["'{\"a\" :  [1,2]}'", "'null'", "'1e5'"], "Utf8"),
        ("jsonb", &["'{\"a\" :  [1, 2.50]}'", "'null'", "'\"\\u00fc\"'"], "Utf8"),
        ("xml", &["'<?xml version=\"1.0\" encoding=\"UTF-8\"?><a>ż</a>'", "'<b/>'"], "Utf8"),
        ("mood", &["'sad'", "'żywy'"], "Utf8"),
        ("bytea", &["''", "'\\x00ff'", "decode(repeat('ab', 3000000), 'hex')"], "Binary"),
        (
            "date",
            &[
                "'2000-02-29'",
                "'1969-12-31'",
                "'0001-01-01'",
                "'0001-12-31 BC'",
                "'4713-11-24 BC'",
                "'9999-12-31'",
                "'262142-12-31'",
            ],
            "Date32",
        ),
        ("time", &["'00:00'", "'23:59:59.999999'", "'12:34:56.7'"], "Time64(µs)"),
        ("time(0)", &["'12:34:56'"], "Time64(µs)"),
        (
            "timestamp",
            &[
                "'1970-01-01'",
                "'1969-12-31 23:59:59.999999'",
                "'2026-06-01 12:00:00.5'",
                "'4713-11-24 BC'",
                "'262142-12-31 23:59:59.999999'",
                "'0044-03-15 12:00:00 BC'",
            ],
            "Timestamp(µs)",
        ),
        (
            "timestamptz",
            &[
                "'2026-03-29 02:30 Europe/Berlin'",
                "'1970-01-01 00:00-12'",
                "'4713-11-24 BC'",
                "'262142-12-31 23:59:59.999999+00'",
            ],
            "Timestamp(µs, \"UTC\")",
        ),
        ("uuid", &["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "'00000000-0000-0000-0000-000000000000'"], "Utf8"),
        (
            "interval",
            &[
                "'1 day'",
                "'-1 mon +2 days -3:04:05.000006'",
                "'178000000 years'",
                "'-178000000 years'",
                "'2147483647 days'",
                "'2562047788 hours'",
                "'0'",
            ],
            "Struct(\"months\": non-null Int32, \"days\": non-null Int32, \"microseconds\": non-null Int64)",
        ),
        (
            "interval year to month",
            &["'1-2'"],
            "Struct(\"months\": non-null Int32, \"days\": non-null Int32, \"microseconds\": non-null Int64)",
        ),
        ("oid", &["'4294967295'", "'0'"], "Int64"),
        ("int4[]", &["'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'{}'"], "Utf8"),
        ("timestamptz[]", &["'{2026-01-01 00:00+05}'"], "Utf8"),
        ("pair", &["'(1,\"a b\")'"], "Utf8"),
        ("mood[]", &["'{sad,ok}'"], "Utf8"),
        ("int4range", &["'[1,5)'", "'empty'"], "Utf8"),
        ("float_range", &["'[0.1,0.3]'"], "Utf8"),
        ("int4multirange", &["'{[1,2),[5,7)}'"], "Utf8"),
        ("inet", &["'10.0.0.1/8'", "'::1'"], "Utf8"),
        ("macaddr", &["'08:00:2b:01:02:03'"], "Utf8"),
        ("money", &["12.5", "-1"], "Utf8"),
        ("timetz", &["'12:00+05:30'", "'24:00:00+00'"], "Utf8"),
        ("bit(3)", &["B'101'"], "Utf8"),
        ("varbit", &["B'10101'", "''"], "Utf8"),
        ("point", &["'(1.5,2)'"], "Utf8"),
        ("tsvector", &["'a fat cat'"], "Utf8"),
        ("pg_lsn", &["'16/B374D848'"], "Utf8"),
        ("xid", &["'4294967295'"], "Utf8"),
    ];
    for (index, (sql_type, values, expect)) in cases.iter().enumerate() {
        check(&client, &source, &format!("torture_{index}"), sql_type, values, expect).await;
    }
    client.close().await;
}

/// A value, the type, and what each policy gives: the error's text, the text after `null` and after `clamp`.
#[tokio::test]
async fn what_arrow_cannot_hold_follows_the_policy() {
    let url = Postgres::start().database("policies");
    let source = SourceConfig::parse(&url).unwrap();
    let client = source.connect().await.unwrap();
    let cases = [
        ("numeric(6,2)", "'NaN'", "NaN", None),
        ("numeric", "'Infinity'", "Infinity", Some("9")),
        ("numeric", "'-Infinity'", "-Infinity", Some("-9")),
        ("date", "'infinity'", "infinity", Some("262142-12-31")),
        ("date", "'-infinity'", "-infinity", Some("262144-01-01 BC")),
        ("date", "'5874897-12-31'", "5874897-12-31", Some("262142-12-31")),
        ("timestamp", "'infinity'", "infinity", Some("262142-12-31 23:59:59.999999")),
        ("timestamptz", "'-infinity'", "-infinity", Some("262144-01-01 00:00:00+00 BC")),
        ("timestamp", "'294276-12-31 23:59:59.999999'", "294276-12-31", Some("262142-12-31 23:59:59.999999")),
        ("time", "'24:00:00'", "24:00:00", Some("23:59:59.999999")),
    ];
    for (index, (sql_type, value, named, clamped)) in cases.into_iter().enumerate() {
        let name = format!("policy_{index}");
        let setup = format!("CREATE TABLE {name} (v {sql_type} NOT NULL); INSERT INTO {name} VALUES ({value})");
        client.batch_execute(&setup).await.unwrap();
        let tables = inspect(&client, &["public".to_owned()]).await.unwrap();
        let table = tables.iter().find(|table| table.name.name == name).unwrap();

        let error = export(&source, table, &plans(&client, table, OutOfRange::Error).await).await.unwrap_err();
        assert_eq!(error.code(), Code::UnrepresentableValue, "{error:?}");
        let named = format!("table public.{name}, column \"v\", row 1: {named} cannot be held as ");
        assert!(error.message().starts_with(&named), "{}", error.message());

        let (batch, decoder) = export(&source, table, &plans(&client, table, OutOfRange::Null).await).await.unwrap();
        assert_eq!((as_postgres(batch.column(0), 0), decoder.counts()[0].nulled), (None, 1), "{sql_type}");

        let (batch, decoder) = export(&source, table, &plans(&client, table, OutOfRange::Clamp).await).await.unwrap();
        assert_eq!(as_postgres(batch.column(0), 0).as_deref(), clamped, "{sql_type} {value}");
        let counts = decoder.counts()[0];
        assert_eq!((counts.clamped, counts.nulled), if clamped.is_some() { (1, 0) } else { (0, 1) });

        let (batch, _) = export(&source, table, &plans(&client, table, OutOfRange::Text).await).await.unwrap();
        let wanted: String = client.query_one(&format!("SELECT v::text FROM {name}"), &[]).await.unwrap().get(0);
        assert_eq!(as_postgres(batch.column(0), 0), Some(wanted));
    }
}

#[tokio::test]
async fn bare_numerics_are_measured_in_one_scan() {
    let url = Postgres::start().database("measure");
    let source = SourceConfig::parse(&url).unwrap();
    let client = source.connect().await.unwrap();
    let setup = "CREATE TABLE \"Odd name\" (a numeric, \"b \"\"c\" numeric, d numeric); \
         INSERT INTO \"Odd name\" VALUES \
         (1.25, 'NaN', NULL), (-1000, 'Infinity', NULL), (0.0001, '-Infinity', NULL), ('NaN', 'NaN', NULL)";
    client.batch_execute(setup).await.unwrap();
    let tables = inspect(&client, &["public".to_owned()]).await.unwrap();
    let measured = measure(&client, &tables[0].name, &["a", "b \"c", "d"]).await.unwrap();
    let summary: Vec<_> = measured
        .iter()
        .map(|column| (column.width, column.nan_count, column.positive_infinity_count, column.negative_infinity_count))
        .collect();
    let width = NumericWidth { integer_digits: 4, scale: 4 };
    assert_eq!(summary, [(Some(width), 1, 0, 0), (None, 2, 1, 1), (None, 0, 0, 0)]);
    assert_eq!(
        width.widened(NumericWidth { integer_digits: 9, scale: 1 }),
        NumericWidth { integer_digits: 9, scale: 4 }
    );
}
