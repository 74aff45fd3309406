//! TPC-H's 22 queries with the specification's validation parameters, on Postgres and on the engine.
//!
//! Scale factor 0.01, or what `TPCH_SCALE` says.

use std::time::{Duration, Instant};

use crate::{
    compare::{Rows, Tally, compare},
    support::Postgres,
    support_server::{Reply, Settings, take_snapshot},
    support_tpch::{QUERIES, SCHEMA, load, scale},
};

/// Columns that come from a division or an average.
const QUOTIENTS: &[(&str, &[&str])] = &[
    ("q01", &["avg_qty", "avg_price", "avg_disc"]),
    ("q08", &["mkt_share"]),
    ("q14", &["promo_revenue"]),
    ("q17", &["avg_yearly"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn all_22_queries_answer_as_postgres_does() {
    check("tpch", SCHEMA).await;
}

/// The same with text of varying length, as most applications have it.
#[tokio::test(flavor = "multi_thread")]
async fn all_22_queries_answer_as_postgres_does_with_varying_text() {
    let schema = SCHEMA.replace(" char(", " varchar(");
    check("tpch_varying", &schema).await;
}

async fn check(database: &str, schema: &str) {
    let scale = scale(0.01);
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
    tally.check();
}
