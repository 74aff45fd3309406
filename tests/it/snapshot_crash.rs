//! Runs that are killed, stopped, cut off and starved: the snapshot before is served, or a complete new one, and nothing else.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pilaster::{
    postgres::SourceConfig,
    store::{Manifest, PruneOptions, SnapshotVersion, Verification},
};

use crate::{
    support::Postgres,
    support_pilaster::{Finished, Pilaster},
    support_snapshot::{Folder, block_on, data_files, eventually, named_files, store_at, table_of},
};

const ACCOUNTS: i32 = 20_000;
const OPENING: i64 = 1_000;
const WRITERS: usize = 4;

/// A bank whose tables are split into several parts: each account's balance is the sum of its ledger, always.
struct Bank {
    url: String,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<u64>>,
}

impl Bank {
    fn open(database: &str) -> Self {
        let server = Postgres::start();
        let url = server.database(database);
        server.psql(
            database,
            &format!(
                "CREATE TABLE accounts (id int PRIMARY KEY, balance int8 NOT NULL, pad text); \
                 CREATE TABLE ledger (id bigserial PRIMARY KEY, account int NOT NULL, delta int8 NOT NULL); \
                 INSERT INTO accounts SELECT i, {OPENING}, repeat('x', 200) FROM generate_series(1, {ACCOUNTS}) i; \
                 INSERT INTO ledger (account, delta) SELECT i, {OPENING} FROM generate_series(1, {ACCOUNTS}) i"
            ),
        );
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..WRITERS)
            .map(|writer| {
                let (url, stop) = (url.clone(), Arc::clone(&stop));
                thread::spawn(move || block_on(transfer(&url, &stop, writer as u64)))
            })
            .collect();
        Self { url, stop, writers }
    }

    fn snapshot(&self, store: &Path) -> Pilaster {
        Pilaster::snapshot(&self.url, store)
            .env("PILASTER__SNAPSHOT__PART_BYTES", "1MiB")
            .env("PILASTER__SNAPSHOT__CONNECTIONS", "3")
    }

    /// A run that must succeed. A session of a killed run may hold its lock until the server has noticed.
    fn snapshot_when_free(&self, store: &Path) -> Finished {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let finished = self.snapshot(store).run();
            let is_refused = finished.stderr.contains("another run is under way");
            if !is_refused || Instant::now() > deadline {
                return finished.success();
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops the writers and says how many transfers there were.
    fn close(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    }
}

/// Moves money until told to stop. Rows move to other pages with each update, so a part that saw another instant would show.
async fn transfer(url: &str, stop: &AtomicBool, seed: u64) -> u64 {
    let client = SourceConfig::parse(url).unwrap().connect().await.unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut transfers = 0;
    while !stop.load(Ordering::Relaxed) {
        let (one, other, amount) = (random.i32(1..=ACCOUNTS), random.i32(1..=ACCOUNTS), random.i64(1..100));
        // In order of their ids, so that writers do not deadlock. One message is one transaction.
        let (first, second) = (one.min(other), one.max(other));
        let sql = format!(
            "UPDATE accounts SET balance = balance - {amount} WHERE id = {first}; \
             INSERT INTO ledger (account, delta) VALUES ({first}, -{amount}), ({second}, {amount}); \
             UPDATE accounts SET balance = balance + {amount} WHERE id = {second}"
        );
        client.batch_execute(&sql).await.unwrap();
        transfers += 1;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    transfers
}

/// Holds what the bank promises, of one snapshot, from its files alone.
#[track_caller]
fn check_books(store: &Folder, manifest: &Manifest) {
    let version = manifest.version;
    let number = |value: &Option<String>| value.as_ref().unwrap().parse::<i64>().unwrap();
    assert!(table_of(manifest, "accounts").files.len() >= 3, "snapshot {version} is not split, and proves little");
    let mut ledger: HashMap<i64, i64> = HashMap::new();
    for row in store.rows(manifest, "ledger") {
        *ledger.entry(number(&row[1])).or_default() += number(&row[2]);
    }
    let accounts = store.rows(manifest, "accounts");
    assert_eq!(accounts.len(), ACCOUNTS as usize, "accounts of snapshot {version}");
    let total: i64 = accounts.iter().map(|row| number(&row[1])).sum();
    assert_eq!(total, i64::from(ACCOUNTS) * OPENING, "money of snapshot {version}");
    for row in accounts {
        let (id, balance) = (number(&row[0]), number(&row[1]));
        assert_eq!(Some(&balance), ledger.get(&id), "account {id} of snapshot {version}");
    }
}

#[test]
fn a_run_killed_at_any_moment_leaves_the_old_snapshot_or_a_whole_new_one() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let bank = Bank::open("crash_kill");
    let store = Folder::new();
    bank.snapshot(store.path()).run().success();
    let began = Instant::now();
    bank.snapshot(store.path()).run().success();
    let mut whole = began.elapsed();
    let (mut version, mut published, mut left_over) = (2, 0, 0);
    for kill in 0..20 {
        // Every other kill falls near the end, where files become a snapshot.
        let moment = if kill % 2 == 0 { random.f64() } else { 0.75 + random.f64() * 0.75 };
        let run = bank.snapshot(store.path()).spawn();
        thread::sleep(whole.mul_f64(moment));
        run.kill();
        let newest = store.newest();
        let found = store.versions()[0];
        assert_eq!(newest.version.to_string(), found.to_string(), "kill {kill}: a version is broken");
        assert!(found == version || found == version + 1, "kill {kill}: {version} became {found}");
        assert!(store.data_files().is_superset(&named_files(&newest)));
        published += u32::from(found > version);
        // A machine that was slow when the whole run was timed is not so for long.
        whole = whole.mul_f64(if found > version { 0.8 } else { 1.1 });
        left_over += u32::from(!store.data_files().is_subset(&all_named(&store)));
        check_books(&store, &newest);
        version = found;
        if kill % 4 == 3 {
            let finished = bank.snapshot_when_free(store.path());
            version += 1;
            assert!(finished.stdout.starts_with(&format!("snapshot {version} as of ")), "{}", finished.stdout);
            check_books(&store, &store.newest());
        }
    }
    bank.snapshot_when_free(store.path());
    version += 1;
    println!(
        "whole run {whole:?}; of 20 killed runs {published} had published; files were left over {left_over} times"
    );
    assert!(bank.close() > 100, "the writers did not run");
    assert_eq!(store.versions()[0], version);
    assert!(published < 20 && left_over > 0, "no kill hit the middle of a run");

    let pruned = block_on(store.store().prune(PruneOptions { versions_kept: 3, grace: Duration::ZERO })).unwrap();
    assert!(pruned.files > 0);
    let kept: Vec<Manifest> = manifests(&store).into_iter().take(3).collect();
    assert_eq!(store.data_files(), kept.iter().flat_map(named_files).collect());
    for manifest in &kept {
        block_on(store.store().verify(manifest, Verification::Full)).unwrap();
    }
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'crash_kill' AND pid <> pg_backend_pid()";
    eventually("the source has no session of ours", || Postgres::start().psql("crash_kill", sessions) == "0");
}

#[test]
fn tables_of_one_snapshot_are_of_one_instant() {
    let bank = Bank::open("crash_instant");
    let store = Folder::new();
    let mut sizes = Vec::new();
    for _ in 0..5 {
        bank.snapshot(store.path()).run().success();
        let newest = store.newest();
        check_books(&store, &newest);
        sizes.push(table_of(&newest, "ledger").row_count);
    }
    assert!(bank.close() > 100, "the writers did not run");
    assert!(sizes.is_sorted() && sizes[0] < sizes[4], "the ledger did not grow: {sizes:?}");
}

/// All manifests, newest first.
fn manifests(store: &Folder) -> Vec<Manifest> {
    let opened = store.store();
    let versions: Vec<SnapshotVersion> = block_on(opened.versions()).unwrap();
    versions.into_iter().map(|version| block_on(opened.manifest(version)).unwrap()).collect()
}

fn all_named(store: &Folder) -> std::collections::BTreeSet<String> {
    manifests(store).iter().flat_map(named_files).collect()
}

/// A table whose copy takes `rows` × 10 ms, because its column's cast to text sleeps.
fn slow_table(server: &Postgres, database: &str, rows: u32) -> String {
    let url = server.database(database);
    server.psql(
        database,
        &format!(
            "CREATE TYPE slow AS (a int); \
             CREATE FUNCTION slow_text(slow) RETURNS text LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_catalog.pg_sleep(0.01); RETURN ($1).a::pg_catalog.text; END'; \
             CREATE CAST (slow AS text) WITH FUNCTION slow_text(slow); \
             CREATE TABLE quick AS SELECT i AS id FROM generate_series(1, 1000) i; \
             CREATE TABLE slow_one (id int, v slow); \
             INSERT INTO slow_one SELECT i, ROW(i)::slow FROM generate_series(1, {rows}) i"
        ),
    );
    url
}

const COPYING: &str = "datname = current_database() AND state = 'active' AND query LIKE 'COPY%slow_one%'";

/// Waits until the slow table is being copied.
fn wait_for_copy(server: &Postgres, database: &str) {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE {COPYING} AND pid <> pg_backend_pid()");
    eventually("the slow table is being copied", || server.psql(database, &sql) != "0");
}

/// Nothing of ours is left in the database: no session, so no transaction and no lock.
fn wait_for_nobody(server: &Postgres, database: &str) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    eventually("the source has no session of ours", || server.psql(database, sql) == "0");
}

