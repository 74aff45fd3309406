//! Live requests on both sides, queries that go back by themselves, and one side or both being down.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    support::Postgres,
    support_redis::RedisServer,
    support_server::{Reply, Server, Settings, eventually, pilaster, run, take_snapshot},
};

/// A source of its own that does nothing by itself, a store, and queries.
struct Source {
    folder: TempDir,
    postgres: Postgres,
    url: String,
}

/// Postgres's answer is wrong once its setting says so, which no transaction tells.
const WRONG_BY_A_SETTING: &str =
    "SELECT sum(v) + CASE WHEN current_setting('cursor_tuple_fraction') = '0.2' THEN 1 ELSE 0 END AS total FROM t";

impl Source {
    fn new() -> Self {
        let postgres = Postgres::private(&["autovacuum=off", "fsync=off"], "");
        let url = postgres.database("trip");
        postgres.psql(
            "trip",
            "CREATE TABLE t (v int4); INSERT INTO t SELECT n FROM generate_series(1, 100) AS n; CHECKPOINT",
        );
        let source = Self { folder: tempfile::tempdir().unwrap(), postgres, url };
        source.query("total", "SELECT sum(v) AS total FROM t");
        source
    }

    fn query(&self, name: &str, sql: &str) {
        let folder = self.queries().join("d");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.sql")), sql).unwrap();
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn queries(&self) -> PathBuf {
        self.folder.path().join("queries")
    }

    fn node(&self, config: &str) -> Settings {
        Settings::replica(&self.store())
            .queries(&self.queries())
            .config(&format!(
                "[rollout]\nenabled = true\n{}{config}",
                if config.contains("postgres_ttl") { "" } else { "postgres_ttl = \"0s\"\n" }
            ))
            .env("PILASTER__POSTGRES__URL", &self.url)
    }

    fn certify(&self) -> String {
        let mut command = pilaster(&["certify", "--postgres", &self.url, "--store"]);
        command.arg(self.store()).arg("--queries").arg(self.queries()).env("PILASTER__ROLLOUT__ENABLED", "true");
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    fn set_wrong(&self, wrong: bool) {
        let value = if wrong { "0.2" } else { "0.1" };
        self.postgres.psql("trip", &format!("ALTER SYSTEM SET cursor_tuple_fraction = {value}"));
        self.postgres.psql("trip", "SELECT pg_reload_conf()");
    }
}

/// Takes what is posted to it.
struct Webhook {
    url: String,
    got: Arc<Mutex<Vec<Value>>>,
}

impl Webhook {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = Arc::clone(&got);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let (mut length, mut line) = (0, String::new());
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                kept.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                reader
                    .into_inner()
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                    .unwrap();
            }
        });
        Self { url, got }
    }

    fn got(&self) -> Vec<Value> {
        self.got.lock().unwrap().clone()
    }
}

async fn set(server: &Server, query: &str, wanted: Value) {
    Reply::of(server.request("PUT", &format!("/v1/rollout/{query}")).json(&wanted)).await.ok();
}

async fn view(server: &Server, query: &str) -> Value {
    Reply::of(server.get(&format!("/v1/rollout/{query}"))).await.ok().json()
}

