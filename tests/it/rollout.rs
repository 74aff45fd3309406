//! Two sides: the same named query on Postgres and on the engine, and moving from one to the other.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    support::{Locale, Postgres},
    support_server::{Demo, Reply, Server, Settings, eventually, named_queries, run, take_snapshot},
};

const MRR: &str = "/v1/queries/revenue/mrr_by_plan";

/// A server over the demo that has both sides, of which the engine answers unless something else is said.
fn two_sides(demo: &Arc<Demo>) -> Settings {
    demo.server()
        .config("[rollout]\nenabled = true\nrequire_certificate = false\ndefault = \"engine\"\n")
        .env("PILASTER__POSTGRES__URL", demo.source())
}

async fn set(server: &Server, query: &str, wanted: Value) -> Reply {
    Reply::of(server.request("PUT", &format!("/v1/rollout/{query}")).json(&wanted)).await
}

async fn switch(server: &Server, to: &str) {
    let wanted = json!({ "switch": to, "why": "a test" });
    Reply::of(server.request("PUT", "/v1/rollout/switch").json(&wanted)).await.ok();
}

/// Every named query with each of its samples and without any parameter.
fn requests() -> Vec<String> {
    let mut requests = Vec::new();
    for folder in std::fs::read_dir(named_queries()).unwrap() {
        let folder = folder.unwrap().path();
        for file in std::fs::read_dir(&folder).unwrap() {
            let file = file.unwrap().path();
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            let path = format!("/v1/queries/{}/{name}", folder.file_name().unwrap().to_str().unwrap());
            let text = std::fs::read_to_string(&file).unwrap();
            requests.push(path.clone());
            for sample in text.lines().filter_map(|line| line.strip_prefix("-- @sample ")) {
                requests.push(format!("{path}?{}", sample.trim().replace(' ', "&")));
            }
        }
    }
    requests.sort();
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_give_the_same_bytes() {
    for locale in [Locale::C, Locale::Icu] {
        let demo = Demo::in_locale(locale);
        let server = two_sides(&demo).start();
        let requests = requests();
        assert!(requests.len() > 25, "{}", requests.len());
        let mut answers: Vec<Vec<(String, String)>> = Vec::new();
        for (to, side) in [("postgres", "postgres"), ("routes", "engine")] {
            switch(&server, to).await;
            let mut all = Vec::new();
            for request in &requests {
                for tenant in [None, Some("1"), Some("20")] {
                    for zone in ["UTC", "America/New_York"] {
                        let join = if request.contains('?') { '&' } else { '?' };
                        let asked = server.get(&format!("{request}{join}timezone={zone}"));
                        let asked =
                            tenant.into_iter().fold(asked, |asked, tenant| asked.header("Pilaster-Tenant", tenant));
                        let reply = Reply::of(asked).await.ok();
                        assert_eq!(reply.header("pilaster-route"), side, "{request}");
                        let of_snapshot =
                            !reply.header("pilaster-snapshot").is_empty() && !reply.header("etag").is_empty();
                        assert_eq!(of_snapshot, side == "engine", "{request}");
                        all.push((format!("{request} of tenant {tenant:?} in {zone}"), reply.text()));
                    }
                }
            }
            answers.push(all);
        }
        for ((what, theirs), (_, ours)) in answers[0].iter().zip(&answers[1]) {
            assert_eq!(theirs, ours, "{what}");
        }
    }
}

/// Values of every type, and statements that fail, over one table.
struct Types {
    folder: TempDir,
    url: String,
}

const COLUMNS: &[(&str, &str)] = &[
    ("bool", "(true), (NULL)"),
    ("int2", "(-32768), (7)"),
    ("int4", "(-2147483648), (NULL)"),
    ("int8", "(9223372036854775807), (0)"),
    ("float4", "(1.5e-3), ('NaN')"),
    ("float8", "(0.1), ('-Infinity')"),
    ("numeric(12,2)", "(-0.50), (1234567890.10)"),
    ("numeric", "(0.000100), (12.000000)"),
    ("text", "('größe \"x\"'), ('')"),
    ("varchar(9)", "('a'), (NULL)"),
    ("char(5)", "('ab'), (NULL)"),
    ("bytea", "('\\x00ff'), ('')"),
    ("date", "('2024-02-29'), ('0001-01-01')"),
    ("time", "('23:59:59.999999'), ('00:00')"),
    ("timestamp", "('2024-02-29 12:00:00.5'), (NULL)"),
    ("timestamptz", "('2024-07-01 00:00:00+02'), (NULL)"),
    ("interval", "('1 year -2 days 03:04:05.6'), ('0')"),
    ("uuid", "('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'), (NULL)"),
    ("jsonb", "('{\"a\": [1, null]}'), ('null')"),
    ("json", "('{\"a\":  1}'), (NULL)"),
    ("mood", "('sad'), ('happy')"),
    ("int4[]", "('{1,NULL,3}'), ('{}')"),
    ("text[]", "('{\"a,b\",NULL}'), (NULL)"),
    ("numeric(8,2)[]", "('{1.50,-2.00}'), ('{}')"),
    ("timestamptz[]", "('{2024-07-01 00:00:00+02}'), (NULL)"),
    ("uuid[]", "('{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'), ('{}')"),
    ("numeric[]", "(NULL), ('{}')"),
    ("inet", "('10.0.0.0/8'), (NULL)"),
    ("int4range", "('[1,5)'), (NULL)"),
    ("oid", "(4294967295), (0)"),
];

impl Types {
    fn new() -> Self {
        let postgres = Postgres::start();
        let url = postgres.database("two_sides_types");
        let mut ddl = "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');".to_owned();
        let folder = tempfile::tempdir().unwrap();
        let types = Self { folder, url };
        for (index, (kind, values)) in COLUMNS.iter().enumerate() {
            ddl.push_str(&format!(
                "CREATE TABLE t{index} (id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v {kind});
                 INSERT INTO t{index} (v) VALUES {values};"
            ));
            types.query(&format!("t/t{index}"), &format!("SELECT v, id FROM t{index} ORDER BY id"));
        }
        postgres.psql("two_sides_types", &ddl);
        take_snapshot(&types.url, &types.store());
        types
    }

    fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    fn queries(&self) -> std::path::PathBuf {
        self.folder.path().join("queries")
    }

    fn query(&self, path: &str, text: &str) {
        write_query(&self.queries(), path, text);
    }
}

pub(crate) fn write_query(folder: &Path, path: &str, text: &str) {
    let path = folder.join(format!("{path}.sql"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_told_alike() {
    let types = Types::new();
    types.query(
        "t/given",
        "-- @param a bool = true\n-- @param b int4 = -7\n-- @param c int8 = 9\n-- @param d float8 = 0.25\n-- @param e numeric = 1.50\n\
         -- @param f text = null\n-- @param g date = 2024-02-29\n-- @param h timestamp = 2024-02-29T01:02:03\n\
         -- @param i timestamptz = 2024-02-29T01:02:03Z\n-- @param j uuid = a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\n\
         -- @param k text[] = x, y\n-- @param l int8[] = 1, 2\n-- @param m date[] = 2024-01-01\n\
         SELECT $a AS a, $b AS b, $c AS c, $d AS d, $e AS e, $f AS f, $g AS g, $h AS h, $i AS i, $j::text AS j, $k AS k, $l AS l, $m AS m, \
         $timezone AS z, count(*) AS n FROM t0",
    );
    let server = Settings::replica(&types.store())
        .queries(&types.queries())
        .config("[rollout]\nenabled = true\nrequire_certificate = false\ndefault = \"engine\"\n")
        .env("PILASTER__POSTGRES__URL", &types.url)
        .start();
    let given = "&f=it's+\"so\"&k=a,b&k=\\&k=\"&timezone=Europe/Berlin";
    let requests = (0..COLUMNS.len()).map(|index| format!("/v1/queries/t/t{index}?numbers=string"));
    let requests = requests.chain([format!("/v1/queries/t/given?x{given}").replace("?x&", "?")]);
    let requests: Vec<String> = requests.collect();
    let mut answers: Vec<Vec<String>> = Vec::new();
    for (to, side) in [("postgres", "postgres"), ("routes", "engine")] {
        switch(&server, to).await;
        let mut all = Vec::new();
        for request in &requests {
            let reply = Reply::of(server.get(request)).await;
            assert_eq!(reply.header("pilaster-route"), side, "{request}: {}", reply.text());
            all.push(reply.text());
        }
        answers.push(all);
    }
    let different: Vec<String> = (answers[0].iter().zip(&answers[1]).enumerate())
        .filter(|(_, (theirs, ours))| theirs != ours)
        .map(|(index, (theirs, ours))| {
            format!("{}: {theirs}\n    {ours}", COLUMNS.get(index).map_or("given", |(kind, _)| kind))
        })
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn day_one_needs_no_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::start();
    let url = postgres.database("two_sides_day_one");
    postgres.psql("two_sides_day_one", "CREATE TABLE t (v int4); INSERT INTO t VALUES (1), (2)");
    let queries = folder.path().join("queries");
    write_query(&queries, "d/total", "SELECT sum(v) AS total FROM t");
    write_query(&queries, "d/broken", "SELECT 1 / (v - 1) AS x FROM t");
    write_query(&queries, "d/missing", "SELECT nothing FROM t");
    write_query(&queries, "d/slow", "-- @timeout 300ms\nSELECT pg_sleep(20) AS x");
    write_query(&queries, "d/writes", "SELECT nextval('s') AS x");
    postgres.psql("two_sides_day_one", "CREATE SEQUENCE s");
    let server = Settings::replica(&folder.path().join("store"))
        .queries(&queries)
        .config("[rollout]\nenabled = true\nrequire_certificate = false\npostgres_ttl = \"3s\"\n")
        .env("PILASTER__POSTGRES__URL", &url)
        .start();
    let ready = Reply::of(server.get("/readyz")).await.ok();
    assert_eq!(ready.json()["reason"], "serving from PostgreSQL");

    let first = Reply::of(server.get("/v1/queries/d/total")).await.ok();
    assert_eq!(first.json()["data"][0]["total"], 3);
    assert_eq!(first.json()["meta"][0], json!({ "name": "total", "type": "int8" }));
    postgres.psql("two_sides_day_one", "INSERT INTO t VALUES (4)");
    // What is kept is kept for as long as it says, and no longer.
    let again = Reply::of(server.get("/v1/queries/d/total")).await.ok();
    if again.json()["data"][0]["total"] == 3 {
        assert!(
            again.header("cache-status").starts_with("Pilaster; hit; detail=memory; ttl="),
            "{}",
            again.header("cache-status")
        );
    }
    eventually("the reply is too old", Duration::from_secs(10), || async {
        Reply::of(server.get("/v1/queries/d/total")).await.json()["data"][0]["total"] == 7
    })
    .await;

    let problem = Reply::of(server.get("/v1/queries/d/broken")).await.problem(400, "invalid_value");
    assert_eq!((problem["sqlstate"].as_str(), problem["message"].as_str()), (Some("22012"), Some("division by zero")));
    let problem = Reply::of(server.get("/v1/queries/d/missing")).await.problem(400, "invalid_sql");
    assert_eq!(problem["sqlstate"], "42703");
    let asked = Instant::now();
    Reply::of(server.get("/v1/queries/d/slow")).await.problem(504, "deadline_exceeded");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    eventually("PostgreSQL sleeps no more", Duration::from_secs(5), || async {
        postgres.psql(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND state = 'active'",
        ) == "1"
            || postgres.psql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "0"
    })
    .await;
    let problem = Reply::of(server.get("/v1/queries/d/writes")).await;
    assert_eq!(problem.json()["sqlstate"], "25006", "the transaction only reads: {}", problem.text());

    let lines = Reply::of(server.post("/v1/dashboards/d").json(&json!({}))).await.ok().text();
    assert!(lines.lines().any(|line| line.contains("\"total\":7")), "{lines}");
    assert_eq!(Reply::of(server.get("/v1/queries/d/total?snapshot=1")).await.status, 404, "a snapshot is the engine's");
    Reply::of(server.sql("SELECT 1 AS x")).await.problem(503, "snapshot_pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_moves_and_every_node_knows() {
    let demo = Demo::shared();
    let store = tempfile::tempdir().unwrap();
    take_snapshot(demo.source(), store.path());
    let node = || {
        let tables = include_str!("../../data/demo/tables.toml");
        let settings = Settings::replica(store.path()).queries(&named_queries()).config(tables);
        settings
            .config("[rollout]\nenabled = true\nrequire_certificate = false\n")
            .env("PILASTER__POSTGRES__URL", demo.source())
            .start()
    };
    let (one, two) = (node(), node());
    let route = async |server: &Server, tenant: &str| {
        let reply = Reply::of(server.get(MRR).header("Pilaster-Tenant", tenant)).await.ok();
        reply.header("pilaster-route").to_owned()
    };
    assert_eq!((route(&one, "7").await, route(&two, "7").await), ("postgres".to_owned(), "postgres".to_owned()));

    let reply = set(
        &one,
        "revenue/mrr_by_plan",
        json!({ "route": "engine", "percent": 0, "tenants": ["7"], "why": "a pilot" }),
    )
    .await
    .ok();
    let view = reply.json();
    assert_eq!((&view["route"], &view["percent"], &view["tenants"]), (&json!("engine"), &json!(0), &json!(["7"])));
    assert_eq!((&view["changed"]["by"], &view["changed"]["why"]), (&json!("local"), &json!("a pilot")));
    assert_eq!(route(&one, "7").await, "engine", "the node that was told knows at once");
    let told = Instant::now();
    eventually("the other node knows", Duration::from_secs(2), || async { route(&two, "7").await == "engine" }).await;
    assert!(told.elapsed() < Duration::from_secs(2));
    assert_eq!(route(&two, "8").await, "postgres");

    set(&two, "revenue/mrr_by_plan", json!({ "route": "shadow", "why": "compare" })).await.ok();
    assert_eq!(route(&two, "7").await, "shadow");
    // The command line needs no server.
    let cli = |arguments: &[&str]| {
        let mut command = crate::support_server::pilaster(arguments);
        command.arg("--store").arg(store.path()).arg("--queries").arg(named_queries());
        command
            .env("PILASTER__ROLLOUT__ENABLED", "true")
            .env("PILASTER__ROLLOUT__REQUIRE_CERTIFICATE", "false")
            .env("PILASTER__POSTGRES__URL", demo.source());
        run(&mut command)
    };
    assert!(cli(&["rollout", "switch", "postgres", "--why", "totals differ"]).contains("everything runs on Postgres"));
    eventually("the switch is thrown", Duration::from_secs(3), || async { route(&one, "7").await == "postgres" }).await;
    let shown = cli(&["rollout", "show"]);
    let line = shown.lines().find(|line| line.starts_with("revenue/mrr_by_plan ")).unwrap();
    assert!(line.contains(" shadow ("), "{shown}");
    assert!(cli(&["rollout", "switch", "postgres", "--why", "again"]).contains("nothing to change"));
    cli(&["rollout", "set", "revenue/mrr_by_plan", "engine", "--why", "mended"]);
    cli(&["rollout", "switch", "routes", "--why", "mended"]);
    eventually("the query moves on", Duration::from_secs(3), || async { route(&two, "8").await == "engine" }).await;
    let log = cli(&["rollout", "log"]);
    let whys: Vec<&str> = log.lines().filter_map(|line| line.split_once('(')).map(|(_, why)| why).collect();
    assert_eq!(whys, ["mended)", "mended)", "totals differ)", "compare)", "a pilot)"], "{log}");

    // What holds survives a restart.
    drop(one);
    let again = node();
    assert_eq!(route(&again, "8").await, "engine");
    let reply = Reply::of(again.request("DELETE", "/v1/rollout/revenue/mrr_by_plan?why=over")).await.ok();
    assert_eq!(reply.json()["is_default"], true);
    assert_eq!(route(&again, "8").await, "postgres");

    let check = async |path: &str, body: Value, status: u16, code: &str| {
        Reply::of(again.request("PUT", path).json(&body)).await.problem(status, code);
    };
    check("/v1/rollout/revenue/nothing", json!({ "route": "engine", "why": "x" }), 404, "not_found").await;
    check("/v1/rollout/revenue/mrr_by_plan", json!({ "route": "sideways", "why": "x" }), 400, "invalid_request").await;
    check(
        "/v1/rollout/revenue/mrr_by_plan",
        json!({ "route": "engine", "percent": 101, "why": "x" }),
        400,
        "invalid_request",
    )
    .await;
    check("/v1/rollout/revenue/mrr_by_plan", json!({ "route": "engine" }), 400, "invalid_request").await;
    check("/v1/rollout/switch", json!({ "switch": "off", "why": "x" }), 400, "invalid_request").await;
    check("/v1/rollout/default", json!({ "route": "engine", "why": "" }), 400, "invalid_request").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_side_answers_for_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::private(&[], "");
    let url = postgres.database("two_sides");
    postgres.psql("two_sides", "CREATE TABLE t (v int4); INSERT INTO t VALUES (1), (2)");
    let queries = folder.path().join("queries");
    write_query(&queries, "d/total", "SELECT sum(v) AS total FROM t");
    // The engine has no such function.
    write_query(&queries, "d/beyond", "SELECT pg_column_size(v) AS size FROM t");
    write_query(&queries, "d/wrong", "SELECT 1 / (v - 1) AS x FROM t");
    write_query(&queries, "d/missing", "SELECT nothing FROM t");
    let store = folder.path().join("store");
    take_snapshot(&url, &store);
    let server = Settings::replica(&store)
        .queries(&queries)
        .config("[rollout]\nenabled = true\nrequire_certificate = false\npostgres_ttl = \"0s\"\ndefault = \"engine\"\n")
        .env("PILASTER__POSTGRES__URL", &url)
        .start();
    let route = async |query: &str| {
        let reply = Reply::of(server.get(&format!("/v1/queries/d/{query}"))).await;
        (reply.status, reply.header("pilaster-route").to_owned())
    };
    assert_eq!(route("total").await, (200, "engine".into()));
    assert_eq!(route("beyond").await, (200, "postgres; fallback".into()));
    assert_eq!(route("wrong").await.0, 400, "what is wrong is wrong on both sides");
    let problem = Reply::of(server.get("/v1/queries/d/missing")).await.problem(400, "invalid_sql");
    assert_eq!(problem["sqlstate"], "42703", "and Postgres says what: {problem}");
    set(&server, "d/total", json!({ "route": "postgres", "why": "x" })).await.ok();
    assert_eq!(route("total").await, (200, "postgres".into()));

    drop(postgres);
    assert_eq!(route("total").await, (200, "engine; fallback".into()));
    let problem = Reply::of(server.get("/v1/queries/d/beyond")).await;
    problem.problem(503, "unavailable");
    // Who throws the switch does not want the engine's answer.
    switch(&server, "postgres").await;
    Reply::of(server.get("/v1/queries/d/total")).await.problem(503, "unavailable");
    let fell = server.metric("pilaster_fallbacks_total", &[("from", "postgres"), ("outcome", "tried")]).await;
    assert!(fell >= 1.0, "{fell}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_too_old_is_not_asked_where_postgres_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::private(&[], "");
    let url = postgres.database("two_sides_age");
    postgres.psql("two_sides_age", "CREATE TABLE t (v int4); INSERT INTO t VALUES (1), (2)");
    let queries = folder.path().join("queries");
    write_query(&queries, "d/total", "SELECT sum(v) AS total FROM t");
    let store = folder.path().join("store");
    take_snapshot(&url, &store);
    let rollout =
        "[rollout]\nenabled = true\nrequire_certificate = false\npostgres_ttl = \"0s\"\ndefault = \"engine\"\n";
    let server = Settings::replica(&store)
        .queries(&queries)
        .config(&format!("{rollout}snapshot_age_max = \"15s\"\n"))
        .env("PILASTER__POSTGRES__URL", &url)
        .start();
    let route = async || {
        let reply = Reply::of(server.get("/v1/queries/d/total")).await.ok();
        reply.header("pilaster-route").to_owned()
    };
    assert_eq!(route().await, "engine");
    eventually("the snapshot is too old", Duration::from_secs(40), || async { route().await == "postgres" }).await;
    drop(postgres);
    assert_eq!(route().await, "engine; fallback", "an old answer is better than none");
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_are_flipped_under_load() {
    let demo = Demo::shared();
    let store = tempfile::tempdir().unwrap();
    take_snapshot(demo.source(), store.path());
    let tables = include_str!("../../data/demo/tables.toml");
    let settings = Settings::replica(store.path()).queries(&named_queries()).config(tables);
    let server = Arc::new(
        settings
            .config("[rollout]\nenabled = true\nrequire_certificate = false\npostgres_ttl = \"1s\"\n")
            .env("PILASTER__POSTGRES__URL", demo.source())
            .start(),
    );
    let stop = Arc::new(AtomicBool::new(false));
    let (asked, on_engine) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let expect = Reply::of(server.get(MRR)).await.ok().text();
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let (server, stop, asked, on_engine, expect) =
                (Arc::clone(&server), Arc::clone(&stop), Arc::clone(&asked), Arc::clone(&on_engine), expect.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let reply = Reply::of(server.get(MRR)).await.ok();
                    assert_eq!(reply.text(), expect);
                    asked.fetch_add(1, Ordering::Relaxed);
                    on_engine.fetch_add(u64::from(reply.header("pilaster-route") == "engine"), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for flip in 0..50 {
        let wanted = if flip % 2 == 0 { "engine" } else { "postgres" };
        set(&server, "revenue/mrr_by_plan", json!({ "route": wanted, "why": format!("flip {flip}") })).await.ok();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let (asked, on_engine) = (asked.load(Ordering::Relaxed), on_engine.load(Ordering::Relaxed));
    assert!(
        asked > 100 && on_engine > asked / 10 && on_engine < asked - asked / 10,
        "{on_engine} of {asked} on the engine"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_system_says_where_a_query_runs() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let demo = Demo::shared();
    let server = two_sides(&demo).env("PILASTER__ROLLOUT__FLAG_SECRET", SECRET).start();
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let flag = |claims: Value| {
        let ends = chrono::Utc::now().timestamp() + 60;
        let mut all = json!({ "aud": "pilaster-route", "exp": ends });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256), &all, &key).unwrap()
    };
    let ask = async |flag: &str| {
        let asked = server.get(MRR).header("Pilaster-Tenant", "7").header("Pilaster-Route", flag);
        Reply::of(asked).await
    };
    // What is in memory by then is no shortcut around it.
    for _ in 0..3 {
        Reply::of(server.get(MRR).header("Pilaster-Tenant", "7")).await.ok();
    }
    let check = async |claims: Value, expect: &str| {
        let reply = ask(&flag(claims.clone())).await.ok();
        assert_eq!(reply.header("pilaster-route"), expect, "{claims}");
    };
    check(json!({ "route": "postgres" }), "postgres").await;
    check(json!({ "route": "shadow", "query": "revenue/*", "tenant": "7" }), "shadow").await;
    check(json!({ "route": "postgres", "query": "usage/*" }), "engine").await;
    switch(&server, "postgres").await;
    check(json!({ "route": "engine" }), "postgres").await;
    switch(&server, "routes").await;
    ask(&flag(json!({ "route": "engine", "tenant": "8" }))).await.problem(400, "invalid_request");
    ask("engine").await.problem(400, "invalid_request");
    let without = two_sides(&demo).start();
    Reply::of(without.get(MRR).header("Pilaster-Route", "engine")).await.problem(400, "invalid_request");
}