#[test]
fn a_terminated_session_fails_the_run_and_leaves_nothing() {
    let server = Postgres::start();
    let check = |name: &str, whom: &str, expect: &[&str]| {
        let database = format!("crash_{name}");
        let url = slow_table(server, &database, 100);
        let store = Folder::new();
        Pilaster::snapshot(&url, store.path()).run().success();
        let before = (store.data_files(), store.newest());
        server.psql(&database, "INSERT INTO slow_one SELECT i, ROW(i)::slow FROM generate_series(1, 200) i");
        let run = Pilaster::snapshot(&url, store.path()).spawn();
        wait_for_copy(server, &database);
        let terminated = server.psql(
            &database,
            &format!(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {whom} AND pid <> pg_backend_pid()"
            ),
        );
        assert_eq!(terminated, "1", "{name}");
        let error = run.wait().failure();
        for expect in expect {
            assert!(error.contains(expect), "{name}: {error}");
        }
        assert_eq!((store.data_files(), store.newest()), before, "{name}");
        assert_eq!(store.versions(), [1], "{name}");
        wait_for_nobody(server, &database);
        Pilaster::snapshot(&url, store.path()).run().success();
        assert_eq!(store.newest().row_count(), 1300, "{name}");
    };
    check("worker", COPYING, &["table public.slow_one", "terminating connection due to administrator command"]);
    let lock = "datname = current_database() AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')";
    check("lock", lock, &["the run lost its lock, and gives up rather than publish late"]);
}

