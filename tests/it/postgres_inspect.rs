//! What the source's tables are.

use pilaster::{
    error::Code,
    postgres::{
        Generated, Kind, OutOfRange, PlannedKind, RelationKind, SourceConfig, TableDefinition, TableName, inspect,
        plan_column, require_select,
    },
};

use crate::support::Postgres;

const SCHEMA: &str = r#"
CREATE SCHEMA shop;
CREATE TYPE shop.mood AS ENUM ('sad', 'happy');
ALTER TYPE shop.mood ADD VALUE 'ok' BEFORE 'happy';
CREATE DOMAIN shop.price AS numeric(12,2);
CREATE DOMAIN shop.tax AS shop.price;
CREATE TABLE shop.customers (id int PRIMARY KEY, email text UNIQUE, dropped int, mood shop.mood,
    name varchar(20) COLLATE "C" NOT NULL, tax shop.tax, twice int GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE shop.customers DROP COLUMN dropped;
CREATE UNIQUE INDEX ON shop.customers (lower(email));
CREATE UNIQUE INDEX ON shop.customers (name) WHERE id > 5;
CREATE UNIQUE INDEX ON shop.customers (name, id) INCLUDE (email);
CREATE TABLE shop."Odd ""one" (a int, b int REFERENCES shop.customers (id), PRIMARY KEY (b, a));
CREATE TABLE shop.events (at date NOT NULL, n int) PARTITION BY RANGE (at);
CREATE TABLE shop.events_1 PARTITION OF shop.events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')
    PARTITION BY LIST (n);
CREATE TABLE shop.events_1_a PARTITION OF shop.events_1 FOR VALUES IN (1, 2);
CREATE TABLE shop.events_2 PARTITION OF shop.events FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE TABLE shop.parent (id int NOT NULL);
CREATE TABLE shop.child (more text) INHERITS (shop.parent);
CREATE MATERIALIZED VIEW shop.summary AS SELECT 1 AS one WITH NO DATA;
CREATE VIEW shop.view AS SELECT 1 AS one;
CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE shop.far (id int NOT NULL) SERVER far;
CREATE TABLE shop.hidden (id int); ALTER TABLE shop.hidden ENABLE ROW LEVEL SECURITY;
INSERT INTO shop.events SELECT '2021-05-05', 1 FROM generate_series(1, 10000);
"#;

fn find<'a>(tables: &'a [TableDefinition], name: &str) -> &'a TableDefinition {
    tables.iter().find(|table| table.name.name == name).unwrap_or_else(|| panic!("no table {name}"))
}

#[tokio::test]
async fn tables_are_what_the_catalogs_say() {
    let server = Postgres::start();
    let source = SourceConfig::parse(&server.database("inspect")).unwrap();
    server.psql("inspect", SCHEMA);
    let client = source.connect().await.unwrap();
    let schemas = ["shop".to_owned()];
    let tables = inspect(&client, &schemas).await.unwrap();
    let names: Vec<_> = tables.iter().map(|table| (table.name.name.as_str(), table.kind)).collect();
    use RelationKind::{Foreign, MaterializedView, Partitioned, Table};
    let expect = [
        ("Odd \"one", Table),
        ("child", Table),
        ("customers", Table),
        ("events", Partitioned),
        ("far", Foreign),
        ("hidden", Table),
        ("parent", Table),
        ("summary", MaterializedView),
    ];
    assert_eq!(names, expect);

    let customers = find(&tables, "customers");
    let columns: Vec<_> = customers
        .columns
        .iter()
        .map(|column| format!("{} {} {} {}", column.number, column.name, column.type_text, column.is_not_null))
        .collect();
    let expect = [
        "1 id integer true",
        "2 email text false",
        "4 mood shop.mood false",
        "5 name character varying(20) true",
        "6 tax shop.tax false",
        "7 twice integer false",
    ];
    assert_eq!(columns, expect);
    assert_eq!(customers.columns[2].enum_labels, Some(vec!["sad".into(), "ok".into(), "happy".into()]));
    assert_eq!(customers.columns[3].collation.as_deref(), Some("pg_catalog.C"));
    assert_eq!(customers.columns[1].collation, None);
    assert_eq!(customers.columns[5].generated, Generated::Stored);
    let tax = plan_column(&customers.columns[4].base, OutOfRange::Error);
    assert_eq!(tax, PlannedKind::Known { kind: Kind::Numeric { precision: 12, scale: 2 }, note: None });
    assert_eq!(customers.primary_key, ["id"]);
    assert_eq!(customers.unique_keys, [vec!["email"], vec!["name", "id"]]);

    let odd = find(&tables, "Odd \"one");
    assert_eq!(odd.primary_key, ["b", "a"]);
    assert_eq!(odd.foreign_keys[0].table, TableName::new("shop", "customers"));
    assert_eq!(
        (&odd.foreign_keys[0].columns[..], &odd.foreign_keys[0].referenced[..]),
        (&["b".into()][..], &["id".into()][..])
    );

    let events = find(&tables, "events");
    assert_eq!(events.relations.len(), 4);
    let pages = events.relations.iter().find(|relation| relation.name.name == "events_2").unwrap().pages;
    assert!(pages > 10 && events.pages() == pages && events.pages_max() == pages);
    assert!(events.columns[0].is_not_null);
    // A child may hold what its parent must not.
    assert!(!find(&tables, "parent").columns[0].is_not_null && find(&tables, "child").columns[0].is_not_null);
    assert!(!find(&tables, "far").columns[0].is_not_null);
    assert!(find(&tables, "hidden").has_row_security && !find(&tables, "summary").is_populated);

    let error = inspect(&client, &["shop".to_owned(), "shpo".to_owned()]).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::NotFound, "schema shpo of the source does not exist"));
    assert_eq!(error.hint(), Some("there are: public, shop"));
}