async fn route(server: &Server, query: &str) -> String {
    let reply = Reply::of(server.get(&format!("/v1/queries/{query}"))).await.ok();
    reply.header("pilaster-route").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn live_requests_prove_a_difference_only_where_the_source_stands_still() {
    let source = Source::new();
    source.query("wrong", "SELECT sum(v) AS total FROM t");
    source.query("wrong.postgres", "SELECT sum(v) + 1 AS total FROM t");
    take_snapshot(&source.url, &source.store());
    let hook = Webhook::listen();
    let server = source.node("default = \"shadow\"\n").env("PILASTER__ROLLOUT__ALERT_WEBHOOK", &hook.url).start();
    for _ in 0..5 {
        assert_eq!(route(&server, "d/total").await, "shadow");
    }
    eventually("five were equal", Duration::from_secs(10), || async {
        view(&server, "d/total").await["shadow"]["equal"] == 5
    })
    .await;
    let shown = view(&server, "d/total").await;
    assert!(shown["shadow"]["engine_ms"].as_f64() > Some(0.0) && shown["hold"].is_null(), "{shown}");

    let reply = Reply::of(server.get("/v1/queries/d/wrong")).await.ok();
    assert_eq!(reply.json()["data"][0]["total"], 5051, "Postgres answers");
    eventually("the difference is proven", Duration::from_secs(10), || async {
        view(&server, "d/wrong").await["hold"]["reason"] == "different"
    })
    .await;
    assert_eq!(view(&server, "d/wrong").await["shadow"]["different"], 1);
    eventually("somebody is told", Duration::from_secs(10), || async { hook.got().len() == 1 }).await;
    let told = &hook.got()[0];
    assert_eq!(
        (&told["query"], &told["reason"], &told["repeated"]),
        (&json!("d/wrong"), &json!("different"), &json!(false))
    );
    assert!(!told["text"].as_str().unwrap().contains("5051"), "no value of a row: {told}");

    // The source moves on: a different answer proves nothing.
    source.postgres.psql("trip", "INSERT INTO t VALUES (7)");
    assert_eq!(route(&server, "d/total").await, "shadow");
    eventually("it is unproven", Duration::from_secs(10), || async {
        view(&server, "d/total").await["shadow"]["unproven"] == 1
    })
    .await;
    assert!(view(&server, "d/total").await["hold"].is_null());
    assert!(server.metric("pilaster_shadow_total", &[("query", "total"), ("outcome", "equal")]).await >= 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_fails_is_left_and_somebody_hears_of_it() {
    let source = Source::new();
    take_snapshot(&source.url, &source.store());
    let hook = Webhook::listen();
    let config = "default = \"engine\"\nrequire_certificate = false\nalert_again = \"1s\"\n";
    let server = source
        .node(config)
        .env("PILASTER__ROLLOUT__ALERT_WEBHOOK", &hook.url)
        .env("PILASTER__CACHE__MEMORY", "0")
        .start();
    assert_eq!(route(&server, "d/total").await, "engine");
    // The store loses its files.
    std::fs::remove_dir_all(source.store().join("tables")).unwrap();
    for _ in 0..25 {
        let reply = Reply::of(server.get("/v1/queries/d/total").header("cache-control", "no-cache")).await.ok();
        assert!(reply.header("pilaster-route").starts_with("postgres"), "{}", reply.header("pilaster-route"));
        assert_eq!(reply.json()["data"][0]["total"], 5050);
    }
    eventually("the query has gone back", Duration::from_secs(10), || async {
        view(&server, "d/total").await["hold"]["reason"] == "errors"
    })
    .await;
    assert_eq!(route(&server, "d/total").await, "postgres");
    eventually("it is told again", Duration::from_secs(15), || async {
        hook.got().iter().any(|told| told["repeated"] == true)
    })
    .await;
    let seen = json!({ "why": "we look into it" });
    Reply::of(server.request("PUT", "/v1/rollout/d/total/acknowledgement").json(&seen)).await.ok();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = hook.got().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(hook.got().len(), told, "who has seen it is not told again");
    assert_eq!(server.metric("pilaster_trips_total", &[("reason", "errors")]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_engine_is_left() {
    let source = Source::new();
    source.query("heavy", "-- @param n int4\nSELECT count(*) AS n FROM t a, t b, t c WHERE a.v + b.v + c.v > $n");
    take_snapshot(&source.url, &source.store());
    let server = source.node("default = \"engine\"\nrequire_certificate = false\ntrip_p95 = \"1ms\"\n").start();
    for n in 0..25 {
        Reply::of(server.get(&format!("/v1/queries/d/heavy?n={n}"))).await.ok();
    }
    eventually("the query has gone back", Duration::from_secs(10), || async {
        view(&server, "d/heavy").await["hold"]["reason"] == "slow"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_answer_it_is_said_or_the_last_answer_is_given() {
    let source = Source::new();
    take_snapshot(&source.url, &source.store());
    let server = source.node("postgres_ttl = \"1s\"\nstale_max = \"1h\"\n").start();
    let strict = source.node("").start();
    assert_eq!(
        (route(&server, "d/total").await, route(&strict, "d/total").await),
        ("postgres".into(), "postgres".into())
    );
    std::fs::remove_dir_all(source.store().join("tables")).unwrap();
    let Source { folder: _folder, postgres, .. } = source;
    drop(postgres);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let reply = Reply::of(server.get("/v1/queries/d/total")).await.ok();
    assert_eq!((reply.header("pilaster-route"), &reply.json()["data"][0]["total"]), ("postgres; stale", &json!(5050)));
    assert!(reply.header("age").parse::<u64>().unwrap() < 60, "{}", reply.header("age"));
    // It grows older, and is there still.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let again = Reply::of(server.get("/v1/queries/d/total")).await.ok();
    assert_eq!(again.header("pilaster-route"), "postgres; stale");
    assert!(again.header("age").parse::<u64>().unwrap() > reply.header("age").parse::<u64>().unwrap());
    let reply = Reply::of(strict.get("/v1/queries/d/total")).await;
    let problem = reply.problem(503, "unavailable");
    assert_eq!(problem["message"], "neither PostgreSQL nor the engine can answer now", "{problem}");
    assert!(problem["detail"].as_str().unwrap().starts_with("postgres: unavailable; engine: "), "{problem}");
    assert!(!reply.header("retry-after").is_empty());
}

/// Clients who ask without a pause, and what each of them got.
struct Load {
    stop: Arc<AtomicBool>,
    got: Arc<Mutex<BTreeMap<String, u64>>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn on(servers: &[Arc<Server>], paths: &[&str]) -> Self {
        let (stop, got) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<BTreeMap<String, u64>>>::default());
        let clients = (0..6)
            .map(|client: usize| {
                let (stop, got) = (Arc::clone(&stop), Arc::clone(&got));
                let server = Arc::clone(&servers[client % servers.len()]);
                let path = paths[client % paths.len()].to_owned();
                tokio::spawn(async move {
                    let mut turn = client;
                    while !stop.load(Ordering::Relaxed) {
                        turn += 1;
                        let tenant = (turn % 50).to_string();
                        let asked = server.get(&path).header("Pilaster-Tenant", tenant);
                        // Every other wants it computed anew.
                        let asked =
                            if turn.is_multiple_of(2) { asked } else { asked.header("cache-control", "no-cache") };
                        let reply = Reply::of(asked).await;
                        let what = match reply.status {
                            200 => reply.header("pilaster-route").to_owned(),
                            status => format!("{status} {}", reply.json()["code"].as_str().unwrap_or_default()),
                        };
                        *got.lock().unwrap().entry(what).or_default() += 1;
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                })
            })
            .collect();
        Self { stop, got, clients }
    }

    /// What was got since this was asked last.
    fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.got.lock().unwrap())
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

fn failures(got: &BTreeMap<String, u64>) -> u64 {
    got.iter()
        .filter(|(what, _)| what.starts_with(|letter: char| letter.is_ascii_digit()))
        .map(|(_, count)| count)
        .sum()
}

const TENANTS: &str = "[tables]\n\"public.t\" = { access = \"shared\" }\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_query_walks_all_the_way_and_back_under_load() {
    let source = Source::new();
    source.query("total.postgres", WRONG_BY_A_SETTING);
    let redis = RedisServer::start();
    assert!(source.certify().contains("1 of 1 queries equal"));
    let hook = Webhook::listen();
    let node = || {
        let config = format!("shadow_engine_percent = 100\n{TENANTS}");
        let settings = source.node(&config).redis(&redis.url()).env("PILASTER__ROLLOUT__ALERT_WEBHOOK", &hook.url);
        Arc::new(settings.start())
    };
    let nodes = [node(), node()];
    let load = Load::on(&nodes, &["/v1/queries/d/total"]);
    let settle = async || tokio::time::sleep(Duration::from_secs(3)).await;
    let mut walked = Vec::new();
    let mut step = |name: &str, got: BTreeMap<String, u64>| {
        println!("{name}: {got:?}");
        assert_eq!(failures(&got), 0, "{name}: {got:?}");
        walked.push((name.to_owned(), got));
    };
    settle().await;
    step("postgres", load.take());
    for (name, wanted) in [
        ("shadow", json!({ "route": "shadow", "why": "walk" })),
        ("10 %", json!({ "route": "engine", "percent": 10, "why": "walk" })),
        ("100 %", json!({ "route": "engine", "why": "walk" })),
    ] {
        set(&nodes[0], "d/total", wanted).await;
        settle().await;
        load.take();
        settle().await;
        step(name, load.take());
    }
    source.set_wrong(true);
    eventually("the query trips", Duration::from_secs(30), || async {
        view(&nodes[1], "d/total").await["hold"]["reason"] == "different"
    })
    .await;
    settle().await;
    step("tripping", load.take());
    settle().await;
    step("tripped", load.take());
    assert!(!hook.got().is_empty());
    source.set_wrong(false);
    assert!(source.certify().contains("1 of 1 queries equal"));
    set(&nodes[1], "d/total", json!({ "route": "engine", "why": "the wrong answer was Postgres's" })).await;
    settle().await;
    load.take();
    settle().await;
    step("back", load.take());
    load.end().await;
    let only = |name: &str, routes: &[&str]| {
        let (_, got) = walked.iter().find(|(step, _)| step == name).unwrap();
        let keys: Vec<&str> = got.keys().map(String::as_str).collect();
        assert_eq!(keys, routes, "{name}: {got:?}");
    };
    only("postgres", &["postgres"]);
    only("shadow", &["shadow"]);
    only("10 %", &["engine", "postgres"]);
    only("100 %", &["engine"]);
    only("tripped", &["postgres"]);
    only("back", &["engine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_fail_in_turn_under_load() {
    let source = Source::new();
    source.query("other", "SELECT count(*) AS n FROM t");
    let mut redis = RedisServer::start();
    take_snapshot(&source.url, &source.store());
    let config = format!("require_certificate = false\nstale_max = \"10m\"\ntrip_error_percent = 100\n{TENANTS}");
    let server = Arc::new(source.node(&config).redis(&redis.url()).start());
    set(&server, "d/total", json!({ "route": "engine", "why": "x" })).await;
    let load = Load::on(&[Arc::clone(&server)], &["/v1/queries/d/total", "/v1/queries/d/other"]);
    let phase = async |name: &str| {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let got = load.take();
        println!("{name}: {got:?}");
        assert_eq!(failures(&got), 0, "{name}: {got:?}");
        got
    };
    let got = phase("all is well").await;
    assert_eq!(got.keys().collect::<Vec<_>>(), ["engine", "postgres"]);
    redis.kill();
    phase("Redis is killed").await;
    // Plans and footers are in memory: what is asked anew finds no file.
    let tables = source.store().join("tables");
    let away = source.store().join("away");
    std::fs::rename(&tables, &away).unwrap();
    let got = phase("the engine finds no files").await;
    assert!(got.contains_key("postgres; fallback"), "{got:?}");
    std::fs::rename(&away, &tables).unwrap();
    phase("the engine is mended").await;
    let Source { folder: _folder, postgres, .. } = source;
    drop(postgres);
    load.take();
    let got = phase("Postgres is killed").await;
    assert!(got.keys().all(|route| route.starts_with("engine")), "{got:?}");
    load.end().await;
}

/// The whole of what the command line shows of a query that is held.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_why() {
    let source = Source::new();
    source.query("total.postgres", "SELECT sum(v) + 1 AS total FROM t");
    let shown = source.certify();
    assert!(shown.contains("1 different"), "{shown}");
    let cli = |arguments: &[&str]| {
        let mut command = pilaster(arguments);
        command.arg("--store").arg(source.store()).arg("--queries").arg(source.queries());
        run(command.env("PILASTER__ROLLOUT__ENABLED", "true").env("PILASTER__POSTGRES__URL", &source.url))
    };
    let shown = cli(&["rollout", "show", "d/total"]);
    assert!(shown.contains("held at postgres, the two sides gave different answers: snapshot 1: row 1"), "{shown}");
    cli(&["rollout", "acknowledge", "d/total", "--why", "seen"]);
    assert!(cli(&["rollout", "log"]).starts_with("20"));
    assert!(Path::new(&source.store()).join("certificates").is_dir());
}
