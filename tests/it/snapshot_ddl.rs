//! DDL at any moment of a run: a snapshot shows the tables before it or after it, whole; nobody waits for ever.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    support::Postgres,
    support_pilaster::Pilaster,
    support_snapshot::{Folder, eventually, table_of},
};

const ROWS: u64 = 40_000;
const DATABASE: &str = "snapshot_ddl";

/// `psql` that runs a script by itself, so that the run and the DDL meet.
fn psql_in_background(server: &Postgres, database: &str, sql: &str) -> Child {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-c", sql]);
    command.args(["-h", server.directory().to_str().unwrap(), "-p", &server.port().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for it, and panics when it hangs or fails; says how long it took.
#[track_caller]
fn finish(mut child: Child, what: &str) -> Duration {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("{what} hangs");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    began.elapsed()
}

/// The tables `t`, large enough for several parts, and `marker`, in which the DDL's own transaction leaves a row: a snapshot
/// that has the row must have the DDL, and one that has not must not.
fn reset(server: &Postgres) {
    server.psql(
        DATABASE,
        &format!(
            "DROP TABLE IF EXISTS t, marker; CREATE TABLE marker (id int); \
             CREATE TABLE t AS SELECT i AS id, i * 2 AS v, repeat('x', 100) AS pad FROM generate_series(1, {ROWS}) i"
        ),
    );
}

#[test]
fn a_snapshot_shows_all_of_the_ddl_or_none_of_it() {
    let server = Postgres::start();
    let url = server.database(DATABASE);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let store = Folder::new();
    let snapshot = || {
        let run = Pilaster::snapshot(&url, store.path()).env("PILASTER__SNAPSHOT__PART_BYTES", "1MiB");
        run.env("PILASTER__SNAPSHOT__CONNECTIONS", "3").spawn()
    };
    reset(server);
    snapshot().wait().success();
    let began = Instant::now();
    snapshot().wait().success();
    let whole = began.elapsed();

    let all = (Some(ROWS), vec!["id", "v", "pad"]);
    let cases: &[(&str, (Option<u64>, Vec<&str>))] = &[
        ("TRUNCATE t", (Some(0), vec!["id", "v", "pad"])),
        ("ALTER TABLE t ADD COLUMN extra int DEFAULT 7", (Some(ROWS), vec!["id", "v", "pad", "extra"])),
        ("ALTER TABLE t DROP COLUMN v", (Some(ROWS), vec!["id", "pad"])),
        ("ALTER TABLE t ALTER COLUMN v TYPE text", (Some(ROWS), vec!["id", "v", "pad"])),
        ("DROP TABLE t", (None, vec![])),
    ];
    let (mut before, mut after, mut failed, mut longest) = (0, 0, 0, Duration::ZERO);
    for round in 0..6 {
        for (ddl, changed) in cases {
            reset(server);
            let versions = store.versions().len();
            let run = snapshot();
            // Most of what can go wrong is at the beginning, where locks and the snapshot are taken.
            let scale = if round % 2 == 0 { 0.4 } else { 1.0 };
            thread::sleep(whole.mul_f64(random.f64() * scale));
            let sql = format!("BEGIN; {ddl}; INSERT INTO marker VALUES (1); COMMIT");
            longest = longest.max(finish(psql_in_background(server, DATABASE, &sql), ddl));
            let finished = run.wait();
            if !finished.status.success() {
                let error = finished.failure();
                assert!(error.contains("lock") || error.contains("definitions changed"), "{ddl}: {error}");
                assert_eq!(store.versions().len(), versions, "{ddl}");
                failed += 1;
                continue;
            }
            assert_eq!(store.versions().len(), versions + 1, "{ddl}");
            let manifest = store.newest();
            let is_after = table_of(&manifest, "marker").row_count == 1;
            let name = pilaster::store::TableName::new("public", "t");
            let seen = manifest.table(&name).map_or((None, vec![]), |table| {
                (Some(table.row_count), table.columns.iter().map(|column| column.name.as_str()).collect())
            });
            assert_eq!(&seen, if is_after { changed } else { &all }, "{ddl}, marker {is_after}");
            if let Some(table) = manifest.table(&name) {
                let rows = store.rows(&manifest, "t");
                assert_eq!(rows.len() as u64, table.row_count);
                let at = |column: &str| table.columns.iter().position(|known| known.name == column);
                for row in rows {
                    let value = |column| at(column).map(|index| row[index].as_deref().unwrap());
                    let twice = (value("id").unwrap().parse::<u64>().unwrap() * 2).to_string();
                    assert!(value("v").is_none_or(|v| v == twice), "{ddl}: {row:?}");
                    assert!(value("extra").is_none_or(|extra| extra == "7"), "{ddl}: {row:?}");
                }
            }
            before += u32::from(!is_after);
            after += u32::from(is_after);
        }
    }
    println!(
        "whole run {whole:?}; {before} before the DDL, {after} after it, {failed} failed; DDL took up to {longest:?}"
    );
    assert!(before > 0 && after > 0, "the DDL never met a run");
    // DDL that has queued up keeps the application waiting too: the run must give way, not hold out.
    assert!(longest < Duration::from_secs(6), "DDL waited {longest:?} for a run of {whole:?}");
}

/// While a slow table is copied, an ALTER of another waits, new readers queue behind it, and all is well in the end.
#[test]
fn an_alter_that_waits_for_a_run_deadlocks_nobody() {
    let server = Postgres::start();
    let url = server.database("ddl_queue");
    server.psql(
        "ddl_queue",
        "CREATE TYPE slow AS (a int); \
         CREATE FUNCTION slow_text(slow) RETURNS text LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_catalog.pg_sleep(0.01); RETURN ($1).a::pg_catalog.text; END'; \
         CREATE CAST (slow AS text) WITH FUNCTION slow_text(slow); \
         CREATE TABLE a_slow AS SELECT ROW(i)::slow AS v FROM generate_series(1, 200) i; \
         CREATE TABLE b_quick AS SELECT i AS id FROM generate_series(1, 100) i",
    );
    let store = Folder::new();
    // One connection copies both tables: the second waits until the ALTER has queued up before it.
    let mut run = Pilaster::snapshot(&url, store.path()).env("PILASTER__SNAPSHOT__CONNECTIONS", "1").spawn();
    eventually("the slow table is being copied", || {
        server.psql("ddl_queue", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%a_slow%' AND state = 'active' AND pid <> pg_backend_pid()") != "0"
    });
    let alter = psql_in_background(server, "ddl_queue", "ALTER TABLE b_quick ADD COLUMN late int");
    eventually("the ALTER waits", || {
        server.psql(
            "ddl_queue",
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'ALTER%' AND wait_event_type = 'Lock'",
        ) == "1"
    });
    assert!(!run.has_ended());
    run.wait().success();
    finish(alter, "ALTER");
    let manifest = store.newest();
    assert_eq!(table_of(&manifest, "b_quick").columns.len(), 1);
    assert_eq!(manifest.row_count(), 300);
}

/// `snapshot.lock_timeout` bounds the wait for a table that somebody else holds, wherever in the run it is first touched.
#[test]
fn a_table_that_somebody_holds_is_waited_for_no_longer_than_the_setting() {
    let server = Postgres::start();
    let url = server.database("ddl_held");
    server.psql("ddl_held", "CREATE TABLE held (id int)");
    let hold = psql_in_background(server, "ddl_held", "BEGIN; LOCK TABLE held; SELECT pg_sleep(25)");
    eventually("the table is held", || {
        server.psql("ddl_held", "SELECT count(*) FROM pg_locks WHERE relation = 'held'::regclass AND granted") != "0"
    });
    let store = Folder::new();
    let began = Instant::now();
    let run = Pilaster::snapshot(&url, store.path()).env("PILASTER__SNAPSHOT__LOCK_TIMEOUT", "200ms").run();
    let took = began.elapsed();
    server.psql("ddl_held", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(25)%' AND pid <> pg_backend_pid()");
    drop(hold.wait_with_output());
    let error = run.failure();
    assert!(error.contains("hint: a statement such as ALTER TABLE or VACUUM FULL holds a table"), "{error}");
    assert!(error.contains("starting over: "), "{error}");
    assert!(took < Duration::from_secs(15), "it waited {took:?}");
    assert_eq!(store.versions(), Vec::<u64>::new());
    Pilaster::snapshot(&url, store.path()).run().success();
}
