//! Every value arrives equal or is counted: from tables of Postgres, through the real binary, to Parquet files that the tests read
//! for themselves, against what psql says.

use pilaster::store::{ColumnType, Manifest, Treatment};

use crate::{
    support::Postgres,
    support_pilaster::Pilaster,
    support_snapshot::{Folder, TextRow, table_of, truth_of},
};

/// Compares a whole table of a snapshot, value by value, with what psql says, ordered by the first column.
#[track_caller]
fn check_equal(server: &Postgres, database: &str, store: &Folder, manifest: &Manifest, table: &str) {
    let known = table_of(manifest, table);
    let expressions: Vec<String> = known
        .columns
        .iter()
        .map(|column| truth_of(&format!("\"{}\"", column.name), &column.column_type.file_type()))
        .collect();
    // One array for each row; PostgreSQL's own JSON keeps any text as it is. Functions take at most 100 arguments.
    let sql = format!(
        "SET TimeZone = 'UTC'; SET search_path = ''; SELECT json_agg(to_json(ARRAY[{}]) ORDER BY \"{}\") FROM public.\"{table}\"",
        expressions.join(", "),
        known.columns[0].name,
    );
    let truth: Vec<TextRow> = serde_json::from_str(&server.psql(database, &sql)).unwrap();
    let mut rows = store.rows(manifest, table);
    let key = |row: &TextRow| row[0].as_ref().map(|key| key.parse::<i64>().unwrap());
    rows.sort_by_key(key);
    assert_eq!(rows.len(), truth.len(), "rows of {table}");
    for (row, truth) in rows.iter().zip(&truth) {
        for ((value, truth), column) in row.iter().zip(truth).zip(&known.columns) {
            let name = (&column.name, &column.declared_type, column.column_type);
            assert_eq!(value, truth, "{table}, row {:?}, {name:?}", row[0]);
        }
    }
}