#[test]
fn an_interrupted_run_publishes_nothing() {
    let server = Postgres::start();
    let url = slow_table(server, "crash_interrupt", 100);
    let store = Folder::new();
    Pilaster::snapshot(&url, store.path()).run().success();
    let before = store.newest();
    let run = Pilaster::snapshot(&url, store.path()).spawn();
    wait_for_copy(server, "crash_interrupt");
    run.signal("INT");
    let error = run.wait().failure();
    assert!(error.contains("error: stopped; the snapshot before is untouched"), "{error}");
    assert_eq!((store.versions(), store.newest()), (vec![1], before));
    wait_for_nobody(server, "crash_interrupt");
    Pilaster::snapshot(&url, store.path()).run().success();
    assert_eq!(store.versions(), [2, 1]);
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_copy_fails_the_run() {
    let server = Postgres::private(&[], "");
    let url = slow_table(&server, "crash_server", 100);
    let store = Folder::new();
    Pilaster::snapshot(&url, store.path()).run().success();
    let before = (store.data_files(), store.newest());
    server.psql("crash_server", "INSERT INTO slow_one SELECT i, ROW(i)::slow FROM generate_series(1, 1000) i");
    let run = Pilaster::snapshot(&url, store.path()).spawn();
    wait_for_copy(&server, "crash_server");
    let pid = std::fs::read_to_string(server.directory().join("data/postmaster.pid")).unwrap();
    // An immediate shutdown: sessions end as they do when the machine goes away, without a word to their transactions.
    assert!(Command::new("kill").args(["-QUIT", pid.lines().next().unwrap()]).status().unwrap().success());
    let began = Instant::now();
    let error = run.wait().failure();
    assert!(began.elapsed() < Duration::from_secs(20), "it took {:?} to notice", began.elapsed());
    assert!(error.contains("table public.slow_one") || error.contains("connection"), "{error}");
    assert_eq!((store.data_files(), store.newest()), before);
    // And while the server is away, the run says so and the store is as it was.
    let error = Pilaster::snapshot(&url, store.path()).run().failure();
    assert!(error.contains("127.0.0.1"), "{error}");
    assert_eq!(store.newest(), before.1);
}

#[test]
fn a_stopped_writer_that_resumes_loses() {
    let server = Postgres::start();
    let url = slow_table(server, "crash_stale", 100);
    let store = Folder::new();
    let stale = Pilaster::snapshot(&url, store.path()).spawn();
    wait_for_copy(server, "crash_stale");
    stale.signal("STOP");
    // Its sessions end as they do when a network has forgotten a frozen machine.
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_ne!(server.psql("crash_stale", sql), "0");
    wait_for_nobody(server, "crash_stale");
    Pilaster::snapshot(&url, store.path()).run().success();
    let winner = store.newest();
    stale.signal("CONT");
    stale.wait().failure();
    assert_eq!((store.versions(), store.newest()), (vec![1], winner.clone()));
    assert_eq!(store.data_files(), named_files(&winner));
}

/// A file system that is soon full. Unmounted when dropped.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// None where mounting is not permitted.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("pilaster-small-").tempdir().unwrap().keep();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&folder).output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self { folder });
        }
        println!("skipped: a small tmpfs cannot be mounted here: {mounted:?}");
        drop(std::fs::remove_dir(&folder));
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.folder).status());
        drop(std::fs::remove_dir(&self.folder));
    }
}

