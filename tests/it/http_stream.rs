//! Queries that run long or answer much: listed, stopped, cut, streamed in bounded memory, shared, and let finish.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::support_server::{Demo, Reply, Server, eventually};

/// A billion steps, one after the other.
const LONG: &str =
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 1000000000) SELECT max(n) AS n FROM r";
/// Billions of pairs, none of which is counted.
const PAIRS: &str = "SELECT count(*) AS n FROM events a CROSS JOIN events b WHERE a.id * 3 + b.id * 5 < 0";
/// Rows of the calendar times rows of the users: 1,533,840 rows of about 60 bytes.
const WIDE: &str = "SELECT c.day, c.month, u.id, u.email FROM calendar c CROSS JOIN users u";
const WIDE_ROWS: usize = 1826 * 840;
/// A stop is prompt when it comes within this.
const PROMPT: Duration = Duration::from_secs(2);
const MIB: u64 = 1 << 20;

/// Sends a query that runs until it is stopped, and waits until it is listed.
async fn start_long(server: &Server, id: &str) -> tokio::task::JoinHandle<reqwest::Result<Reply>> {
    start(server, LONG, id).await
}

async fn start(server: &Server, sql: &str, id: &str) -> tokio::task::JoinHandle<reqwest::Result<Reply>> {
    let asked = tokio::spawn(Reply::try_of(server.sql(sql).header("X-Request-Id", id)));
    is_listed(server, id, true).await;
    asked
}

async fn is_listed(server: &Server, id: &str, expect: bool) {
    eventually(format!("{id} is listed: {expect}"), Duration::from_secs(5), || async {
        server.executions().await.iter().any(|execution| execution["id"] == id) == expect
    })
    .await;
}

