//! What the tenant barrier costs: a table of many tenants, asked by one of them through the barrier, and by somebody who sees all with the
//! same condition in the SQL, in turn, printed as Markdown with what each has read.
//!
//! `cargo bench --bench tenants` starts a private Postgres, makes `TENANTS_ROWS` rows (10,000,000 by default) of 100 tenants, takes a
//! snapshot and asks. Machines differ and are noisy: read the ratios.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on has failed, and prints")]

#[path = "support/server.rs"]
mod server;
#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod support;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use server::{Server, median, timed};
use support::Postgres;

const RUNS: usize = 31;
const TENANTS: u32 = 100;
const TENANT: u32 = 42;
const CONFIG: &str = "[tables.\"public.events\"]\ntenant = \"tenant_id\"\n";
const QUERIES: &[(&str, &str)] = &[
    ("count", "SELECT count(*) AS n FROM events WHERE {}"),
    ("by kind", "SELECT kind, count(*) AS n, sum(amount) AS amount FROM events WHERE {} GROUP BY kind ORDER BY kind"),
    (
        "by month",
        "SELECT date_trunc('month', at) AS month, count(DISTINCT user_id) AS users, avg(amount) AS mean FROM events WHERE {} GROUP BY 1 ORDER BY 1",
    ),
    (
        "last week",
        "SELECT count(*) AS n, max(amount) AS most FROM events WHERE {} AND at >= timestamptz '2025-12-24 00:00:00+00'",
    ),
    (
        "all columns",
        "SELECT max(id) AS id, max(kind) AS kind, max(at) AS at, max(amount) AS amount, max(user_id) AS user_id, max(note) AS note FROM events WHERE {}",
    ),
];

fn main() {
    let rows: u64 = setting("TENANTS_ROWS").unwrap_or(10_000_000);
    let postgres = Postgres::private(
        &["shared_buffers = 1GB", "max_wal_size = 8GB", "wal_level = minimal", "max_wal_senders = 0"],
        "",
    );
    let url = postgres.database("tenants");
    postgres.psql(
        "tenants",
        &format!(
            "CREATE TABLE events AS SELECT n AS id, (hashint8(n) & 2147483647) % {TENANTS} AS tenant_id, (hashint8(n + 1) & 2147483647) % 5000 AS user_id, \
             (ARRAY['view', 'click', 'buy', 'leave'])[1 + (hashint8(n + 2) & 2147483647) % 4] AS kind, \
             timestamptz '2025-01-01 00:00:00+00' + n * interval '1 year' / {rows} AS at, ((hashint8(n + 3) & 2147483647) % 100000 / 100.0)::numeric(10,2) AS amount, \
             md5(n::text) AS note FROM generate_series(1, {rows}) AS n"
        ),
    );
    let folder = tempfile::tempdir().unwrap();
    let (store, config) = (folder.path().join("store"), folder.path().join("pilaster.toml"));
    std::fs::write(&config, CONFIG).unwrap();
    let snapshot = Command::new(env!("CARGO_BIN_EXE_pilaster"))
        .args([
            "snapshot",
            "--postgres",
            &url,
            "--store",
            store.to_str().unwrap(),
            "--config",
            config.to_str().unwrap(),
        ])
        .stdout(Stdio::null())
        .status();
    assert!(snapshot.unwrap().success(), "the snapshot failed");
    let server = Server::start(&store, &["--config", config.to_str().unwrap()]);
    println!(
        "{rows} rows of {TENANTS} tenants, medians of {RUNS} runs. Read: rows of the files, and bytes, for one question.\n"
    );
    println!(
        "| question | all tenants | one, by its condition | one, by the barrier | barrier is | rows read: all, one | bytes read: all, one |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let header = format!("pilaster-tenant: {TENANT}\r\n");
    let mut logarithm = 0.0;
    for (name, sql) in QUERIES {
        let (of_all, plain) = (sql.replace("{}", "true"), sql.replace("{}", &format!("tenant_id = {TENANT}")));
        let (all_read, _) = read_by(&server, || server.ask(&of_all, ""));
        let (plain_read, by_condition) = read_by(&server, || server.ask(&plain, ""));
        let (barrier_read, by_barrier) = read_by(&server, || server.ask(&of_all, &header));
        assert_eq!(body(&by_condition), body(&by_barrier), "{name}");
        assert!(barrier_read.0 <= plain_read.0, "the barrier reads no more rows: {barrier_read:?} and {plain_read:?}");
        let (mut all, mut condition, mut barrier) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..RUNS {
            if run < 5 {
                all.push(timed(|| drop(server.ask(&of_all, ""))));
            }
            condition.push(timed(|| drop(server.ask(&plain, ""))));
            barrier.push(timed(|| drop(server.ask(&of_all, &header))));
        }
        let [all, condition, barrier] = [all, condition, barrier].map(median);
        let ratio = barrier.as_secs_f64() / condition.as_secs_f64();
        logarithm += ratio.ln();
        println!(
            "| {name} | {} | {} | {} | {ratio:.2}× | {}, {} | {}, {} |",
            shown(all),
            shown(condition),
            shown(barrier),
            all_read.0,
            barrier_read.0,
            all_read.1,
            barrier_read.1
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let mean = (logarithm / QUERIES.len() as f64).exp();
    println!("\nThe barrier takes {mean:.2}× the time of the condition, in the geometric mean.");
}

fn shown(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn body(reply: &str) -> &str {
    reply.split_once("\r\n\r\n").unwrap().1
}

/// Rows and bytes that the engine read meanwhile.
fn read_by(server: &Server, ask: impl FnOnce() -> String) -> ((u64, u64), String) {
    let counted = || {
        let metrics = server.get("/metrics").unwrap();
        let of = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
            line.trim().parse::<u64>().unwrap()
        };
        (of("pilaster_engine_rows_read_total"), of("pilaster_engine_bytes_read_total"))
    };
    let before = counted();
    let reply = ask();
    // They are counted when the plan is dropped, after the last row.
    std::thread::sleep(Duration::from_millis(100));
    let after = counted();
    ((after.0 - before.0, after.1 - before.1), reply)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark's own switch is not configuration")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
