//! HTTP as its clients meet it: formats, headers, caching, problems, the catalogue and its pages.

use std::{collections::BTreeSet, io::Read, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef, ipc::reader::StreamReader};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pilaster::output::{Format, Options, encode};
use serde_json::{Value, json};

use crate::{
    support::free_port,
    support_server::{Demo, Reply, Server, eventually},
};

const MRR: &str = "/v1/queries/revenue/mrr_by_plan";
/// A column of each kind that the formats spell in their own ways.
const KINDS: &str = "SELECT t.id, t.public_id, t.subject, t.priority, t.tags, t.agent_no, t.reopened, t.created_at, t.sla, \
     i.total, i.due_on, u.last_login_at, e.properties, CAST(t.id AS float8) / 7 AS ratio \
     FROM tickets t JOIN users u ON u.id = t.user_id LEFT JOIN invoices i ON i.id = t.id LEFT JOIN events e ON e.id = t.id \
     ORDER BY t.id LIMIT 200";

#[tokio::test(flavor = "multi_thread")]
async fn formats_agree_with_each_other() {
    let server = Demo::shared().server().start();
    let body = async |format: &str| {
        let reply = Reply::of(server.sql(KINDS).query(&[("format", format)])).await.ok();
        assert_eq!(reply.header("content-type"), content_type(format));
        reply
    };
    let whole = body("json").await;
    let json = whole.json();
    assert_eq!((&json["rows"], json["data"].as_array().unwrap().len()), (&json!(200), 200));
    let types: Vec<&str> =
        json["meta"].as_array().unwrap().iter().map(|column| column["type"].as_str().unwrap()).collect();
    assert!(types.contains(&"timestamptz") && types.contains(&"jsonb") && types.contains(&"interval"), "{types:?}");

    let ndjson = body("ndjson").await.text();
    let lines: Vec<Value> = ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json["data"], Value::Array(lines));

    let (schema, batches) = arrow_of(&body("arrow").await.body);
    let ours = encode(Format::Json, Options::default(), &schema, &batches).unwrap();
    assert_eq!(ours, whole.body, "the Arrow stream holds what JSON says");
    let csv = encode(Format::Csv, Options::default(), &schema, &batches).unwrap();
    assert_eq!(csv, body("csv").await.body, "and what CSV says");

    // Parquet has no intervals of months and days; they are text there.
    let (schema, batches) = parquet_of(body("parquet").await.body);
    let again: Vec<Value> =
        String::from_utf8(encode(Format::NdJson, Options::default(), &schema, &batches).unwrap().to_vec())
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
    for (row, (theirs, ours)) in again.iter().zip(json["data"].as_array().unwrap()).enumerate() {
        assert_eq!(theirs, ours, "row {row} of Parquet");
    }
    assert_eq!(again.len(), 200);
}

fn content_type(format: &str) -> &'static str {
    match format {
        "json" => "application/json",
        "ndjson" => "application/x-ndjson",
        "csv" => "text/csv; charset=utf-8; header=present",
        "arrow" => "application/vnd.apache.arrow.stream",
        _ => "application/vnd.apache.parquet",
    }
}

fn arrow_of(body: &[u8]) -> (SchemaRef, Vec<RecordBatch>) {
    let reader = StreamReader::try_new(body, None).unwrap();
    (reader.schema(), reader.map(Result::unwrap).collect())
}

