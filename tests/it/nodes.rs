//! Several nodes, snapshots that come and go, parts that fail: what a fleet does.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    support::Postgres,
    support_redis::RedisServer,
    support_server::{Demo, Reply, Server, Settings, eventually, take_snapshot},
};

const MRR: &str = "/v1/queries/revenue/mrr_by_plan";
/// All values of both tables; in a whole snapshot they are the same.
const WHOLE: &str = "SELECT min(v) AS low, max(v) AS high, count(*) AS n FROM (SELECT v FROM left_half UNION ALL SELECT v FROM right_half) AS both";

/// Two tables that always hold one value, a store and a folder of queries.
struct Source {
    database: String,
    url: String,
    folder: TempDir,
}

impl Source {
    fn new(database: &str) -> Self {
        let url = Postgres::start().database(database);
        let source = Self { database: database.to_owned(), url, folder: tempfile::tempdir().unwrap() };
        fill(Postgres::start(), database);
        source.write_query("d/whole.sql", WHOLE);
        source.write_query("d/left.sql", "SELECT max(v) AS v FROM left_half");
        source.write_query("d/right.sql", "SELECT max(v) AS v FROM right_half");
        source
    }

    fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    fn queries(&self) -> std::path::PathBuf {
        self.folder.path().join("queries")
    }

    fn write_query(&self, path: &str, text: &str) {
        let path = self.queries().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Sets every row of both tables, in one transaction.
    fn set(&self, value: u64) {
        let sql = format!("BEGIN; UPDATE left_half SET v = {value}; UPDATE right_half SET v = {value}; COMMIT");
        Postgres::start().psql(&self.database, &sql);
    }

    fn snapshot(&self) {
        take_snapshot(&self.url, &self.store());
    }

    fn replica(&self) -> Settings {
        Settings::replica(&self.store()).queries(&self.queries())
    }

    fn taker(&self) -> Settings {
        Settings::source(&self.url, &self.store()).queries(&self.queries())
    }

    /// Holds a table so that no run can lock it, until dropped.
    async fn hold(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("BEGIN; LOCK TABLE left_half IN ACCESS EXCLUSIVE MODE").await.unwrap();
        client
    }
}

fn fill(postgres: &Postgres, database: &str) {
    let table = |name: &str| {
        format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, v int8 NOT NULL); INSERT INTO {name} SELECT n, 1 FROM generate_series(1, 1000) AS n;"
        )
    };
    postgres.psql(database, &format!("{}{}", table("left_half"), table("right_half")));
}

async fn snapshots(server: &Server) -> Value {
    Reply::of(server.get("/v1/snapshots")).await.ok().json()
}

