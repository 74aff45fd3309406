//! `pilaster snapshot` as a person meets it: one run at a time, exact counts, bounded memory, files that are checked and pruned.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use pilaster::{
    error::Code,
    store::{Digest, Manifest, PruneOptions, Verification},
};

use crate::{
    support::Postgres,
    support_pilaster::Pilaster,
    support_snapshot::{Folder, batches, block_on, eventually, named_files, table_of},
};

#[test]
fn a_run_says_what_it_did() {
    let server = Postgres::start();
    let url = server.database("cli_summary");
    server.psql(
        "cli_summary",
        "CREATE TABLE users (id int PRIMARY KEY, email text, password_hash text, api_token text, token_count int, span int4range); \
         INSERT INTO users SELECT i, 'u' || i, 'hunter' || i, 'tok' || i, i, int4range(i, i + 5) FROM generate_series(1, 1234) i; \
         CREATE TABLE empty (id int)",
    );
    let store = Folder::new();
    let finished = Pilaster::snapshot(&url, store.path()).run().success();
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert!(lines[0].starts_with("snapshot 1 as of 2") && lines[0].ends_with(" UTC"), "{}", finished.stdout);
    assert!(lines[1].starts_with("1234 rows of 2 tables, ") && lines[1].ends_with(" rows/s"), "{}", finished.stdout);
    assert_eq!(lines[2], format!("store file://{}/", store.path().canonicalize().unwrap().display()));
    assert_eq!(
        lines[3..],
        [
            "left out because they look like secrets: public.users.password_hash, public.users.api_token",
            "  (copy one with include_columns in [tables.\"schema.table\"])",
            "copied as text: public.users.span int4range",
        ]
    );
    for expect in
        ["run 0", " for snapshot 1\n", "copying 2 tables as of ", "public.users: 1234 rows, ", "public.empty: 0 rows, "]
    {
        assert!(finished.stderr.contains(expect), "{expect:?} in {}", finished.stderr);
    }
    let manifest = store.newest();
    let users = table_of(&manifest, "users");
    let names: Vec<&str> = users.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "email", "token_count", "span"]);
    assert_eq!(users.excluded_columns, ["password_hash", "api_token"]);
    assert_eq!(users.primary_key, ["id"]);
    for file in store.data_files() {
        let bytes = std::fs::read(store.path().join(file)).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"hunter"), "a secret is in the store");
    }
    // The password of the connection string is nowhere either.
    let said = finished.stdout + &finished.stderr + &String::from_utf8(manifest.to_bytes()).unwrap();
    assert!(!said.contains("hush") && !said.contains("s3cret"), "{said}");
}

#[test]
fn mistakes_are_said_before_anything_is_written() {
    let server = Postgres::start();
    let url = server.database("cli_mistakes");
    server.psql("cli_mistakes", "CREATE TABLE t (id int, name text)");
    let check = |url: &str, config: &str, expect: &[&str]| {
        let store = Folder::new();
        let error = Pilaster::snapshot(url, store.path()).config(config).run().failure();
        for expect in expect {
            assert!(error.contains(expect), "{expect:?} in {error}");
        }
        assert_eq!((store.versions(), store.data_files()), (vec![], BTreeSet::new()), "{error}");
    };
    check(
        &url,
        "[tables.\"public.t\"]\nexclude_columns = [\"nmae\"]",
        &[
            "tables.\"public.t\".exclude_columns names \"nmae\", which it does not have",
            "hint: its columns are id, name",
        ],
    );
    check(&url, "[tables.\"public.t\"]\nhash_columns = [\"name\"]", &["is hashed, but there is no key", "hash_key"]);
    check(&url, "[snapshot]\nschemas = [\"nowhere\"]", &["nowhere", "public"]);
    check(&url, "[snapshot]\npart_bytes = \"4KiB\"", &["snapshot.part_bytes is less than 1 MiB"]);
    check(&url.replace("postgresql://postgres:", "postgresql://nobody_here:"), "", &["nobody_here"]);
    let error = Pilaster::command(&["snapshot"]).run().failure();
    assert!(error.contains("the source is not given") && error.contains("DATABASE_URL"), "{error}");
}