/// Panics unless the server's threads rest.
async fn rests(server: &Server) {
    eventually("the server rests", PROMPT, || async {
        let before = server.cpu_time();
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.cpu_time() - before <= Duration::from_millis(30)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_stops_a_query() {
    let server = Demo::shared().server().start();
    let asked = start_long(&server, "long-1").await;
    let execution = server.executions().await.remove(0);
    assert_eq!((execution["id"].as_str(), execution["principal"].as_str()), (Some("long-1"), Some("local")));
    assert!(execution["query"].is_null() && execution["started_at"].is_string(), "{execution}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(server.executions().await[0]["elapsed_ms"].as_u64().unwrap() >= 100);

    let began = Instant::now();
    assert_eq!(Reply::of(server.request("DELETE", "/v1/executions/long-1")).await.status, 204);
    let stopped = asked.await.unwrap().unwrap();
    assert!(began.elapsed() < PROMPT, "it took {:?}", began.elapsed());
    assert_eq!(stopped.problem(499, "cancelled")["sqlstate"], "57014");
    is_listed(&server, "long-1", false).await;
    rests(&server).await;
    Reply::of(server.request("DELETE", "/v1/executions/long-1")).await.problem(404, "not_found");
    assert_eq!(Reply::of(server.sql("SELECT 1 AS x")).await.row()["x"], 1, "the place is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_stops_its_query() {
    let server = Demo::shared().server().start();
    let asked = start_long(&server, "long-2").await;
    asked.abort();
    let began = Instant::now();
    is_listed(&server, "long-2", false).await;
    assert!(began.elapsed() < Duration::from_secs(1), "it was listed for {:?}", began.elapsed());
    rests(&server).await;

    // And one that goes away midway through the rows.
    let streaming = Demo::shared().server().env("PILASTER__CACHE__ENTRY_BYTES_MAX", "64KiB").start();
    let many = "SELECT a.id, b.id AS other, a.session_id FROM events a CROSS JOIN events b";
    let request = streaming.sql(many).header("X-Request-Id", "long-3").query(&[("format", "csv")]);
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.chunk().await.unwrap().is_some());
    is_listed(&streaming, "long-3", true).await;
    drop(response);
    is_listed(&streaming, "long-3", false).await;
    rests(&streaming).await;
}

/// Whatever the plan is made of, it stops. Only a query that has stopped has given its thread back.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_finds_nothing_stops() {
    let server = Demo::shared().server().start();
    let exists =
        "SELECT count(*) AS n FROM events a WHERE EXISTS (SELECT 1 FROM events b WHERE a.id * 3 + b.id * 5 < 0)";
    for (id, sql) in [
        ("pairs", PAIRS.to_owned()),
        ("left", PAIRS.replace("CROSS JOIN events b WHERE", "LEFT JOIN events b ON")),
        ("exists", exists.to_owned()),
    ] {
        let asked = start(&server, &sql, id).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(Reply::of(server.request("DELETE", &format!("/v1/executions/{id}"))).await.status, 204);
        asked.await.unwrap().unwrap().problem(499, "cancelled");
        rests(&server).await;
    }
}

/// Whoever waits for the same result keeps it going; the last who leaves stops it.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_query_lives_as_long_as_somebody_waits() {
    let server = Demo::shared().server().start();
    let first = start_long(&server, "shared-1").await;
    let second = start_long(&server, "shared-2").await;
    first.abort();
    is_listed(&server, "shared-1", false).await;
    let before = server.cpu_time();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(server.cpu_time() - before > Duration::from_millis(200), "it is still computed for the second");
    second.abort();
    is_listed(&server, "shared-2", false).await;
    rests(&server).await;
    assert_eq!(server.metric("pilaster_cache_fills_total", &[("outcome", "abandoned")]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_too_slow_is_ended() {
    let demo = Demo::shared();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    std::fs::write(folder.path().join("d/slow.sql"), format!("-- @timeout 200ms\n{LONG}")).unwrap();
    let server = demo.server().queries(folder.path()).env("PILASTER__ENGINE__TIMEOUT", "700ms").start();
    for (request, at_least) in [(server.sql(LONG), 700), (server.get("/v1/queries/d/slow"), 200)] {
        let began = Instant::now();
        let problem = Reply::of(request).await.problem(504, "deadline_exceeded");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(at_least) && took < Duration::from_millis(at_least) + PROMPT, "{took:?}");
        assert!(problem["hint"].as_str().unwrap().contains("engine.timeout"), "{problem}");
    }
    rests(&server).await;
    assert!(server.executions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_fails_midway_is_cut() {
    let server = Demo::shared().server().env("PILASTER__CACHE__ENTRY_BYTES_MAX", "64KiB").start();
    // The numbers rise, and the 1,000,000th divides by zero.
    let late = "SELECT n, 1000 / (n - 1000000) AS x FROM (SELECT row_number() OVER () AS n FROM calendar c CROSS JOIN users u) t";
    for format in ["json", "ndjson", "csv", "arrow"] {
        for encoding in ["identity", "gzip", "zstd"] {
            let request = server.sql(late).query(&[("format", format)]).header("Accept-Encoding", encoding);
            let mut response = request.send().await.unwrap();
            assert_eq!(response.status(), 200, "{format}");
            let mut received = 0;
            let ended = loop {
                match response.chunk().await {
                    Ok(Some(chunk)) => received += chunk.len(),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            assert!(ended.is_err(), "{format} in {encoding}: {received} bytes looked complete");
            assert!(received > 10_000, "{format} in {encoding}: it failed midway, after {received} bytes");
        }
    }
    assert!(server.executions().await.is_empty());
    // An operator's stop and the deadline cut a stream, too.
    let mut response = server.sql(WIDE).header("X-Request-Id", "cut").query(&[("format", "csv")]).send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    assert_eq!(Reply::of(server.request("DELETE", "/v1/executions/cut")).await.status, 204);
    while let Ok(chunk) = response.chunk().await {
        assert!(chunk.is_some(), "a stopped reply looked complete");
    }
    let hasty = Demo::shared()
        .server()
        .env("PILASTER__CACHE__ENTRY_BYTES_MAX", "64KiB")
        .env("PILASTER__ENGINE__TIMEOUT", "1s")
        .start();
    let mut response = hasty.sql(WIDE).query(&[("format", "csv")]).send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    while let Ok(chunk) = response.chunk().await {
        assert!(chunk.is_some(), "a late reply looked complete");
    }
    is_listed(&hasty, "none", false).await;
    assert!(hasty.executions().await.is_empty());
}

/// HTTP/1.0 has no chunks: the end of the connection is the end of the body, and a cut would look like an end.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_shows_to_http_1_0_as_well() {
    let server = Demo::shared().server().env("PILASTER__CACHE__ENTRY_BYTES_MAX", "64KiB").start();
    let late = "SELECT n, 1000 / (n - 1000000) AS x FROM (SELECT row_number() OVER () AS n FROM calendar c CROSS JOIN users u) t";
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "POST /v1/sql?format=csv HTTP/1.0\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{late}",
        late.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut reply = Vec::new();
    let ended = stream.read_to_end(&mut reply);
    let head = String::from_utf8_lossy(&reply[..reply.len().min(300)]).into_owned();
    // A refusal, or a reset: anything but a good ending.
    assert!(ended.is_err() || !head.contains(" 200 "), "{} bytes looked complete: {head}", reply.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn millions_of_rows_take_little_memory() {
    let server = Demo::shared().server().start();
    // What a process of this size has before: the engine's threads, the tables' footers.
    assert_eq!(Reply::of(server.sql("SELECT count(*) AS n FROM users")).await.row()["n"], 840);
    let many = "SELECT c.day, c.month, u.id, u.email, p.name FROM calendar c CROSS JOIN users u CROSS JOIN plans p";
    for format in ["ndjson", "csv"] {
        let before = server.memory_bytes_max();
        let body = slow_read(&server, many, format);
        let lines = body.lines - usize::from(format == "csv");
        assert_eq!(lines, 4 * WIDE_ROWS, "{format}");
        assert!(body.bytes > 300_000_000, "{format} has {} bytes", body.bytes);
        let grew = server.memory_bytes_max() - before;
        assert!(grew < 100 * MIB, "{format}: {} MiB for a reply of {} MiB", grew / MIB, body.bytes as u64 / MIB);
        eprintln!(
            "{format}: {} MiB were sent in {:.1?}, memory grew by {} MiB",
            body.bytes as u64 / MIB,
            body.took,
            grew / MIB
        );
    }
    // Too large to keep: computed again, and nothing of it stays.
    let reply = server.sql(many).query(&[("format", "csv")]).send().await.unwrap();
    assert_eq!(reply.headers()["cache-status"], "Pilaster; fwd=bypass");
    drop(reply);
    assert_eq!(server.metric("pilaster_cache_fills_total", &[("outcome", "stored")]).await, 1.0);
    assert!(server.metric("pilaster_cache_fills_total", &[("outcome", "too_large")]).await >= 2.0);
    assert!(server.metric("pilaster_cache_memory_bytes", &[]).await < 1e6);
}

struct SlowBody {
    lines: usize,
    bytes: usize,
    took: Duration,
}

/// Reads nothing for a second, and then in pieces.
fn slow_read(server: &Server, sql: &str, format: &str) -> SlowBody {
    let began = Instant::now();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request = format!(
        "POST /v1/sql?format={format} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{sql}",
        sql.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let mut lines = 0;
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 20];
    let mut tail = Vec::new();
    loop {
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        bytes += count;
        // Heads and chunk sizes end in \r\n, rows in \n alone.
        let mut before = tail.last().copied().unwrap_or(0);
        for byte in &buffer[..count] {
            lines += usize::from(*byte == b'\n' && before != b'\r');
            before = *byte;
        }
        tail.extend_from_slice(&buffer[..count]);
        let keep = tail.len().saturating_sub(16);
        tail.drain(..keep);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(tail.ends_with(b"0\r\n\r\n"), "the reply is whole");
    SlowBody { lines, bytes, took: began.elapsed() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_equal_questions_are_computed_once() {
    let server = Demo::shared().server().start();
    let path = "/v1/queries/usage/active_users?from=2025-01-01";
    let asked: Vec<_> = (0..1_000).map(|_| tokio::spawn(Reply::of(server.get(path)))).collect();
    let mut bodies = BTreeSet::new();
    let mut stored = 0;
    for reply in asked {
        let reply = reply.await.unwrap().ok();
        stored += u32::from(reply.header("cache-status") == "Pilaster; fwd=miss; stored");
        bodies.insert(reply.body);
    }
    assert_eq!((bodies.len(), stored), (1, 1), "all bodies are one, made once");
    assert_eq!(server.metric("pilaster_cache_fills_total", &[]).await, 1.0);
    let named = [("dashboard", "usage"), ("query", "active_users")];
    assert_eq!(server.metric("pilaster_queries_total", &named).await, 1_000.0);
    let computed = server.metric("pilaster_queries_total", &[&named[..], &[("cache", "miss")]].concat()).await;
    assert_eq!(computed, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_it_can_do_is_said_at_once() {
    let settings = Demo::shared().server().env("PILASTER__ENGINE__QUERIES_MAX", "1");
    let server = settings.env("PILASTER__ENGINE__QUEUE_MAX", "1").env("PILASTER__ENGINE__QUEUE_TIMEOUT", "1s").start();
    let running = start_long(&server, "running").await;
    let waiting = tokio::spawn(Reply::of(server.sql("SELECT 1 AS x").header("X-Request-Id", "waiting")));
    is_listed(&server, "waiting", true).await;
    let began = Instant::now();
    let full = Reply::of(server.sql("SELECT 2 AS x")).await;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    full.problem(503, "server_full");
    assert_eq!(full.header("retry-after"), "1");
    waiting.await.unwrap().problem(503, "server_full");
    Reply::of(server.request("DELETE", "/v1/executions/running")).await;
    running.await.unwrap().unwrap().problem(499, "cancelled");
    assert_eq!(Reply::of(server.sql("SELECT 3 AS x")).await.row()["x"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_replies_finish() {
    let mut server = Demo::shared().server().start();
    let mut response = server.sql(WIDE).query(&[("format", "csv")]).send().await.unwrap();
    let mut received = response.chunk().await.unwrap().unwrap().len();
    let mut idle = TcpStream::connect(server.address()).unwrap();
    server.signal("TERM");
    let address = server.address();
    eventually("new connections are refused", PROMPT, || async { TcpStream::connect(address).is_err() }).await;
    assert!(server.wait(Duration::from_millis(500)).is_none(), "it waits for the reply");
    let mut lines = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        received += chunk.len();
        lines += chunk.iter().filter(|byte| **byte == b'\n').count();
    }
    assert!(received > 50_000_000 && lines > WIDE_ROWS - 100_000, "{received} bytes, {lines} lines");
    let began = Instant::now();
    let status = server.wait(PROMPT);
    assert_eq!(status.and_then(|status| status.code()), Some(0), "after {:?}: {}", began.elapsed(), server.log());
    idle.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0, "idle connections are closed");
    assert!(server.log().contains("\"stopped\""), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_ever() {
    let mut server = Demo::shared().server().env("PILASTER__SERVER__SHUTDOWN_TIMEOUT", "1s").start();
    let asked = start_long(&server, "stuck").await;
    let began = Instant::now();
    server.signal("TERM");
    let status = server.wait(Duration::from_secs(4)).expect("it ends by its deadline");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(status.code(), Some(1), "what was cut is said: {}", server.log());
    assert!(asked.await.unwrap().is_err(), "the client sees that it was cut");
}