/// Columns of the torture table: SQL type, values as SQL, how it is stored. Row n has each column's value n, round and round.
const TORTURE: &[(&str, &[&str], &str)] = &[
    ("bool", &["true", "false"], "Boolean"),
    ("int2", &["-32768", "32767", "0"], "Int16"),
    ("int4", &["-2147483648", "2147483647"], "Int32"),
    ("int8", &["'-9223372036854775808'", "9223372036854775807"], "Int64"),
    ("oid", &["0", "4294967295"], "Int64"),
    ("float4", &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "1e-45", "3.4028235e38", "0.1"], "Float32"),
    ("float8", &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "5e-324", "1.7976931348623157e308", "0.1"], "Float64"),
    ("numeric(10,2)", &["99999999.99", "-99999999.99", "0", "-0.01"], "Decimal { precision: 10, scale: 2 }"),
    ("numeric(38,0)", &["99999999999999999999999999999999999999", "-1"], "Decimal { precision: 38, scale: 0 }"),
    (
        "numeric(76,40)",
        &["'999999999999999999999999999999999999.9999999999999999999999999999999999999999'", "'-1e-40'"],
        "Decimal { precision: 76, scale: 40 }",
    ),
    ("numeric(3,-2)", &["12345", "-99900"], "Decimal { precision: 5, scale: 0 }"),
    ("numeric(2,4)", &["0.0099", "-0.0001"], "Decimal { precision: 4, scale: 4 }"),
    ("numeric", &["123456.5", "0.00000001", "-7"], "Decimal { precision: 14, scale: 8 }"),
    ("numeric(100,50)", &["'1e49'", "'1e-50'"], "Text"),
    ("text", &["''", "'🐢 żółw'", "E'a\\tb\\nc\\\\\"'", "repeat('long ', 100000)"], "Text"),
    ("varchar(5)", &["'ab'", "'   '", "''"], "Text"),
    ("char(5)", &["'ab'", "''"], "Text"),
    ("\"char\"", &["'x'", "''"], "Text"),
    ("name", &["'a name'"], "Text"),
    ("bytea", &["''", "'\\x00ff'", "decode(repeat('ab', 70000), 'hex')"], "Binary"),
    ("date", &["'4713-01-01 BC'", "'262142-12-31'", "'0001-12-31 BC'", "'1969-12-31'", "'2024-02-29'"], "Date"),
    ("time", &["'00:00'", "'23:59:59.999999'"], "Time"),
    ("timestamp", &["'4713-01-01 BC'", "'262142-12-31 23:59:59.999999'", "'1969-12-31 23:59:59.999999'"], "Timestamp"),
    ("timestamptz", &["'4713-01-02 00:00 BC UTC'", "'2024-03-31 02:30+01'", "'262142-12-31 UTC'"], "Timestamptz"),
    ("uuid", &["'00000000-0000-0000-0000-000000000000'", "'FFFFFFFF-ffff-ffff-ffff-ffffffffffff'"], "Text"),
    ("json", &["'{\"b\":1, \"a\":[1,  2]}'", "'null'", "'1.10'"], "Text"),
    ("jsonb", &["'{\"b\":1, \"a\":[1,  2], \"a\":\"ż\"}'", "'null'", "'1.10'", "'1e400'"], "Text"),
    (
        "interval",
        &["'1 year -2 mons 3 days -04:05:06.789'", "'178000000 years'", "'-178000000 years'", "'0'"],
        "Interval",
    ),
    ("mood", &["'sad'", "'happy'"], "Text"),
    ("price", &["12.345", "0"], "Decimal { precision: 12, scale: 3 }"),
    ("int4[]", &["'{}'", "'{1,NULL,-2147483648}'", "'[5:6]={1,2}'", "'{{1,2},{3,4}}'"], "Text"),
    ("text[]", &["ARRAY['a,b', '\"', NULL, 'NULL', '', 'ż{}']"], "Text"),
    ("timestamptz[]", &["ARRAY['2024-01-01 UTC'::timestamptz, 'infinity']"], "Text"),
    ("pair", &["ROW(1, 'a \"b\"')", "ROW(NULL, NULL)"], "Text"),
    ("int4range", &["'empty'", "'[1,5)'", "'(,)'"], "Text"),
    ("tstzrange", &["'[2024-01-01 UTC, infinity)'"], "Text"),
    ("int4multirange", &["'{[1,2),[5,9)}'", "'{}'"], "Text"),
    ("inet", &["'::1'", "'10.0.0.1/8'"], "Text"),
    ("cidr", &["'10.0.0.0/8'"], "Text"),
    ("macaddr", &["'08:00:2b:01:02:03'"], "Text"),
    ("money", &["'-92233720368547758.08'", "12.34"], "Text"),
    ("timetz", &["'12:00+05:30'", "'24:00-15:59'"], "Text"),
    ("bit(5)", &["B'10101'"], "Text"),
    ("bit varying", &["B''", "B'1'"], "Text"),
    ("tsvector", &["to_tsvector('simple', 'a fat cat''s rat')", "''"], "Text"),
    ("tsquery", &["'fat & !rat'"], "Text"),
    ("point", &["'(0.1,-1e300)'"], "Text"),
    ("polygon", &["'((0,0),(1,1),(2,0))'"], "Text"),
    ("xml", &["'<a>ż</a>'"], "Text"),
    ("pg_lsn", &["'16/B374D848'"], "Text"),
    ("xid8", &["'18446744073709551615'"], "Text"),
    ("jsonpath", &["'$.a[*] ? (@ > 1)'"], "Text"),
    ("regclass", &["'public.torture'"], "Text"),
];