#[test]
fn a_second_run_is_refused_and_names_the_first() {
    let server = Postgres::start();
    let url = server.database("run_second");
    server.psql("run_second", "CREATE TABLE slow_lock (id int); INSERT INTO slow_lock VALUES (1)");
    let (store, other) = (Folder::new(), Folder::new());
    let count =
        |sql: &str| server.psql("run_second", &format!("SELECT count(*) FROM {sql} AND pid <> pg_backend_pid()"));
    std::thread::scope(|scope| {
        // The first run has its lock, and waits for a table.
        let hold = scope.spawn(|| {
            let sql = "DO $$ BEGIN LOCK TABLE slow_lock; WHILE NOT EXISTS (SELECT FROM pg_class WHERE relname = 'enough') \
                       LOOP PERFORM pg_sleep(0.02); END LOOP; END $$";
            server.psql("run_second", sql)
        });
        eventually("the table is held", || count("pg_locks WHERE relation = 'slow_lock'::regclass AND granted") != "0");
        let first = Pilaster::snapshot(&url, store.path()).spawn();
        eventually("the first run has its lock", || {
            count(
                "pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = 'run_second')",
            ) == "1"
        });
        let error = Pilaster::snapshot(&url, store.path()).run().failure();
        assert!(error.contains("error: another run is under way: \"pilaster run 0"), "{error}");
        assert!(
            error.contains(" of the source, since 2") && error.contains("hint: wait for it, or stop it"),
            "{error}"
        );
        server.psql("run_second", "CREATE TABLE enough ()");
        hold.join().unwrap();
        first.wait().success();
    });
    assert_eq!(store.versions(), [1]);
    // Another store is another lock.
    Pilaster::snapshot(&url, other.path()).run().success();
    Pilaster::snapshot(&url, store.path()).run().success();
    assert_eq!((store.versions(), other.versions()), (vec![2, 1], vec![1]));
}

#[test]
fn of_ten_runs_at_once_each_publishes_a_version_of_its_own() {
    let server = Postgres::start();
    let url = server.database("run_ten");
    server.psql("run_ten", "CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 50000) i");
    let store = Folder::new();
    let runs: Vec<_> = (0..10).map(|_| Pilaster::snapshot(&url, store.path()).spawn()).collect();
    let mut published = Vec::new();
    for run in runs {
        let finished = run.wait();
        if finished.status.success() {
            let version = finished.stdout.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
            published.push(version);
        } else {
            let error = finished.failure();
            assert!(error.contains("another run is under way"), "{error}");
        }
    }
    published.sort_unstable_by(|left, right| right.cmp(left));
    assert!(!published.is_empty());
    assert_eq!(store.versions(), published, "versions and publishers");
    let mut named = BTreeSet::new();
    for version in block_on(store.store().versions()).unwrap() {
        let manifest = block_on(store.store().manifest(version)).unwrap();
        block_on(store.store().verify(&manifest, Verification::Full)).unwrap();
        assert_eq!(manifest.row_count(), 50_000);
        named.extend(named_files(&manifest));
    }
    assert_eq!(store.data_files(), named, "refused runs left files");
}