#[tokio::test]
async fn the_fingerprint_changes_with_what_matters() {
    let server = Postgres::start();
    let source = SourceConfig::parse(&server.database("fingerprint")).unwrap();
    server.psql("fingerprint", SCHEMA);
    let client = source.connect().await.unwrap();
    let steps = [
        ("INSERT INTO shop.events VALUES ('2021-06-06', 1)", "events", false),
        ("ANALYZE shop.events", "events", false),
        ("TRUNCATE shop.events_2", "events", true),
        ("CREATE TABLE shop.events_3 PARTITION OF shop.events DEFAULT", "events", true),
        ("VACUUM FULL shop.customers", "customers", true),
        ("GRANT SELECT ON shop.customers TO PUBLIC", "customers", false),
        ("ALTER TABLE shop.customers RENAME email TO mail", "customers", true),
        ("ALTER TYPE shop.mood ADD VALUE 'glad'", "customers", true),
        ("ALTER TABLE shop.customers ALTER name DROP NOT NULL", "customers", true),
        ("REFRESH MATERIALIZED VIEW shop.summary", "summary", true),
    ];
    for (sql, table, changes) in steps {
        let schemas = ["shop".to_owned()];
        let before = find(&inspect(&client, &schemas).await.unwrap(), table).fingerprint();
        server.psql("fingerprint", sql);
        let after = find(&inspect(&client, &schemas).await.unwrap(), table).fingerprint();
        assert_eq!(before != after, changes, "{sql}");
    }
}

#[tokio::test]
async fn missing_grants_are_listed_with_their_mend() {
    let server = Postgres::start();
    server.database("grants");
    server.psql("grants", SCHEMA);
    server.psql("grants", "DROP ROLE IF EXISTS \"re ader\"; CREATE ROLE \"re ader\" LOGIN PASSWORD 'x'");
    server.psql(
        "grants",
        "GRANT SELECT (id) ON shop.customers TO \"re ader\"; GRANT SELECT ON shop.events TO \"re ader\"",
    );
    let source = SourceConfig::parse(&server.url_as("re ader", "x", "grants")).unwrap();
    let client = source.connect().await.unwrap();
    // Looking needs no grant.
    let tables = inspect(&client, &["shop".to_owned()]).await.unwrap();
    let chosen: Vec<_> = [("customers", vec!["id"]), ("events", vec!["n"]), ("hidden", vec!["id"])]
        .into_iter()
        .map(|(name, columns)| (find(&tables, name), columns))
        .collect();
    let error = require_select("re ader", &chosen).unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    let message = "role \"re ader\" may not read 3 tables of the source: shop.customers, shop.events, shop.hidden";
    assert_eq!(error.message(), message);
    server.psql("grants", error.hint().unwrap());
    let tables = inspect(&client, &["shop".to_owned()]).await.unwrap();
    let chosen: Vec<_> = [("customers", vec!["id"]), ("hidden", vec!["id"])]
        .into_iter()
        .map(|(name, columns)| (find(&tables, name), columns))
        .collect();
    require_select("re ader", &chosen).unwrap();
    assert!(!find(&tables, "customers").is_lockable && find(&tables, "events").is_lockable);
    let error = require_select("re ader", &[(find(&tables, "customers"), vec!["id", "name"])]).unwrap_err();
    assert_eq!(error.message(), "role \"re ader\" may not read 1 table of the source: shop.customers");
}

/// What asks for privileges knows of a drop at once, the catalogs of an older snapshot do not. Who locks the table finds out.
#[tokio::test]
async fn a_table_that_is_dropped_meanwhile_is_no_riddle() {
    let server = Postgres::start();
    let source = SourceConfig::parse(&server.database("inspect_drop")).unwrap();
    server.psql("inspect_drop", "CREATE TABLE gone (id int); CREATE TABLE stays (id int)");
    let client = source.connect().await.unwrap();
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_catalog.pg_class LIMIT 1")
        .await
        .unwrap();
    server.psql("inspect_drop", "DROP TABLE gone");
    let tables = inspect(&client, &["public".to_owned()]).await.unwrap();
    assert!(find(&tables, "gone").columns[0].is_select_allowed && find(&tables, "stays").columns[0].is_select_allowed);
}
