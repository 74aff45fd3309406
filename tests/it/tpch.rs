//! TPC-H's 22 queries with the specification's validation parameters, on Postgres and on the engine.
//!
//! Scale factor 0.01, or what `TPCH_SCALE` says.

use std::{
    fmt::Display,
    io::{BufWriter, Write},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};

use crate::{
    compare::{Rows, Tally, compare},
    support::Postgres,
    support_server::{Reply, Settings, take_snapshot},
};

/// Columns that come from a division or an average.
const QUOTIENTS: &[(&str, &[&str])] = &[
    ("q01", &["avg_qty", "avg_price", "avg_disc"]),
    ("q08", &["mkt_share"]),
    ("q14", &["promo_revenue"]),
    ("q17", &["avg_yearly"]),
];
const QUERIES: &[(&str, &str)] = &[
    ("q01", include_str!("tpch/q01.sql")),
    ("q02", include_str!("tpch/q02.sql")),
    ("q03", include_str!("tpch/q03.sql")),
    ("q04", include_str!("tpch/q04.sql")),
    ("q05", include_str!("tpch/q05.sql")),
    ("q06", include_str!("tpch/q06.sql")),
    ("q07", include_str!("tpch/q07.sql")),
    ("q08", include_str!("tpch/q08.sql")),
    ("q09", include_str!("tpch/q09.sql")),
    ("q10", include_str!("tpch/q10.sql")),
    ("q11", include_str!("tpch/q11.sql")),
    ("q12", include_str!("tpch/q12.sql")),
    ("q13", include_str!("tpch/q13.sql")),
    ("q14", include_str!("tpch/q14.sql")),
    ("q15", include_str!("tpch/q15.sql")),
    ("q16", include_str!("tpch/q16.sql")),
    ("q17", include_str!("tpch/q17.sql")),
    ("q18", include_str!("tpch/q18.sql")),
    ("q19", include_str!("tpch/q19.sql")),
    ("q20", include_str!("tpch/q20.sql")),
    ("q21", include_str!("tpch/q21.sql")),
    ("q22", include_str!("tpch/q22.sql")),
];

#[tokio::test(flavor = "multi_thread")]
async fn all_22_queries_answer_as_postgres_does() {
    check("tpch", include_str!("tpch/schema.sql")).await;
}

/// The same with text of varying length, as most applications have it.
#[tokio::test(flavor = "multi_thread")]
async fn all_22_queries_answer_as_postgres_does_with_varying_text() {
    let schema = include_str!("tpch/schema.sql").replace(" char(", " varchar(");
    check("tpch_varying", &schema).await;
}

async fn check(database: &str, schema: &str) {
    let scale = scale();
    let url = Postgres::start().database(database);
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    load(&url, schema, folder.path(), scale);
    let loaded = began.elapsed();
    let store = folder.path().join("store");
    take_snapshot(&url, &store);
    eprintln!("TPC-H at scale {scale}: loaded in {loaded:.1?}, snapshot in {:.1?}", began.elapsed() - loaded);
    let server = Settings::replica(&store).env("PILASTER__ENGINE__TIMEOUT", "60s").start();

    let mut broken = Vec::new();
    let mut tally = Tally::default();
    let (mut theirs_took, mut ours_took) = (Duration::ZERO, Duration::ZERO);
    for (name, sql) in QUERIES {
        let began = Instant::now();
        let reply = Reply::of(server.sql(sql)).await;
        ours_took += began.elapsed();
        if reply.status != 200 {
            broken.push(format!("{name}: {}", reply.text()));
            continue;
        }
        let began = Instant::now();
        let theirs = Rows::on_postgres(&url, sql).await;
        theirs_took += began.elapsed();
        let quotients = QUOTIENTS.iter().find(|(query, _)| query == name).map_or(&[][..], |(_, columns)| columns);
        tally.add(name, "", compare(&theirs, &Rows::from_json(&reply.json()), |_, column| quotients.contains(&column)));
    }
    eprintln!("the queries took Postgres {theirs_took:.1?} and Pilaster {ours_took:.1?}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    tally.check(&[], &[]);
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch is not configuration")]
fn scale() -> f64 {
    std::env::var("TPCH_SCALE").map_or(0.01, |scale| scale.parse().expect("TPCH_SCALE is a number"))
}

fn load(url: &str, schema: &str, folder: &Path, scale: f64) {
    let tables = [
        write(folder, "region", RegionGenerator::new(scale, 1, 1).iter()),
        write(folder, "nation", NationGenerator::new(scale, 1, 1).iter()),
        write(folder, "part", PartGenerator::new(scale, 1, 1).iter()),
        write(folder, "supplier", SupplierGenerator::new(scale, 1, 1).iter()),
        write(folder, "partsupp", PartSuppGenerator::new(scale, 1, 1).iter()),
        write(folder, "customer", CustomerGenerator::new(scale, 1, 1).iter()),
        write(folder, "orders", OrderGenerator::new(scale, 1, 1).iter()),
        write(folder, "lineitem", LineItemGenerator::new(scale, 1, 1).iter()),
    ];
    let mut psql = Command::new("psql");
    psql.args([url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", schema]);
    for copy in &tables {
        psql.args(["-c", copy]);
    }
    psql.args(["-c", include_str!("tpch/indexes.sql")]);
    assert!(psql.status().unwrap().success(), "TPC-H cannot be loaded");
}

/// Writes a table's rows as the specification's own tool does, and says how psql reads them.
fn write(folder: &Path, table: &str, rows: impl Iterator<Item = impl Display>) -> String {
    let path = folder.join(table);
    let mut file = BufWriter::new(std::fs::File::create(&path).unwrap());
    for row in rows {
        let row = row.to_string();
        // The tool ends the last field too.
        writeln!(file, "{}", row.strip_suffix('|').unwrap()).unwrap();
    }
    file.flush().unwrap();
    format!("\\copy {table} FROM '{}' WITH (DELIMITER '|')", path.display())
}