#[test]
fn damage_is_found_and_the_version_before_is_served() {
    let server = Postgres::start();
    let url = server.database("damage");
    server.psql("damage", "CREATE TABLE t AS SELECT i AS id, md5(i::text) AS v FROM generate_series(1, 1000) i");
    let store = Folder::new();
    Pilaster::snapshot(&url, store.path()).run().success();
    server.psql("damage", "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1001, 2000) i");
    Pilaster::snapshot(&url, store.path()).run().success();
    let newest = store.newest();
    let data = store.path().join(&table_of(&newest, "t").files[0].path);
    let manifest = store.path().join("manifests").join("00000000000000000002.json");

    let serves = |verification| {
        let found = block_on(store.store().newest(verification)).unwrap().expect("one is whole");
        found.version.to_string()
    };
    let answers = || {
        let arguments =
            ["query", "SELECT count(*) AS n FROM t", "--output", "csv", "--store", store.path().to_str().unwrap()];
        Pilaster::command(&arguments).run().success().stdout.lines().nth(1).unwrap().to_owned()
    };
    assert_eq!(answers(), "2000");
    type Damage = fn(&mut Vec<u8>);
    let flip: Damage = |bytes| bytes[100] ^= 1;
    let flip_footer: Damage = |bytes| {
        let at = bytes.len() - 5;
        bytes[at] ^= 0xff;
    };
    let cut: Damage = |bytes| bytes.truncate(bytes.len() / 2);
    let empty: Damage = Vec::clear;
    // A version that parses, but says another number of rows.
    let forge: Damage = |bytes| {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        *bytes = text.replacen("\"row_count\":2000", "\"row_count\":1999", 1).into_bytes();
    };
    let cases: &[(&str, &Path, Damage, &str)] = &[
        ("a flipped byte of data", &data, flip, "2"),
        ("a flipped byte of the footer's length", &data, flip_footer, "1"),
        ("half a data file", &data, cut, "1"),
        ("an empty data file", &data, empty, "1"),
        ("a flipped byte of the manifest", &manifest, flip, "1"),
        ("half a manifest", &manifest, cut, "1"),
        ("an empty manifest", &manifest, empty, "1"),
        ("a forged count", &manifest, forge, "1"),
    ];
    for (what, path, damage, footers) in cases {
        let whole = std::fs::read(path).unwrap();
        let mut bytes = whole.clone();
        damage(&mut bytes);
        assert_ne!(bytes, whole, "{what}");
        std::fs::write(path, bytes).unwrap();
        assert_eq!(serves(Verification::Full), "1", "{what}");
        assert_eq!(serves(Verification::Footers), *footers, "{what}");
        assert_eq!(answers(), "1000", "{what}");
        std::fs::write(path, whole).unwrap();
        assert_eq!(serves(Verification::Full), "2", "{what}, mended");
    }
    std::fs::remove_file(&data).unwrap();
    assert_eq!((serves(Verification::Full), serves(Verification::Footers)), ("1".into(), "1".into()));
    // A new run takes the next version, never that of the broken one.
    Pilaster::snapshot(&url, store.path()).run().success();
    assert_eq!((store.versions(), answers()), (vec![3, 2, 1], "2000".into()));
    // Nothing whole is an error, never an empty store.
    for file in store.data_files() {
        std::fs::write(store.path().join(file), b"PAR1").unwrap();
    }
    let error = block_on(store.store().newest(Verification::Footers)).unwrap_err();
    assert_eq!(error.code(), Code::CorruptStore, "{error:?}");
}

#[test]
fn rows_are_counted_exactly_however_odd_the_table() {
    let server = Postgres::start();
    let url = server.database("odd_tables");
    let wide: Vec<String> = (0..1_000).map(|column| format!("i + {column} AS c{column}")).collect();
    server.psql(
        "odd_tables",
        &format!(
            "CREATE TABLE no_rows (id int, n numeric, v text); CREATE TABLE nothing (); CREATE TABLE no_columns (); \
             INSERT INTO no_columns SELECT FROM generate_series(1, 70000); \
             CREATE TABLE all_dropped (a int); INSERT INTO all_dropped VALUES (1), (2); \
             ALTER TABLE all_dropped DROP COLUMN a; CREATE TABLE only_secrets (password text); \
             INSERT INTO only_secrets VALUES ('x'), ('y'), ('z'); \
             CREATE TABLE wide AS SELECT {} FROM generate_series(1, 300) i; \
             CREATE TABLE \"We\"\"ird Näme/../x\" (\"a.b\" int, \"C\" float8, \"select\" text); \
             INSERT INTO \"We\"\"ird Näme/../x\" VALUES (1, 2, '3'); \
             CREATE TABLE gaps AS SELECT i AS id, repeat('x', 500) AS pad FROM generate_series(1, 20000) i; \
             DELETE FROM gaps WHERE id % 3 <> 0 OR id > 15000",
            wide.join(", ")
        ),
    );
    let store = Folder::new();
    // Parquet has no place for the count of rows without columns: saying so beats a wrong count.
    let without = ["public.all_dropped", "public.no_columns", "public.only_secrets"];
    let mut exclude: Vec<String> = Vec::new();
    while exclude.len() < without.len() {
        let config = format!("[snapshot]\nexclude_tables = {exclude:?}");
        let error = Pilaster::snapshot(&url, store.path()).config(&config).run().failure();
        let at_fault =
            without.iter().find(|name| error.contains(&format!("error: table {name}: it has rows, and no column")));
        let at_fault = at_fault.unwrap_or_else(|| panic!("{error}"));
        assert!(error.contains(&format!("hint: leave it out: snapshot.exclude_tables = [\"{at_fault}\"]")), "{error}");
        assert!(store.data_files().is_empty() && store.versions().is_empty());
        exclude.push((*at_fault).to_owned());
    }
    let config = format!("[snapshot]\npart_bytes = \"1MiB\"\nexclude_tables = {exclude:?}");
    Pilaster::snapshot(&url, store.path()).config(&config).run().success();
    let manifest = store.newest();
    let tables =
        [("no_rows", 0, 3), ("nothing", 0, 0), ("wide", 300, 1_000), ("We\"ird Näme/../x", 1, 3), ("gaps", 5_000, 2)];
    assert_eq!(manifest.tables.len(), tables.len());
    for (name, rows, columns) in tables {
        let table = table_of(&manifest, name);
        assert_eq!((table.row_count, table.columns.len()), (rows, columns), "{name}");
        // The reader of the tests counts the rows of each file as well.
        let read: usize =
            table.files.iter().flat_map(|file| batches(store.path(), file)).map(|batch| batch.num_rows()).sum();
        assert_eq!(read as u64, rows, "{name}");
    }
    let last = &store.rows(&manifest, "wide")[299];
    assert!(last.iter().enumerate().all(|(column, value)| value.as_deref() == Some(&(300 + column).to_string())));
    assert!(store.data_files().iter().all(|file| !file.contains("..")), "{:?}", store.data_files());
}