#[test]
fn every_value_of_every_type_arrives_equal() {
    let server = Postgres::start();
    let url = server.database("torture");
    let columns: Vec<String> = TORTURE.iter().enumerate().map(|(at, (name, ..))| format!("c{at} {name}")).collect();
    let row = |row: usize| {
        let values: Vec<String> =
            TORTURE.iter().map(|(name, values, _)| format!("({})::{name}", values[row % values.len()])).collect();
        format!("({row}, {})", values.join(", "))
    };
    let rows: Vec<String> = (0..7).map(row).collect();
    // Row 7 is nothing but NULLs.
    server.psql(
        "torture",
        &format!(
            "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TYPE pair AS (a int, b text); \
             CREATE DOMAIN price AS numeric(12,3) CHECK (VALUE >= 0); \
             CREATE TABLE torture (id int PRIMARY KEY, {}); INSERT INTO torture VALUES {}; INSERT INTO torture VALUES (7)",
            columns.join(", "),
            rows.join(", "),
        ),
    );
    let store = Folder::new();
    let finished = Pilaster::snapshot(&url, store.path()).run().success();
    let manifest = store.newest();
    check_equal(server, "torture", &store, &manifest, "torture");
    let table = table_of(&manifest, "torture");
    for ((name, _, expect), column) in TORTURE.iter().zip(&table.columns[1..]) {
        assert_eq!(format!("{:?}", column.column_type), *expect, "{name}");
        assert!(column.nullable && column.fidelity.nulled == 0 && column.fidelity.clamped == 0, "{name}");
        // Whatever travels as its text is said to the person who ran it.
        let said = finished.stdout.contains(&format!("public.torture.{} {}", column.name, column.declared_type));
        assert_eq!(said, column.treatment == Treatment::Text, "{name}: {}", finished.stdout);
    }
    assert!(finished.stdout.contains("\ncopied as text: "), "{}", finished.stdout);
    let mood = table.columns.iter().find(|column| column.postgres_type == "mood").unwrap();
    assert_eq!(mood.enum_labels, ["sad", "ok", "happy"]);
    assert!(!table.columns[0].nullable);
}

#[test]
fn values_beyond_the_format_fail_or_are_counted() {
    let server = Postgres::start();
    let url = server.database("beyond");
    // Type, a value beyond, one within; then what null and clamp make of the first, as the files hold it.
    let cases = [
        ("numeric(10,2)", "'NaN'", "1.50", "1.50", None, (1, 0)),
        ("numeric", "'Infinity'", "12.5", "12.5", Some("99.9"), (0, 1)),
        ("date", "'infinity'", "'1970-01-02'", "1", None, (0, 1)),
        ("timestamp", "'-infinity'", "'1970-01-01 00:00:01'", "1000000", None, (0, 1)),
        ("timestamptz", "'infinity'", "'1970-01-01 00:00:01 UTC'", "1000000", None, (0, 1)),
        ("timestamp", "'294276-12-31'", "'1970-01-01 00:00:01'", "1000000", None, (0, 1)),
        ("time", "'24:00'", "'00:00:01'", "1000000", Some("86399999999"), (0, 1)),
    ];
    for (sql_type, beyond, within, plain, clamped, counts) in cases {
        let what = format!("{sql_type} {beyond}");
        server.psql(
            "beyond",
            &format!(
                "DROP TABLE IF EXISTS odd; CREATE TABLE odd (id int, \"V\" {sql_type} NOT NULL); \
                 INSERT INTO odd VALUES (1, {within}), (2, {beyond})"
            ),
        );
        let store = Folder::new();
        let error = Pilaster::snapshot(&url, store.path()).run().failure();
        assert!(error.contains("table public.odd, column \"V\", row 2: "), "{what}: {error}");
        let hint = "hint: set [tables.\"public.odd\".columns.V] out_of_range = \"null\", \"clamp\" or \"text\"";
        assert!(error.contains(hint), "{what}: {error}");
        assert!(store.data_files().is_empty() && store.versions().is_empty(), "{what}");

        let run = |policy: &str| {
            let config = format!("[tables.\"public.odd\".columns.V]\nout_of_range = \"{policy}\"");
            let finished = Pilaster::snapshot(&url, store.path()).config(&config).run().success();
            let manifest = store.newest();
            let mut rows = store.rows(&manifest, "odd");
            rows.sort();
            let column = table_of(&manifest, "odd").columns[1].clone();
            let counts = (column.fidelity.nulled, column.fidelity.clamped);
            let said =
                format!("out of range in public.odd.V: {} became NULL, {} the nearest value\n", counts.0, counts.1);
            assert_eq!(finished.stdout.contains(&said), counts != (0, 0), "{what}: {}", finished.stdout);
            (rows[0][1].clone().unwrap(), rows[1][1].clone(), counts, column.treatment)
        };
        assert_eq!(run("null"), (plain.into(), None, (1, 0), Treatment::Plain), "{what}");
        let (first, second, counted, _) = run("clamp");
        assert_eq!((first.as_str(), counted), (plain, counts), "{what}");
        assert_eq!(second.is_none(), counts.0 == 1, "{what}: {second:?}");
        assert!(clamped.is_none_or(|clamped| second.as_deref() == Some(clamped)), "{what}: {second:?}");
        let truth = server.psql("beyond", "SET TimeZone = 'UTC'; SELECT \"V\"::text FROM odd ORDER BY id");
        let (first, second, counted, treatment) = run("text");
        assert_eq!(format!("{first}\n{}", second.unwrap()), truth, "{what}");
        assert_eq!((counted, treatment), ((0, 0), Treatment::Text), "{what}");
    }
}