#[test]
fn a_full_disk_fails_the_run_and_leaves_nothing() {
    let Some(disk) = SmallDisk::mount("8m") else { return };
    let server = Postgres::start();
    let url = server.database("crash_full");
    server.psql("crash_full", "CREATE TABLE big AS SELECT sha256(i::text::bytea) AS v FROM generate_series(1, 1000) i");
    Pilaster::snapshot(&url, &disk.folder).run().success();
    let before = data_files(&disk.folder);
    // What hashes to nothing shorter: 20 MB that do not compress.
    server.psql("crash_full", "INSERT INTO big SELECT sha256(i::text::bytea) FROM generate_series(1, 600000) i");
    for part_bytes in ["1MiB", "256MiB"] {
        let run = Pilaster::snapshot(&url, &disk.folder).env("PILASTER__SNAPSHOT__PART_BYTES", part_bytes).run();
        let error = run.failure();
        assert!(error.contains("table public.big") && error.contains("No space left on device"), "{error}");
        assert!(error.contains("hint: free some space; the snapshot before this run is still served"), "{error}");
        assert_eq!(data_files(&disk.folder), before);
        let newest = block_on(store_at(&disk.folder).newest(Verification::Full)).unwrap().unwrap();
        assert_eq!((newest.version.to_string().as_str(), newest.row_count()), ("1", 1000));
    }
    server.psql("crash_full", "TRUNCATE big; INSERT INTO big VALUES ('x')");
    Pilaster::snapshot(&url, &disk.folder).run().success();
}