#[test]
fn huge_values_pass_in_bounded_memory() {
    let server = Postgres::start();
    let url = server.database("huge_values");
    server.psql(
        "huge_values",
        "CREATE TABLE huge (id int, v text); ALTER TABLE huge ALTER COLUMN v SET STORAGE EXTERNAL; \
         INSERT INTO huge SELECT 1, string_agg(md5(i::text), '') FROM generate_series(1, 1600000) i; \
         INSERT INTO huge SELECT i, i || v FROM huge, generate_series(2, 16) i",
    );
    let store = Folder::new();
    let finished = Pilaster::snapshot(&url, store.path()).run().success();
    let mib = finished.memory_bytes_max >> 20;
    println!("16 values of 51 MB took {mib} MiB at most");
    assert!((1..1_500).contains(&mib), "{mib} MiB");
    let manifest = store.newest();
    let truth = server.psql("huge_values", "SELECT string_agg(id || ' ' || md5(v), ',' ORDER BY id) FROM huge");
    let mut found: Vec<String> = Vec::new();
    for file in &table_of(&manifest, "huge").files {
        for batch in batches(store.path(), file) {
            let ids = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
            let (ids, values) = (arrow::array::AsArray::as_string::<i32>(&ids), batch.column(1));
            let values = arrow::array::AsArray::as_string::<i32>(values);
            for row in 0..batch.num_rows() {
                // md5 of the server, over what arrived, without sending 51 MB as a literal.
                let path = server.directory().join("value");
                std::fs::write(&path, values.value(row)).unwrap();
                let sql = format!("SELECT md5(pg_read_binary_file('{}'))", path.display());
                std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
                found.push(format!("{} {}", ids.value(row), server.psql("huge_values", &sql)));
            }
        }
    }
    found.sort_by_key(|line| line.split(' ').next().unwrap().parse::<u32>().unwrap());
    assert_eq!(found.join(","), truth);
}