#[test]
fn bare_numerics_are_measured_and_only_widened() {
    let server = Postgres::start();
    let url = server.database("bare");
    server.psql("bare", "CREATE TABLE t (id int, v numeric)");
    let store = Folder::new();
    let check = |values: &str, expect: ColumnType| {
        server.psql(
            "bare",
            &format!(
                "TRUNCATE t; INSERT INTO t SELECT row_number() OVER (), v FROM unnest(ARRAY[{values}]::numeric[]) v"
            ),
        );
        Pilaster::snapshot(&url, store.path()).run().success();
        let manifest = store.newest();
        assert_eq!(table_of(&manifest, "t").columns[1].column_type, expect, "{values}");
        check_equal(server, "bare", &store, &manifest, "t");
    };
    let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
    check("NULL", decimal(1, 0));
    check("1.5, -200, NULL", decimal(4, 1));
    check("0.25", decimal(5, 2));
    check("7", decimal(5, 2));
    check("1e37, 0.001", decimal(41, 3));
    check("1e80", ColumnType::Text);
}

#[test]
fn columns_are_left_out_or_hashed_as_asked() {
    let server = Postgres::start();
    let url = server.database("hidden");
    server.psql(
        "hidden",
        "CREATE TABLE people (id int PRIMARY KEY, email text, email_again text, ssn text, session_token text, api_key text, age int); \
         INSERT INTO people SELECT i, 'mail' || i % 10, 'mail' || i % 10, 'ssn' || i, 'session' || i, 'apikey' || i, i \
         FROM generate_series(1, 100) i; INSERT INTO people VALUES (101)",
    );
    let config = |key: &str| {
        format!(
            "[snapshot]\nhash_key = \"{}\"\n[tables.\"public.people\"]\nexclude_columns = [\"ssn\"]\n\
             include_columns = [\"session_token\"]\nhash_columns = [\"email\", \"email_again\", \"age\"]",
            key.repeat(32)
        )
    };
    let store = Folder::new();
    let run = |key: &str| {
        let finished = Pilaster::snapshot(&url, store.path()).config(&config(key)).run().success();
        assert!(
            finished.stdout.contains("left out because they look like secrets: public.people.api_key\n"),
            "{}",
            finished.stdout
        );
        let said = finished.stdout + &finished.stderr;
        assert!(!said.contains(&key.repeat(32)), "the key is said");
        let manifest = store.newest();
        let mut rows = store.rows(&manifest, "people");
        rows.sort_by_key(|row| row[0].as_ref().unwrap().parse::<i32>().unwrap());
        (manifest, rows)
    };
    let (manifest, rows) = run("ab");
    let table = table_of(&manifest, "people");
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "email", "email_again", "session_token", "age"]);
    assert_eq!(table.excluded_columns, ["ssn", "api_key"]);
    assert_eq!(table.columns[1].treatment, Treatment::Hashed);
    for row in &rows[..100] {
        let hash = row[1].as_ref().unwrap();
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        // Equal values stay equal, so that joins work.
        assert_eq!(row[1], row[2]);
    }
    assert_eq!(rows[0][1], rows[10][1]);
    assert_ne!(rows[0][1], rows[1][1]);
    assert_eq!(rows[0][3].as_deref(), Some("session1"));
    assert!(rows[100][1..].iter().all(Option::is_none), "NULL stays NULL");
    let (_, again) = run("cd");
    assert_ne!(rows[0][1], again[0][1], "another key makes another hash");
    for file in store.data_files() {
        let bytes = std::fs::read(store.path().join(file)).unwrap();
        for secret in [&b"mail"[..], b"ssn", b"apikey"] {
            // The name of the column is there, its values are not.
            let values = bytes
                .windows(secret.len() + 1)
                .filter(|window| window.starts_with(secret) && window[secret.len()].is_ascii_digit());
            assert_eq!(values.count(), 0, "{}", String::from_utf8_lossy(secret));
        }
    }
}