async fn versions(server: &Server) -> Vec<u64> {
    let listed = snapshots(server).await;
    listed["snapshots"].as_array().unwrap().iter().map(|snapshot| snapshot["version"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_compute_a_result_once() {
    let redis = RedisServer::start();
    let demo = Demo::shared();
    let first = demo.server().redis(&redis.url()).start();
    let second = demo.server().redis(&redis.url()).start();
    let computed = Reply::of(first.get(MRR)).await.ok();
    assert_eq!(computed.header("cache-status"), "Pilaster; fwd=miss; stored");
    is_in_redis(&redis, 1).await;
    let shared = Reply::of(second.get(MRR)).await.ok();
    assert_eq!(shared.header("cache-status"), "Pilaster; hit; detail=redis");
    assert_eq!((&shared.body, shared.header("etag")), (&computed.body, computed.header("etag")));
    let again = Reply::of(second.get(MRR)).await.ok();
    assert_eq!(again.header("cache-status"), "Pilaster; hit; detail=memory");
    assert_eq!(second.metric("pilaster_cache_fills_total", &[]).await, 0.0);
    assert_eq!(second.metric("pilaster_queries_total", &[("query", "mrr_by_plan"), ("cache", "redis")]).await, 1.0);

    // Asked of both at the same moment, still once.
    let path = "/v1/queries/usage/active_users?from=2025-01-01";
    let asked: Vec<_> =
        (0..40).map(|n| tokio::spawn(Reply::of(if n % 2 == 0 { first.get(path) } else { second.get(path) }))).collect();
    let mut bodies = std::collections::BTreeSet::new();
    for reply in asked {
        bodies.insert(reply.await.unwrap().ok().body);
    }
    assert_eq!(bodies.len(), 1);
    let fills =
        first.metric("pilaster_cache_fills_total", &[]).await + second.metric("pilaster_cache_fills_total", &[]).await;
    assert_eq!(fills, 2.0, "one for each question, on either node");
}

async fn is_in_redis(redis: &RedisServer, count: usize) {
    eventually("the reply is in Redis", Duration::from_secs(5), || async { values(redis).len() == count }).await;
}

/// What is kept, by key; not the leases.
fn values(redis: &RedisServer) -> Vec<(String, Vec<u8>)> {
    let mut connection = redis.connect();
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    keys.sort();
    let get = |key: String| {
        let value: Option<Vec<u8>> = redis::cmd("GET").arg(&key).query(&mut redis.connect()).unwrap();
        Some((key, value?))
    };
    keys.into_iter().filter_map(get).filter(|(_, value)| value.len() > 100).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_says_is_not_believed() {
    let redis = RedisServer::start();
    let demo = Demo::shared();
    let paths = [MRR, "/v1/queries/revenue/mrr_movements", "/v1/queries/support/sla_breaches"];
    let first = demo.server().redis(&redis.url()).start();
    let mut right = Vec::new();
    for path in paths {
        right.push(Reply::of(first.get(path)).await.ok());
        right.push(Reply::of(first.get(path).header("Pilaster-Tenant", "1")).await.ok());
    }
    is_in_redis(&redis, 6).await;
    // Each key gets the value of the next, which is well signed and another's; one is cut, one is garbage.
    let kept = values(&redis);
    let mut connection = redis.connect();
    for (index, (key, _)) in kept.iter().enumerate() {
        let value = match index {
            0 => b"garbage".repeat(100),
            1 => kept[1].1[..kept[1].1.len() / 2].to_vec(),
            _ => kept[(index + 1) % kept.len()].1.clone(),
        };
        redis::cmd("SET").arg(key).arg(value).exec(&mut connection).unwrap();
    }
    let second = demo.server().redis(&redis.url()).start();
    for (index, right) in right.iter().enumerate() {
        let request = second.get(paths[index / 2]);
        let request = if index % 2 == 0 { request } else { request.header("Pilaster-Tenant", "1") };
        let reply = Reply::of(request).await.ok();
        assert_eq!(reply.body, right.body, "{}", paths[index / 2]);
        assert_eq!(reply.header("cache-status"), "Pilaster; fwd=miss; stored");
    }
    assert!(second.metric("pilaster_cache_redis_rejected_total", &[]).await >= 6.0);
    // A node with another secret believes nothing either.
    let stranger = demo.server().redis(&redis.url()).env("PILASTER__CACHE__HMAC_KEY", &"77".repeat(32)).start();
    assert_eq!(Reply::of(stranger.get(MRR)).await.ok().header("cache-status"), "Pilaster; fwd=miss; stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nothing_fails() {
    let mut redis = RedisServer::start();
    let server = Demo::shared().server().redis(&redis.url()).start();
    let ask = async |tenant: u32, within: Duration| {
        let began = Instant::now();
        let reply = Reply::of(server.get(MRR).header("Pilaster-Tenant", tenant.to_string())).await.ok();
        assert!(began.elapsed() < within, "{:?}", began.elapsed());
        reply
    };
    ask(1, Duration::from_secs(2)).await;
    redis.freeze();
    for tenant in 2..8 {
        ask(tenant, Duration::from_millis(600)).await;
    }
    redis.thaw();
    redis.kill();
    for tenant in 8..20 {
        ask(tenant, Duration::from_millis(600)).await;
    }
    assert_eq!(Reply::of(server.get("/readyz")).await.status, 200, "ready without Redis");
    redis.restart();
    let mut tenant = 20;
    eventually("Redis is used again", Duration::from_secs(20), || {
        tenant = tenant % 40 + 1;
        let request = server
            .get(&format!("{MRR}?from=2025-0{}-01", tenant % 9 + 1))
            .header("Pilaster-Tenant", tenant.to_string());
        let redis = &redis;
        async move {
            Reply::of(request).await.ok();
            !values(redis).is_empty()
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_snapshot_it_says_so() {
    let source = Source::new("nodes_pending");
    let held = source.hold().await;
    let server = source.taker().start();
    for request in [server.get("/v1/queries/d/whole"), server.sql("SELECT 1 AS x"), server.get("/v1/tables")] {
        let reply = Reply::of(request).await;
        reply.problem(503, "snapshot_pending");
        assert_eq!(reply.header("retry-after"), "2");
    }
    let ready = Reply::of(server.get("/readyz")).await;
    assert_eq!((ready.status, &ready.json()["reason"]), (503, &json!("no snapshot yet")));
    Reply::of(server.get("/livez")).await.ok();
    let queries = Reply::of(server.get("/v1/queries")).await.ok().json();
    assert_eq!(queries["queries"][0]["columns"], Value::Null, "what it returns is not known yet");
    eventually("the run shows", Duration::from_secs(10), || async {
        !snapshots(&server).await["run"]["running"].is_null()
    })
    .await;
    held.batch_execute("COMMIT").await.unwrap();
    server.serves(1).await;
    let row = Reply::of(server.get("/v1/queries/d/whole")).await.row();
    assert_eq!(row, json!({"low": 1, "high": 1, "n": 2000}));
    let listed = snapshots(&server).await;
    assert_eq!((&listed["served"], &listed["run"]["last"]["version"]), (&json!(1), &json!(1)));
    assert!(listed["run"]["last"]["problem"].is_null() && listed["run"]["running"].is_null(), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_a_run_joins_the_one_under_way() {
    let source = Source::new("nodes_join");
    source.snapshot();
    let server = source.taker().start();
    let held = source.hold().await;
    source_started(&server).await;
    let first = Reply::of(server.post("/v1/snapshots")).await;
    assert_eq!(first.status, 202, "{}", first.text());
    let started = first.json()["running"]["started_at"].clone();
    assert!(started.is_string(), "{}", first.text());
    for _ in 0..5 {
        let joined = Reply::of(server.post("/v1/snapshots")).await;
        assert_eq!((joined.status, &joined.json()["running"]["started_at"]), (202, &started), "the same run");
    }
    assert_eq!(Reply::of(server.get("/v1/queries/d/whole")).await.row()["high"], 1, "the old is served meanwhile");
    held.batch_execute("COMMIT").await.unwrap();
    server.serves(2).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(versions(&server).await, [2, 1], "one run for all who asked");
    assert!(snapshots(&server).await["run"]["running"].is_null());
    let tenant = server.post("/v1/snapshots").header("Pilaster-Tenant", "1");
    assert_eq!(Reply::of(tenant).await.status, 202, "a view as a tenant is still the administrator's");
    server.serves(3).await;
}

async fn source_started(server: &Server) {
    assert_eq!(snapshots(server).await["served"], 1);
}

/// Under load, each reply is whole, of the version that it names, and none fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_is_swapped_in_without_a_failed_request() {
    let source = Source::new("nodes_swap");
    source.snapshot();
    let server = Arc::new(source.taker().start());
    let done = Arc::new(AtomicBool::new(false));
    let newest = Arc::new(AtomicU64::new(0));
    let load: Vec<_> = (0..4)
        .map(|worker| {
            let (server, done, newest) = (Arc::clone(&server), Arc::clone(&done), Arc::clone(&newest));
            tokio::spawn(async move {
                let mut asked = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    let request = match (worker, asked % 2) {
                        (0, _) => {
                            check_dashboard(&server).await;
                            asked += 1;
                            continue;
                        }
                        // Half of them past the cache.
                        (_, 0) => server.get("/v1/queries/d/whole").header("Cache-Control", "no-cache"),
                        _ => server.get("/v1/queries/d/whole"),
                    };
                    let before = newest.load(Ordering::SeqCst);
                    let reply = Reply::of(request).await.ok();
                    let version: u64 = reply.header("pilaster-snapshot").parse().unwrap();
                    assert_eq!(reply.row(), json!({"low": version, "high": version, "n": 2000}), "whole, and as named");
                    assert!(version >= before, "time does not run backwards: {version} after {before}");
                    newest.fetch_max(version, Ordering::SeqCst);
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    for version in 2..=5 {
        source.set(version);
        assert_eq!(Reply::of(server.post("/v1/snapshots")).await.status, 202);
        server.serves(version).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    done.store(true, Ordering::Relaxed);
    let mut asked = 0;
    for worker in load {
        asked += worker.await.unwrap();
    }
    assert!(asked > 200, "{asked} requests were answered meanwhile");
    assert_eq!(newest.load(Ordering::SeqCst), 5);
    let errors = server.metric("pilaster_http_requests_total", &[("status", "500")]).await
        + server.metric("pilaster_http_requests_total", &[("status", "503")]).await;
    assert_eq!(errors, 0.0);

    // Older versions stay for those who pin them, as long as their files do.
    for version in 3..=5 {
        let reply = Reply::of(server.get(&format!("/v1/queries/d/whole?snapshot={version}"))).await.ok();
        assert_eq!(
            (reply.header("pilaster-snapshot"), reply.row()["high"].as_u64()),
            (version.to_string().as_str(), Some(version))
        );
        let described = Reply::of(server.get(&format!("/v1/snapshots/{version}"))).await.ok().json();
        assert_eq!(described["snapshot"], version);
    }
    assert_eq!(versions(&server).await, [5, 4, 3, 2, 1]);
}

/// All lines of a dashboard are of one snapshot, the one in the head.
async fn check_dashboard(server: &Server) {
    let reply = Reply::of(server.post("/v1/dashboards/d")).await.ok();
    let version: u64 = reply.header("pilaster-snapshot").parse().unwrap();
    let lines: Vec<Value> = reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    for line in lines {
        let row = &line["result"]["data"][0];
        let value = if row["v"].is_null() { &row["high"] } else { &row["v"] };
        assert_eq!((&line["status"], value.as_u64()), (&json!(200), Some(version)), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_follows() {
    let source = Source::new("nodes_replica");
    std::fs::create_dir_all(source.store()).unwrap();
    let replica = source.replica().start();
    Reply::of(replica.get("/v1/queries/d/whole")).await.problem(503, "snapshot_pending");
    Reply::of(replica.post("/v1/snapshots")).await.problem(400, "invalid_request");
    for version in 1..=3 {
        source.set(version);
        source.snapshot();
        let began = Instant::now();
        replica.serves(version).await;
        assert!(began.elapsed() < Duration::from_millis(2_500), "it took {:?}", began.elapsed());
        assert_eq!(Reply::of(replica.get("/v1/queries/d/whole")).await.row()["low"], version);
    }
    // What is broken is not served; the one before is.
    let manifest = newest_manifest(&source.store());
    std::fs::write(manifest.with_file_name(format!("{:020}.json", 4)), "{}").unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(Reply::of(replica.get("/v1/queries/d/whole")).await.ok().header("pilaster-snapshot"), "3");
    assert_eq!(
        Reply::of(source.replica().start().get("/readyz")).await.ok().json()["snapshot"],
        3,
        "also after a restart"
    );
}

fn newest_manifest(store: &Path) -> std::path::PathBuf {
    let manifests = std::fs::read_dir(store.join("manifests")).unwrap();
    manifests.map(|entry| entry.unwrap().path()).max().unwrap()
}

/// Two nodes with one schedule: each due time has one run, whoever takes it. The pattern's sixth field is seconds.
#[tokio::test(flavor = "multi_thread")]
async fn one_node_of_two_takes_each_scheduled_run() {
    let source = Source::new("nodes_schedule");
    source.snapshot();
    let period = 4;
    let every = format!("*/{period} * * * * *");
    let nodes = [(); 2].map(|()| source.taker().env("PILASTER__SNAPSHOT__SCHEDULE", &every).start());
    let next: DateTime<Utc> = snapshots(&nodes[0]).await["run"]["next_at"].as_str().unwrap().parse().unwrap();
    assert!(next - Utc::now() < chrono::TimeDelta::seconds(period + 1), "{next}");
    for node in &nodes {
        node.serves(4).await;
    }
    let listed = snapshots(&nodes[1]).await;
    let mut slots: Vec<i64> = listed["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|snapshot| snapshot["version"].as_u64().unwrap() > 1)
        .map(|snapshot| snapshot["as_of"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap().timestamp() / period)
        .collect();
    slots.sort_unstable();
    let runs = slots.len();
    slots.dedup();
    assert_eq!(slots.len(), runs, "one run for each due time: {listed}");
    let count = async |outcome: &'static str| {
        let mut sum = 0.0;
        for node in &nodes {
            sum += node.metric("pilaster_snapshot_runs_total", &[("outcome", outcome)]).await;
        }
        sum
    };
    assert_eq!((count("published").await as usize, count("failed").await as usize), (runs, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_leaves_the_old_served() {
    let postgres = Postgres::private(&[], "");
    let url = postgres.database("nodes_failing");
    fill(&postgres, "nodes_failing");
    let folder = tempfile::tempdir().unwrap();
    let server = Settings::source(&url, folder.path()).start();
    server.serves(1).await;
    let before = Reply::of(server.sql(WHOLE)).await.ok();
    drop(postgres);
    assert_eq!(Reply::of(server.post("/v1/snapshots")).await.status, 202);
    eventually("the run has failed", Duration::from_secs(30), || async {
        let run = snapshots(&server).await["run"].clone();
        run["running"].is_null() && !run["last"]["problem"].is_null()
    })
    .await;
    let listed = snapshots(&server).await;
    let last = &listed["run"]["last"];
    assert_eq!((&last["version"], &listed["served"]), (&Value::Null, &json!(1)), "{listed}");
    assert_eq!(last["problem"]["code"], "unavailable", "{last}");
    assert!(!last.to_string().contains("s3cret"), "no password in {last}");
    assert!(!server.log().contains("s3cret"), "no password in the log");
    let after = Reply::of(server.sql(WHOLE).header("Cache-Control", "no-cache")).await.ok();
    assert_eq!((&after.body, after.header("pilaster-snapshot")), (&before.body, "1"));
    assert_eq!(server.metric("pilaster_snapshot_runs_total", &[("outcome", "failed")]).await, 1.0);
    // A restart without the source serves what there is.
    let restarted = Settings::source(&url, folder.path()).start();
    assert_eq!(Reply::of(restarted.get("/readyz")).await.ok().json()["snapshot"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_queries_are_read_again() {
    let source = Source::new("nodes_reload");
    source.snapshot();
    let server = source.replica().start();
    let ask = async |path: &str| Reply::of(server.get(path)).await;
    let says = async |path: &'static str, key: &'static str, value: u64| {
        eventually(format!("{path} says {value}"), Duration::from_secs(4), || async {
            let reply = ask(path).await;
            reply.status == 200 && reply.json()["data"][0][key] == value
        })
        .await;
    };
    let broken = async |count: usize| {
        eventually(format!("{count} files are broken"), Duration::from_secs(4), || async {
            ask("/v1/queries").await.json()["broken"].as_array().unwrap().len() == count
        })
        .await;
        ask("/v1/queries").await.json()["broken"].clone()
    };
    source.write_query("d/new.sql", "SELECT 1 AS x");
    says("/v1/queries/d/new", "x", 1).await;
    source.write_query("d/new.sql", "SELECT 22 AS x");
    says("/v1/queries/d/new", "x", 22).await;
    let document = ask("/openapi.json").await.json();
    assert!(document["paths"].get("/v1/queries/d/new").is_some(), "the API's description follows");

    source.write_query("d/new.sql", "SELEC 333 AS x");
    let listed = broken(1).await;
    assert_eq!(listed[0]["file"], "d/new.sql", "{listed}");
    assert!(!listed[0]["message"].as_str().unwrap().is_empty());
    assert_eq!(ask("/v1/queries/d/new").await.row()["x"], 22, "the last good one is kept");
    source.write_query("d/never.sql", "-- @wrong\nSELECT 1 AS x");
    let listed = broken(2).await;
    assert!(listed.to_string().contains("@wrong is not an annotation"), "{listed}");
    ask("/v1/queries/d/never").await.problem(503, "unavailable");

    source.write_query("d/new.sql", "SELECT 4444 AS x");
    says("/v1/queries/d/new", "x", 4444).await;
    broken(1).await;
    std::fs::remove_file(source.queries().join("d/new.sql")).unwrap();
    eventually("it is gone", Duration::from_secs(4), || async { ask("/v1/queries/d/new").await.status == 404 }).await;
}