#[test]
fn sorted_tables_are_sorted_and_equal_tables_have_equal_digests() {
    let server = Postgres::start();
    let url = server.database("sorted");
    server.psql(
        "sorted",
        "CREATE TABLE sorted AS SELECT i AS id, (i * 7919::int8) % 1000 AS tenant, \
             CASE WHEN i % 10 > 0 THEN (i * 104729::int8) % 5000 END AS v, repeat('x', 60) AS pad \
         FROM generate_series(1, 40000) i; CREATE TABLE plain AS SELECT * FROM sorted; CREATE TABLE changed AS SELECT * FROM sorted",
    );
    let store = Folder::new();
    let run = || {
        let config = "[snapshot]\npart_bytes = \"1MiB\"\nrow_group_rows = 3000\n[tables.\"public.sorted\"]\nsort_by = [\"tenant\", \"v\"]";
        Pilaster::snapshot(&url, store.path()).config(config).run().success();
        store.newest()
    };
    let first = run();
    let table = table_of(&first, "sorted");
    assert_eq!(table.sort_order, ["tenant", "v"]);
    assert!(table.files.len() >= 3);
    let mut ids = BTreeSet::new();
    for file in &table.files {
        let mut before: Option<(i64, i64, i64)> = None;
        for batch in batches(store.path(), file) {
            let column = |index| arrow::compute::cast(batch.column(index), &arrow::datatypes::DataType::Int64).unwrap();
            let (id, tenant, v) = (column(0), column(1), column(2));
            let value = |array: &arrow::array::ArrayRef, row| {
                use arrow::array::{Array as _, AsArray as _};
                // NULLs come last, as they do in Postgres.
                if array.is_null(row) {
                    i64::MAX
                } else {
                    array.as_primitive::<arrow::datatypes::Int64Type>().value(row)
                }
            };
            for row in 0..batch.num_rows() {
                // Ties keep the order of the source, in which ids grow.
                let key = (value(&tenant, row), value(&v, row), value(&id, row));
                assert!(before.is_none_or(|before| before < key), "{}: {before:?}, {key:?}", file.path);
                before = Some(key);
                ids.insert(key.2);
            }
        }
    }
    assert_eq!(ids.len(), 40_000);

    server.psql("sorted", "UPDATE changed SET v = -1 WHERE id = 77; ANALYZE");
    let second = run();
    let digests = |manifest: &Manifest, table: &str| -> (Digest, Vec<Digest>) {
        let table = table_of(manifest, table);
        (table.digest, table.files.iter().map(|file| file.blake3).collect())
    };
    for table in ["sorted", "plain"] {
        assert_eq!(digests(&first, table), digests(&second, table), "{table}");
    }
    assert_ne!(digests(&first, "changed").0, digests(&second, "changed").0);
    assert_ne!(named_files(&first), named_files(&second));
}

#[test]
fn old_files_are_pruned_after_the_grace_and_never_under_a_reader() {
    let server = Postgres::start();
    let url = server.database("prune");
    server.psql(
        "prune",
        "CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 2000) i; CREATE TABLE u AS SELECT 1 AS id",
    );
    let store = Folder::new();
    let (stop, reads) = (AtomicBool::new(false), std::sync::atomic::AtomicU32::new(0));
    std::thread::scope(|scope| {
        // A reader that opens the newest snapshot over and over, while runs publish and prune.
        let reader = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if let Some(manifest) = block_on(store.store().newest(Verification::Full)).unwrap() {
                    assert_eq!(store.rows(&manifest, "t").len(), 2000);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        for version in 1..=5 {
            let finished = Pilaster::snapshot(&url, store.path()).run().success();
            assert!(!finished.stdout.contains("pruned"), "within the grace: {}", finished.stdout);
            assert_eq!(store.data_files().len(), 2 * version);
        }
        // A file that no manifest names, as a killed run leaves it.
        let orphan = store.path().join("tables/public.t/00000000-0000-7000-8000-000000000000/part-0.parquet");
        std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
        std::fs::write(&orphan, b"half").unwrap();
        store.age(Duration::from_secs(5 * 3600));
        let finished = Pilaster::snapshot(&url, store.path()).run().success();
        assert!(!finished.stdout.contains("pruned"), "the grace is six hours: {}", finished.stdout);
        store.age(Duration::from_secs(7 * 3600));
        let finished = Pilaster::snapshot(&url, store.path()).run().success();
        // Versions 1 to 4 with two files each, and the orphan.
        assert!(finished.stdout.contains("\npruned 9 old files, "), "{}", finished.stdout);
        assert!(!orphan.parent().unwrap().exists());
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert!(reads.load(Ordering::Relaxed) > 0);
    assert_eq!(store.versions(), [7, 6, 5, 4, 3, 2, 1], "manifests stay");
    for version in block_on(store.store().versions()).unwrap() {
        let manifest = block_on(store.store().manifest(version)).unwrap();
        let is_kept = version.to_string().parse::<u32>().unwrap() >= 5;
        assert_eq!(block_on(store.store().is_readable(&manifest)), is_kept, "{version}");
    }
    // However few are to be kept, the newest is; a broken one keeps nothing and takes no place.
    let seventh = store.path().join("manifests/00000000000000000007.json");
    let whole = std::fs::read(&seventh).unwrap();
    std::fs::write(&seventh, &whole[..whole.len() / 2]).unwrap();
    store.age(Duration::from_secs(60));
    block_on(store.store().prune(PruneOptions { versions_kept: 0, grace: Duration::ZERO })).unwrap();
    assert_eq!(store.data_files(), named_files(&store.newest()));
    assert_eq!(store.newest().version.to_string(), "6");
}