#[test]
fn every_kind_of_table_arrives_whole() {
    let server = Postgres::start();
    let url = server.database("kinds");
    server.psql(
        "kinds",
        "CREATE TABLE parts (id int, region text, pad text) PARTITION BY LIST (region); \
         CREATE TABLE parts_north PARTITION OF parts FOR VALUES IN ('n'); \
         CREATE TABLE parts_rest PARTITION OF parts DEFAULT PARTITION BY RANGE (id); \
         CREATE TABLE parts_rest_low PARTITION OF parts_rest FOR VALUES FROM (MINVALUE) TO (15000); \
         CREATE TABLE parts_rest_high (pad text, region text, id int); \
         ALTER TABLE parts_rest ATTACH PARTITION parts_rest_high FOR VALUES FROM (15000) TO (MAXVALUE); \
         INSERT INTO parts SELECT i, CASE WHEN i % 3 = 0 THEN 'n' ELSE 's' END, repeat('x', 150) FROM generate_series(1, 30000) i; \
         CREATE TABLE parent (id int, v text); CREATE TABLE child (extra int) INHERITS (parent); \
         INSERT INTO parent SELECT i, 'p' FROM generate_series(1, 10) i; \
         INSERT INTO child SELECT i, repeat('c', 200), i FROM generate_series(11, 12010) i; \
         CREATE TABLE made (id int, price numeric(10,2), vat numeric(12,4) GENERATED ALWAYS AS (price * 0.19) STORED, \
             n int GENERATED ALWAYS AS IDENTITY); \
         INSERT INTO made (id, price) SELECT i, i / 100.0 FROM generate_series(1, 100) i; \
         CREATE MATERIALIZED VIEW seen AS SELECT id, region FROM parts WHERE id <= 700; \
         CREATE VIEW looked AS SELECT * FROM parts; CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS id",
    );
    let store = Folder::new();
    let run = || {
        let run = Pilaster::snapshot(&url, store.path()).env("PILASTER__SNAPSHOT__PART_BYTES", "1MiB").run();
        run.success();
        store.newest()
    };
    let manifest = run();
    let counts: Vec<(String, u64)> =
        manifest.tables.iter().map(|table| (table.name.table.clone(), table.row_count)).collect();
    let expect =
        [("child", 12_000), ("made", 100), ("parent", 12_010), ("parts", 30_000), ("seen", 700), ("unlogged", 1)];
    assert_eq!(counts, expect.map(|(name, rows)| (name.to_owned(), rows)));
    for table in ["child", "made", "parent", "parts", "seen"] {
        check_equal(server, "kinds", &store, &manifest, table);
    }
    assert!(table_of(&manifest, "parts").files.len() > 1 && table_of(&manifest, "parent").files.len() > 1);
    // A view that was refreshed in between is a new one.
    server.psql("kinds", "UPDATE parts SET region = 'e' WHERE id = 1; REFRESH MATERIALIZED VIEW seen");
    let manifest = run();
    check_equal(server, "kinds", &store, &manifest, "seen");

    server.psql("kinds", "CREATE MATERIALIZED VIEW never AS SELECT 1 AS id WITH NO DATA");
    let error = Pilaster::snapshot(&url, store.path()).run().failure();
    assert!(error.contains("materialized view public.never has never been refreshed"), "{error}");
    server.psql(
        "kinds",
        "DROP MATERIALIZED VIEW never; CREATE FOREIGN DATA WRAPPER dummy; CREATE SERVER away FOREIGN DATA WRAPPER dummy; \
         CREATE FOREIGN TABLE afar (id int) SERVER away",
    );
    let error = Pilaster::snapshot(&url, store.path()).run().failure();
    assert!(error.contains("table public.afar is, or contains, a foreign table"), "{error}");
    assert!(error.contains("hint: leave it out: snapshot.exclude_tables = [\"public.afar\"]"), "{error}");
    let config = "[snapshot]\nexclude_tables = [\"public.afar\"]";
    Pilaster::snapshot(&url, store.path()).config(config).run().success();
    server.psql("kinds", "CREATE FOREIGN TABLE parts_far PARTITION OF parts FOR VALUES IN ('far') SERVER away");
    let error = Pilaster::snapshot(&url, store.path()).config(config).run().failure();
    assert!(error.contains("table public.parts is, or contains, a foreign table"), "{error}");
    assert_eq!(store.versions(), [3, 2, 1]);
}