fn parquet_of(body: Bytes) -> (SchemaRef, Vec<RecordBatch>) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(body).unwrap().build().unwrap();
    (arrow::array::RecordBatchReader::schema(&reader), reader.map(Result::unwrap).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_chooses_the_format() {
    let server = Demo::shared().server().start();
    for (accept, expect) in [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/csv", "text/csv; charset=utf-8; header=present"),
        ("text/*", "text/csv; charset=utf-8; header=present"),
        ("text/csv;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ("text/html, application/vnd.apache.parquet;q=0.1", "application/vnd.apache.parquet"),
        ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
        // As a browser sends it.
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
    ] {
        let reply = Reply::of(server.get(MRR).header("Accept", accept)).await.ok();
        assert_eq!(reply.header("content-type"), expect, "{accept}");
        assert!(reply.header("vary").contains("accept"), "{accept}");
    }
    // What the URL says wins.
    let reply = Reply::of(server.get(&format!("{MRR}?format=csv")).header("Accept", "application/json")).await.ok();
    assert_eq!(reply.header("content-type"), content_type("csv"));
    assert_eq!(reply.header("content-disposition"), "attachment; filename=\"mrr_by_plan.csv\"");
    let reply = Reply::of(server.get(&format!("{MRR}?format=json"))).await.ok();
    assert_eq!(reply.header("content-disposition"), "");
    let reply = Reply::of(server.get(&format!("{MRR}?format=json&download=1"))).await.ok();
    assert_eq!(reply.header("content-disposition"), "attachment; filename=\"mrr_by_plan.json\"");

    let problem = Reply::of(server.get(&format!("{MRR}?format=xml"))).await.problem(400, "invalid_request");
    assert!(problem["hint"].as_str().unwrap().contains("json, ndjson, csv, arrow, parquet"), "{problem}");
    Reply::of(server.get(MRR).header("Accept", "text/html")).await.problem(400, "invalid_request");
    Reply::of(server.get(&format!("{MRR}?numbers=words"))).await.problem(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn wide_numbers_are_strings_where_asked_for() {
    let server = Demo::shared().server().start();
    let sql =
        "SELECT CAST(9007199254740993 AS int8) AS big, CAST(1.50 AS numeric(12,2)) AS amount, CAST(7 AS int4) AS small";
    let native = Reply::of(server.sql(sql)).await.ok().text();
    assert!(native.contains("\"big\":9007199254740993,\"amount\":1.50,\"small\":7"), "{native}");
    let quoted = Reply::of(server.sql(sql).query(&[("numbers", "string")])).await.ok().text();
    assert!(quoted.contains("\"big\":\"9007199254740993\",\"amount\":\"1.50\",\"small\":7"), "{quoted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_strong_and_spare_the_computation() {
    let demo = Demo::shared();
    let server = demo.server().start();
    let first = Reply::of(server.get(MRR)).await.ok();
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 30, "{tag}");
    let mut tags = BTreeSet::from([tag.clone()]);
    for (path, encoding) in [
        ("?format=csv", "identity"),
        ("?format=ndjson", "identity"),
        ("?format=arrow", "identity"),
        ("?format=parquet", "identity"),
        ("?numbers=string", "identity"),
        ("?from=2025-08-01", "identity"),
        ("", "gzip"),
        ("", "zstd"),
    ] {
        let request = server.get(&format!("{MRR}{path}")).header("Accept-Encoding", encoding);
        let reply = Reply::of(request).await.ok();
        assert!(tags.insert(reply.header("etag").to_owned()), "{path} in {encoding} has a tag of its own");
    }
    let tenant = Reply::of(server.get(MRR).header("Pilaster-Tenant", "1")).await.ok();
    assert!(tags.insert(tenant.header("etag").to_owned()), "another tenant, another tag");

    // A server that has computed nothing yet knows that the client has it already.
    let other = demo.server().start();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
        let reply = Reply::of(other.get(MRR).header("If-None-Match", known)).await;
        assert_eq!((reply.status, reply.body.len()), (304, 0));
        assert_eq!((reply.header("etag"), reply.header("pilaster-snapshot")), (tag.as_str(), "1"));
        assert!(reply.header("vary").contains("accept-encoding") && !reply.header("cache-control").is_empty());
    }
    assert_eq!(other.metric("pilaster_cache_fills_total", &[]).await, 0.0, "nothing was computed for a 304");
    assert_eq!(Reply::of(other.get(MRR).header("If-None-Match", "\"other\"")).await.ok().body, first.body);
    let stale = other.get(&format!("{MRR}?from=2025-08-01")).header("If-None-Match", &tag);
    assert_eq!(Reply::of(stale).await.status, 200, "a tag of another question is no reason");
    let volatile = Reply::of(other.sql("SELECT random() AS x")).await;
    if volatile.status == 200 {
        assert_eq!(volatile.header("etag"), "", "what differs each time has no tag");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_bodies_are_the_same_body() {
    let server = Demo::shared().server().start();
    let path = "/v1/queries/usage/rolling_activity?format=";
    for format in ["json", "ndjson", "csv"] {
        let path = format!("{path}{format}");
        let identity = Reply::of(server.get(&path)).await.ok();
        assert_eq!(identity.header("content-encoding"), "");
        for encoding in ["gzip", "zstd"] {
            // The second comes from memory, where the first left it.
            for _ in 0..2 {
                let reply = Reply::of(server.get(&path).header("Accept-Encoding", encoding)).await.ok();
                assert_eq!(reply.header("content-encoding"), encoding);
                assert!(reply.body.len() < identity.body.len() / 2, "{format} in {encoding}");
                assert_eq!(decoded(&reply), identity.body, "{format} in {encoding}");
            }
        }
        // A stream's encoding, too: this does not fit the cache.
        let streaming = Demo::shared().server().env("PILASTER__CACHE__ENTRY_BYTES_MAX", "1KiB").start();
        for encoding in ["gzip", "zstd"] {
            let reply = Reply::of(streaming.get(&path).header("Accept-Encoding", encoding)).await.ok();
            assert_eq!(reply.header("cache-status"), "Pilaster; fwd=bypass", "{format}");
            assert_eq!(decoded(&reply), identity.body, "{format} streamed in {encoding}");
        }
    }
    let short = Reply::of(server.sql("SELECT 1 AS x").header("Accept-Encoding", "gzip")).await.ok();
    assert_eq!((short.header("content-encoding"), short.row()), ("", json!({"x": 1})), "it would only grow");
    let parquet = server.get(&format!("{path}parquet")).header("Accept-Encoding", "gzip, zstd");
    assert_eq!(Reply::of(parquet).await.ok().header("content-encoding"), "", "it is compressed already");
}

fn decoded(reply: &Reply) -> Vec<u8> {
    let mut whole = Vec::new();
    match reply.header("content-encoding") {
        "gzip" => drop(flate2::read::MultiGzDecoder::new(&reply.body[..]).read_to_end(&mut whole).unwrap()),
        "zstd" => drop(zstd::stream::read::Decoder::new(&reply.body[..]).unwrap().read_to_end(&mut whole).unwrap()),
        _ => whole.extend_from_slice(&reply.body),
    }
    whole
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_does_what_it_says() {
    let server = Demo::shared().server().start();
    let ask = async |control: &str| {
        let request = server.get(MRR);
        let request = if control.is_empty() { request } else { request.header("Cache-Control", control) };
        Reply::of(request).await
    };
    ask("only-if-cached").await.problem(504, "not_cached");
    let first = ask("").await.ok();
    assert_eq!(first.header("cache-status"), "Pilaster; fwd=miss; stored");
    assert_eq!(first.header("cache-control"), "private, no-cache");
    assert_eq!((first.header("pilaster-snapshot"), first.header("pilaster-route")), ("1", "engine"));
    assert!(first.header("pilaster-as-of").parse::<chrono::DateTime<chrono::Utc>>().is_ok());
    assert!(first.header("server-timing").starts_with("total;dur="));
    let second = ask("").await.ok();
    assert_eq!(second.header("cache-status"), "Pilaster; hit; detail=memory");
    assert_eq!((&second.body, second.header("etag")), (&first.body, first.header("etag")));
    assert_eq!(ask("only-if-cached").await.ok().header("cache-status"), "Pilaster; hit; detail=memory");
    assert_eq!(server.metric("pilaster_cache_fills_total", &[("outcome", "stored")]).await, 1.0);
    for control in ["no-cache", "max-age=0, no-cache"] {
        let refreshed = ask(control).await.ok();
        assert_eq!(refreshed.header("cache-status"), "Pilaster; fwd=miss; stored", "{control}");
        assert_eq!(refreshed.body, first.body);
    }
    assert_eq!(server.metric("pilaster_cache_fills_total", &[("outcome", "stored")]).await, 3.0);
    // Errors are not kept, and what differs each time is not either.
    for _ in 0..2 {
        Reply::of(server.sql("SELECT 1 / (count(*) - count(*)) AS x FROM plans")).await.problem(400, "invalid_value");
    }
    let failed = server.metric("pilaster_cache_fills_total", &[("outcome", "failed")]).await;
    assert_eq!(failed, 2.0, "an error is computed again");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_have_ids() {
    let server = Demo::shared().server().start();
    let with = |id: &str| server.get(MRR).header("X-Request-Id", id);
    assert_eq!(Reply::of(with("from/me:1")).await.ok().header("x-request-id"), "from/me:1");
    let problem = Reply::of(server.get("/v1/queries/no/such").header("X-Request-Id", "mine")).await;
    assert_eq!(problem.problem(404, "not_found")["request_id"], "mine");
    let mut ours = BTreeSet::new();
    for request in [server.get(MRR), with("with space"), with(&"x".repeat(129)), with("\"quoted\"")] {
        let reply = Reply::of(request).await.ok();
        let id = reply.header("x-request-id").to_owned();
        assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id} is one of ours");
        assert!(ours.insert(id));
    }
    // Its lines are written a moment later, many at a time.
    eventually("the access log knows it", Duration::from_secs(10), async || {
        server.log().contains("\"request_id\":\"from/me:1\"")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_a_route_does_not_take_are_said() {
    let server = Demo::shared().server().start();
    for (method, path, allow) in [
        ("PUT", MRR, "GET,HEAD,POST"),
        ("DELETE", "/v1/queries", "GET,HEAD"),
        ("GET", "/v1/sql", "POST"),
        ("POST", "/v1/executions", "GET,HEAD"),
        ("GET", "/v1/executions/x", "DELETE"),
    ] {
        let reply = Reply::of(server.request(method, path)).await;
        reply.problem(405, "invalid_request");
        assert_eq!(reply.header("allow"), allow, "{method} {path}: RFC 9110 wants to hear what is allowed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_of_listed_origins_may_call() {
    let origin = "https://app.example.com";
    let server = Demo::shared().server().env("PILASTER__SERVER__CORS_ORIGINS", origin).start();
    let preflight = |from: &str| {
        server
            .request("OPTIONS", MRR)
            .header("Origin", from)
            .header("Access-Control-Request-Method", "GET")
            .header("Access-Control-Request-Headers", "pilaster-tenant,if-none-match")
    };
    let reply = Reply::of(preflight(origin)).await.ok();
    assert_eq!(reply.header("access-control-allow-origin"), origin);
    assert!(reply.header("access-control-allow-methods").contains("GET"));
    let allowed = reply.header("access-control-allow-headers");
    assert!(allowed.contains("pilaster-tenant") && allowed.contains("if-none-match"), "{allowed}");
    assert!(reply.header("vary").contains("origin"), "{}", reply.header("vary"));
    assert_eq!(Reply::of(preflight("https://evil.example")).await.header("access-control-allow-origin"), "");

    // Answers and errors of every making carry it, or a browser would hide them.
    for request in [
        server.get(MRR),
        server.get("/v1/queries/no/such"),
        server.get("/v1/nothing"),
        server.request("PUT", MRR),
        server.sql("SELEC"),
        server.sql(&format!("SELECT '{}'", "x".repeat(3 << 20))),
        server.get(MRR).header("Pilaster-Tenant", ""),
        server.get(MRR).header("Pilaster-Tenant", "1").header("Pilaster-Tenant", "2"),
    ] {
        let reply = Reply::of(request.header("Origin", origin)).await;
        let what = reply.text();
        assert_eq!(
            reply.header("access-control-allow-origin"),
            origin,
            "{} {}",
            reply.status,
            &what[..what.len().min(300)]
        );
        assert!(reply.header("access-control-expose-headers").contains("x-request-id"), "{}", reply.status);
    }
    let closed = Demo::shared().server().start();
    let reply = Reply::of(closed.get(MRR).header("Origin", origin)).await.ok();
    assert_eq!(reply.header("access-control-allow-origin"), "", "nobody is allowed by default");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_points_here_is_not_enough() {
    let server = Demo::shared().server().env("PILASTER__SERVER__ALLOWED_HOSTS", "pilaster.internal").start();
    let port = server.address().port();
    let ask = |host: &str| server.raw(&format!("GET /v1/tables HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "[::1]", "pilaster.internal", "Pilaster.Internal"]
    {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            assert!(ask(&host).starts_with("HTTP/1.1 200"), "{host}: {}", ask(&host));
        }
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:8080", "8.8.8.8", ""]
    {
        let reply = ask(host);
        assert!(reply.starts_with("HTTP/1.1 403") && reply.contains("permission_denied"), "{host}: {reply}");
        assert!(!reply.contains("invoices"), "{host}: {reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_its_body() {
    let server = Demo::shared().server().start();
    for path in [MRR, "/v1/queries", "/v1/tables", "/livez", "/openapi.json"] {
        let get = Reply::of(server.get(path)).await.ok();
        let head = Reply::of(server.request("HEAD", path)).await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        for name in ["content-type", "content-length", "etag"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
    }
    assert_eq!(Reply::of(server.request("HEAD", "/v1/queries/no/such")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_may_stand_apart() {
    let demo = Demo::shared();
    let server = demo.server().start();
    assert_eq!(Reply::of(server.get("/livez")).await.ok().text(), "ok\n");
    assert_eq!(
        Reply::of(server.get("/readyz")).await.ok().json(),
        json!({"ready": true, "reason": "serving", "snapshot": 1})
    );
    Reply::of(server.get(MRR)).await.ok();
    Reply::of(server.get(MRR)).await.ok();
    Reply::of(server.get("/v1/nothing")).await;
    let named = [("dashboard", "revenue"), ("query", "mrr_by_plan")];
    let count =
        async |cache: &str| server.metric("pilaster_queries_total", &[&named[..], &[("cache", cache)]].concat()).await;
    assert_eq!((count("miss").await, count("memory").await), (1.0, 1.0));
    assert_eq!(server.metric("pilaster_snapshot_version", &[]).await, 1.0);
    assert_eq!(server.metric("pilaster_http_requests_total", &[("status", "404"), ("route", "none")]).await, 1.0);
    assert_eq!(
        Reply::of(server.get("/metrics")).await.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );

    let port = free_port();
    let server = demo.server().env("PILASTER__SERVER__OPS_LISTEN", &format!("127.0.0.1:{port}")).start();
    for path in ["/livez", "/readyz", "/metrics"] {
        Reply::of(server.get(path)).await.problem(404, "not_found");
        let apart = Reply::of(apart(&server, port, path)).await.ok();
        assert!(!apart.body.is_empty(), "{path}");
    }
    for path in ["/v1/tables", MRR, "/openapi.json", "/v1/executions"] {
        assert_eq!(Reply::of(apart(&server, port, path)).await.status, 404, "{path} is no probe");
    }
    Reply::of(server.get(MRR)).await.ok();
}

fn apart(server: &Server, port: u16, path: &str) -> reqwest::RequestBuilder {
    let url = server.url(path).replace(&server.address().to_string(), &format!("127.0.0.1:{port}"));
    reqwest::Client::builder().no_proxy().build().unwrap().get(url)
}