#[test]
fn what_the_role_may_not_see_is_an_error_and_never_missing_rows() {
    let server = Postgres::start();
    server.database("rights");
    server.psql(
        "rights",
        "DROP ROLE IF EXISTS rights_reader; CREATE ROLE rights_reader LOGIN PASSWORD 'pw'; \
         CREATE TABLE open_one (id int); CREATE TABLE closed_one (id int); CREATE TABLE \"Closed Two\" (id int); \
         CREATE TABLE guarded (id int, owner text); INSERT INTO guarded VALUES (1, 'rights_reader'), (2, 'somebody'); \
         CREATE SCHEMA inner_place; CREATE TABLE inner_place.t (id int); \
         GRANT SELECT ON open_one, guarded TO rights_reader",
    );
    let url = server.url_as("rights_reader", "pw", "rights");
    let store = Folder::new();
    let error = Pilaster::snapshot(&url, store.path()).run().failure();
    assert!(error.contains("role \"rights_reader\" may not read 2 tables of the source: "), "{error}");
    for grant in [
        "GRANT SELECT ON \"public\".\"closed_one\" TO \"rights_reader\";",
        "GRANT SELECT ON \"public\".\"Closed Two\" TO \"rights_reader\";",
    ] {
        assert!(error.contains(grant), "{grant} in {error}");
    }
    // What was said mends it.
    let hint = error.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap();
    server.psql("rights", hint);
    Pilaster::snapshot(&url, store.path()).run().success();
    let both = Pilaster::command(&[
        "snapshot",
        "--postgres",
        &url,
        "--store",
        store.path().to_str().unwrap(),
        "--schema",
        "public",
        "--schema",
        "inner_place",
    ]);
    let error = both.run().failure();
    assert!(error.contains("GRANT USAGE ON SCHEMA \"inner_place\" TO \"rights_reader\";"), "{error}");

    server.psql(
        "rights",
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY own ON guarded USING (owner = current_user)",
    );
    let error = Pilaster::snapshot(&url, store.path()).run().failure();
    assert!(error.contains("guarded") && error.contains("row-level security"), "{error}");
    assert_eq!(store.versions(), [1]);
    server.psql("rights", "ALTER ROLE rights_reader BYPASSRLS");
    Pilaster::snapshot(&url, store.path()).run().success();
    assert_eq!(table_of(&store.newest(), "guarded").row_count, 2);
}
