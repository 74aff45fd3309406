//! HTTP as its clients meet it: formats, headers, caching, problems, the catalogue and its pages.

use std::{collections::BTreeSet, io::Read, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef, ipc::reader::StreamReader};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pilaster::output::{Format, Options, encode};
use serde_json::{Value, json};

use crate::{
    support::free_port,
    support_server::{Demo, Reply, Server, eventually, named_queries},
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
async fn mistakes_are_problems_that_say_what_to_do() {
    let server = Demo::shared().server().start();
    let get = |path: &str| server.get(path);
    let json =
        |path: &str, body: &str| server.post(path).header("Content-Type", "application/json").body(body.to_owned());
    let check = async |request: reqwest::RequestBuilder, status: u16, code: &str, message: &str, hint: &str| {
        let problem = Reply::of(request).await.problem(status, code);
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        assert!(text("message").contains(message), "{message}: {problem}");
        assert!(text("hint").contains(hint), "{hint}: {problem}");
        problem
    };
    // Names.
    check(get("/v1/queries/revenue/mrr"), 404, "not_found", "there is no query revenue/mrr", "mrr_by_plan").await;
    check(get("/v1/queries/sales/mrr"), 404, "not_found", "sales/mrr", "the dashboards are revenue, support, usage")
        .await;
    check(get("/v1/queries/revenue/mrr/definition"), 404, "not_found", "there is no query", "mrr_by_plan").await;
    check(server.post("/v1/dashboards/sales"), 404, "not_found", "sales", "revenue, support, usage").await;
    check(get("/v1/nothing"), 404, "not_found", "/v1/nothing", "/docs").await;
    check(get("/v1/snapshots/99"), 404, "snapshot_not_found", "99", "").await;
    check(get("/v1/snapshots/none"), 400, "invalid_request", "none", "a number from 1").await;
    check(get(&format!("{MRR}?snapshot=99")), 404, "snapshot_not_found", "99", "").await;
    check(server.request("DELETE", "/v1/executions/nobody"), 404, "not_found", "nobody", "X-Request-Id").await;
    // Parameters.
    let problem = check(get(&format!("{MRR}?from=2024-13-01")), 400, "invalid_parameter", "", "").await;
    assert_eq!(problem["message"], "parameter \"from\": \"2024-13-01\" is not a date; use YYYY-MM-DD");
    assert_eq!(problem["hint"], "for example ?from=2024-12-01");
    assert_eq!(problem["sqlstate"], "22P02");
    check(get(&format!("{MRR}?form=2024-12-01")), 400, "unknown_parameter", "\"form\"", "from, to, plans").await;
    check(get(&format!("{MRR}?from=2024-12-01&from=2024-12-02")), 400, "invalid_parameter", "given 2 times", "once")
        .await;
    check(get(&format!("{MRR}?tenant=1")), 400, "invalid_parameter", "reserved", "").await;
    check(json(MRR, r#"{"from": 20241201}"#), 400, "invalid_parameter", "not a date", "2024-12-01").await;
    check(json(MRR, r#"{"from": "#), 400, "invalid_request", "JSON", "for example").await;
    check(json(MRR, "[1]"), 400, "invalid_request", "not an object", "by name").await;
    check(get(&format!("{MRR}?timezone=Mars/Olympus")), 400, "invalid_parameter", "Mars/Olympus", "Europe/Berlin")
        .await;
    check(json("/v1/sql", r#"{"sql": "SELECT $x AS x"}"#), 400, "missing_parameter", "\"x\"", "params").await;
    check(json("/v1/sql", r#"{"sql": "SELECT 1", "params": {"y": 1}}"#), 400, "unknown_parameter", "$y", "").await;
    check(json("/v1/sql", r#"{"query": "SELECT 1"}"#), 400, "invalid_request", "query", "\"sql\"").await;
    let xml = server.post("/v1/sql").header("Content-Type", "application/xml").body("<a/>");
    check(xml, 400, "invalid_request", "application/xml", "text/plain").await;
    // SQL.
    let problem = check(server.sql("SELECT * FRO tickets t"), 400, "invalid_sql", "", "").await;
    assert_eq!((&problem["position"], &problem["sqlstate"]), (&json!(14), &json!("42601")), "{problem}");
    let problem = check(server.sql("SELECT id,\n  nmae FROM plans"), 400, "invalid_sql", "\"nmae\"", "name").await;
    assert_eq!((&problem["position"], &problem["sqlstate"]), (&json!(14), &json!("42703")), "{problem}");
    let problem = check(server.sql("SELECT id FROM plan"), 400, "invalid_sql", "plan", "plans").await;
    assert_eq!(problem["sqlstate"], "42P01", "{problem}");
    let problem = check(server.sql("SELECT frobnicate(id) FROM plans"), 400, "invalid_sql", "frobnicate", "").await;
    assert_eq!(problem["sqlstate"], "42883", "{problem}");
    let problem =
        check(server.sql("SELECT id / 0 AS x FROM plans"), 400, "invalid_value", "division by zero", "nullif").await;
    assert_eq!(problem["sqlstate"], "22012", "{problem}");
    check(server.sql("SELECT CAST(code AS int4) AS x FROM plans"), 400, "invalid_value", "", "").await;
    // Nothing of the library's own shows.
    for sql in ["SELECT id FROM plan", "SELECT nmae FROM plans", "SELECT sum(code) FROM plans", "SELECT 1 +"] {
        let text = Reply::of(server.sql(sql)).await.text();
        for word in ["DataFusion", "datafusion", "Arrow", "backtrace", "pilaster.public", ".rs:"] {
            assert!(!text.contains(word), "{sql}: {word} in {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_parameter_is_asked_for() {
    let demo = Demo::shared();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    std::fs::write(folder.path().join("d/q.sql"), "-- @param from date\nSELECT $from AS day").unwrap();
    let server = demo.server().queries(folder.path()).start();
    let problem = Reply::of(server.get("/v1/queries/d/q")).await.problem(400, "missing_parameter");
    assert_eq!(problem["message"], "parameter \"from\" is missing");
    assert_eq!(problem["hint"], "give YYYY-MM-DD, for example ?from=2024-12-01");
    assert_eq!(Reply::of(server.get("/v1/queries/d/q?from=2024-12-01")).await.row()["day"], "2024-12-01");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_select_is_taken() {
    let server = Demo::shared().server().start();
    let mut taken = Vec::new();
    for sql in [
        "DELETE FROM plans",
        "INSERT INTO plans VALUES (1)",
        "UPDATE plans SET code = 'x'",
        "MERGE INTO plans USING users ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE plans",
        "DROP TABLE plans",
        "CREATE TABLE x AS SELECT 1",
        "CREATE TABLE x (a int)",
        "CREATE VIEW x AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1",
        "ALTER TABLE plans ADD x int",
        "COPY plans TO '/tmp/x.csv'",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "COPY plans FROM '/etc/passwd'",
        "SET datafusion.execution.batch_size = 1",
        "SET datafusion.runtime.memory_limit = '1K'",
        "RESET datafusion.execution.batch_size",
        "SHOW ALL",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "DESCRIBE plans",
        "BEGIN",
        "COMMIT",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "GRANT SELECT ON plans TO x",
        "VACUUM",
        "CALL f()",
        "LISTEN x",
        "LOCK TABLE plans",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE plans",
        "SELECT * INTO x FROM plans",
        "WITH gone AS (DELETE FROM plans RETURNING *) SELECT * FROM gone",
        "WITH made AS (INSERT INTO plans VALUES (1) RETURNING *) SELECT * FROM made",
        "SELECT * FROM plans FOR UPDATE",
        "SELECT * FROM (SELECT * FROM plans FOR UPDATE) t",
        "WITH x AS (SELECT * FROM plans FOR SHARE) SELECT * FROM x",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.df_settings",
        "SELECT pg_read_file('/etc/passwd')",
        "",
        "-- nothing",
        ";",
    ] {
        let reply = Reply::of(server.sql(sql)).await;
        let code = reply.json()["code"].as_str().unwrap_or_default().to_owned();
        if reply.status == 400 && ["unsupported_sql", "invalid_sql"].contains(&code.as_str()) {
            reply.problem(400, &code);
        } else {
            taken.push(format!("{sql}: {} {}", reply.status, reply.text()));
        }
    }
    assert!(taken.is_empty(), "{}", taken.join("\n"));
    assert_eq!(
        Reply::of(server.sql("SELECT count(*) AS n FROM plans;")).await.row(),
        json!({"n": 4}),
        "all is as it was"
    );
    for sql in ["VALUES (1)", "WITH x AS (SELECT 1 AS a) SELECT a FROM x", "TABLE plans", "(SELECT 1 AS a)"] {
        assert_eq!(Reply::of(server.sql(sql)).await.status, 200, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let server = Demo::shared().server().start();
    let body = server.sql(&format!("SELECT '{}'", "x".repeat(3 << 20)));
    let problem = Reply::of(body).await.problem(413, "statement_too_large");
    assert!(problem["hint"].as_str().unwrap().contains("server.body_bytes_max"), "{problem}");
    let statement = server.sql(&format!("SELECT '{}' AS x", "x".repeat(300 << 10)));
    Reply::of(statement).await.problem(413, "statement_too_large");
    let tokens = server.sql(&format!("SELECT 1{}", "+1".repeat(15_000)));
    let problem = Reply::of(tokens).await.problem(413, "statement_too_large");
    assert!(problem["message"].as_str().unwrap().contains("tokens"), "{problem}");
    let nested = server.sql(&format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500)));
    Reply::of(nested).await.problem(413, "statement_too_large");
    Reply::of(server.get("/livez")).await.ok();
}

/// Within the limits, and still far from usual: an answer or a problem, and the server lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_as_long_as_allowed_ends_nothing() {
    let server = Demo::shared().server().start();
    let list =
        |count: u32, item: fn(u32) -> String, between: &str| (0..count).map(item).collect::<Vec<_>>().join(between);
    for sql in [
        format!("SELECT id FROM plans WHERE id IN ({})", list(9_000, |n| n.to_string(), ",")),
        format!("SELECT 1{} AS x", "+1".repeat(2_000)),
        format!("SELECT 1{} AS x", "+1".repeat(9_000)),
        format!("SELECT {} AS x", list(9_000, |_| "'a'".to_owned(), " || ")),
        format!("SELECT 1{} AS x", "::int4".repeat(6_000)),
        format!("SELECT id FROM plans WHERE {}", list(4_000, |n| format!("id = {n}"), " OR ")),
        list(1_000, |n| format!("SELECT {n} AS x"), " UNION ALL "),
    ] {
        let what = &sql[..sql.len().min(40)];
        let reply = Reply::try_of(server.sql(&sql)).await;
        let reply = reply.unwrap_or_else(|error| panic!("{what}: {error}: {}", server.log()));
        if reply.status != 200 {
            let code = reply.json()["code"].as_str().unwrap().to_owned();
            assert_ne!(code, "internal", "{what}: {}", reply.text());
            reply.problem(reply.status, &code);
        }
        Reply::of(server.get("/livez")).await.ok();
    }
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
async fn parameters_come_by_url_or_json() {
    let server = Demo::shared().server().start();
    let post = |path: &str, body: Value| server.post(path).json(&body);
    let of = async |request: reqwest::RequestBuilder| Reply::of(request).await.ok().text();
    // One question, many ways to put it.
    let expect = of(server.get(&format!("{MRR}?from=2026-01-01&plans=pro&plans=starter"))).await;
    assert!(expect.contains("starter") && expect.contains("\"pro\"") && !expect.contains("2025-"), "{expect}");
    let json = json!({"from": "2026-01-01", "plans": ["pro", "starter"]});
    assert_eq!(of(post(MRR, json)).await, expect);
    assert_eq!(of(post(&format!("{MRR}?from=2026-01-01"), json!({"plans": ["pro", "starter"]}))).await, expect);
    let other = format!("{MRR}?from=2020-01-01");
    assert_eq!(of(post(&other, json!({"from": "2026-01-01", "plans": ["pro", "starter"]}))).await, expect, "JSON wins");
    // NULL is everything, an empty list is nothing, and a default is what is not given.
    let all = of(server.get(&format!("{MRR}?from=2026-01-01"))).await;
    assert_eq!(of(post(MRR, json!({"from": "2026-01-01", "plans": null}))).await, all);
    assert_eq!(Reply::of(post(MRR, json!({"from": "2026-01-01", "plans": []}))).await.ok().json()["rows"], 0);
    let one = of(server.get(&format!("{MRR}?from=2026-01-01&plans=pro"))).await;
    assert_eq!(of(post(MRR, json!({"from": "2026-01-01", "plans": ["pro"]}))).await, one);
    assert_eq!(of(server.post(MRR)).await, of(server.get(MRR)).await, "an empty body gives nothing");

    // SQL of one's own: text with the URL's parameters, JSON with typed ones.
    let sql = "SELECT count(*) AS n FROM plans WHERE code = $code";
    assert_eq!(Reply::of(server.sql(sql).query(&[("code", "pro")])).await.row(), json!({"n": 1}));
    assert_eq!(Reply::of(post("/v1/sql", json!({"sql": sql, "params": {"code": "pro"}}))).await.row(), json!({"n": 1}));
    let injected = json!({"sql": sql, "params": {"code": "x' OR 'a' = 'a"}});
    assert_eq!(Reply::of(post("/v1/sql", injected)).await.row(), json!({"n": 0}), "a value is never SQL");
    let sql =
        "SELECT count(*) AS n FROM plans WHERE id = ANY($ids) AND monthly_price >= $least AND is_public = $public";
    let params = json!({"ids": [1, 2, 3], "least": 0.01, "public": true});
    let found = Reply::of(post("/v1/sql", json!({"sql": sql, "params": params}))).await.row();
    let expect = Reply::of(
        server.sql("SELECT count(*) AS n FROM plans WHERE id IN (1, 2, 3) AND monthly_price >= 0.01 AND is_public"),
    );
    assert_eq!(found, expect.await.row());
    let sql = "SELECT $x AS x, $x IS NULL AS is_null";
    let row = Reply::of(post("/v1/sql", json!({"sql": sql, "params": {"x": null}}))).await.row();
    assert_eq!(row, json!({"x": null, "is_null": true}));
}

/// Ranks leave as `int8`, which the engine does not count in. To make them so in the plan, above the sort, lost the order now and then.
#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_the_order_that_was_asked_for() {
    let server = Demo::shared().server().start();
    let sql =
        "SELECT rank() OVER (ORDER BY email) AS r, lead(email) OVER (ORDER BY email) AS next FROM users ORDER BY r";
    for _ in 0..40 {
        let reply = Reply::of(server.sql(sql).header("Cache-Control", "no-cache")).await.ok().json();
        let ranks: Vec<u64> = reply["data"].as_array().unwrap().iter().map(|row| row["r"].as_u64().unwrap()).collect();
        assert!(ranks.is_sorted(), "{ranks:?}");
        assert_eq!(reply["meta"][0]["type"], "int8");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_zone_of_the_client_is_used() {
    let server = Demo::shared().server().start();
    let zone = "SELECT date_trunc('day', TIMESTAMPTZ '2026-01-01 23:30:00+00') AS day";
    let day = Reply::of(server.sql(zone).query(&[("timezone", "Europe/Berlin")])).await.row();
    assert_eq!(day["day"], "2026-01-02T00:00:00+01:00");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_says_what_there_is() {
    let server = Demo::shared().server().start();
    let json = async |path: &str| Reply::of(server.get(path)).await.ok().json();
    let queries = json("/v1/queries").await;
    assert_eq!((queries["queries"].as_array().unwrap().len() >= 16, &queries["broken"]), (true, &json!([])));
    for query in queries["queries"].as_array().unwrap() {
        assert!(query["problem"].is_null() && !query["columns"].as_array().unwrap().is_empty(), "{query}");
        assert!(query["description"].as_str().unwrap().len() > 20 && query.get("sql").is_none(), "{query}");
    }
    let definition = json(&format!("{MRR}/definition")).await;
    assert!(definition["sql"].as_str().unwrap().contains("FROM subscription_changes"));
    assert_eq!(
        definition["parameters"][0],
        json!({"name": "from", "type": "date", "required": false, "default": "2025-07-01"})
    );
    assert_eq!(definition["parameters"][2]["type"], "text[]");
    assert_eq!(definition["timeout_ms"], 10_000);
    assert_eq!(definition["chart"]["channels"]["series"], "plan");
    let answer = Reply::of(server.get(MRR)).await.ok().json();
    assert_eq!(definition["columns"], answer["meta"], "what is promised is what comes");

    let dashboards = json("/v1/dashboards").await;
    let names: Vec<&str> =
        dashboards["dashboards"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["revenue", "support", "usage"]);

    let tables = json("/v1/tables").await;
    assert_eq!((&tables["snapshot"], tables["tables"].as_array().unwrap().len()), (&json!(1), 12));
    let table = |name: &str| tables["tables"].as_array().unwrap().iter().find(|table| table["name"] == name).unwrap();
    assert_eq!(table("users")["excluded_columns"], json!(["password_hash"]), "a secret stays at home");
    assert_eq!((&table("plans")["rows"], &table("plans")["primary_key"]), (&json!(4), &json!(["id"])));
    for table in tables["tables"].as_array().unwrap() {
        let sql = format!("SELECT count(*) AS n FROM {}", table["name"].as_str().unwrap());
        assert_eq!(Reply::of(server.sql(&sql)).await.row()["n"], table["rows"], "{sql}");
    }
    assert_eq!(json("/v1/snapshots/1").await, tables);
    let snapshots = json("/v1/snapshots").await;
    assert_eq!((&snapshots["served"], snapshots["snapshots"].as_array().unwrap().len()), (&json!(1), 1));
    let snapshot = &snapshots["snapshots"][0];
    assert_eq!(
        (&snapshot["version"], &snapshot["tables"], &snapshot["readable"]),
        (&json!(1), &json!(12), &json!(true))
    );
    let rows: i64 = tables["tables"].as_array().unwrap().iter().map(|table| table["rows"].as_i64().unwrap()).sum();
    assert_eq!(snapshot["rows"], rows);
    for path in ["/v1/tables", "/v1/snapshots", "/v1/snapshots/1"] {
        let reply = Reply::of(server.get(path).header("Pilaster-Tenant", "1")).await;
        reply.problem(403, "permission_denied");
    }
    let reply = Reply::of(server.post("/v1/snapshots")).await.problem(400, "invalid_request");
    assert!(reply["message"].as_str().unwrap().contains("takes no snapshots"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_comes_line_by_line() {
    let server = Demo::shared().server().start();
    let files = std::fs::read_dir(named_queries().join("revenue")).unwrap().count();
    let reply = Reply::of(server.post("/v1/dashboards/revenue").json(&json!({"from": "2026-01-01"}))).await.ok();
    assert_eq!((reply.header("content-type"), reply.header("pilaster-snapshot")), ("application/x-ndjson", "1"));
    let lines: Vec<Value> = reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), files, "one line for each query");
    for line in &lines {
        let name = line["query"].as_str().unwrap();
        assert_eq!(line["status"], 200, "{line}");
        let path = format!("/v1/queries/revenue/{name}");
        let alone = Reply::of(server.get(&path).query(&[("from", "2026-01-01")])).await;
        // Two of them do not take `from`, and are told so when asked alone.
        let alone = if alone.status == 200 { alone } else { Reply::of(server.get(&path)).await.ok() };
        assert_eq!(line["result"], alone.json(), "{name} on the dashboard is {name} alone");
    }
    let unknown = server.post("/v1/dashboards/revenue").json(&json!({"nothing": 1}));
    Reply::of(unknown).await.problem(400, "unknown_parameter");

    // One that fails is a line that says so.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    std::fs::write(folder.path().join("d/good.sql"), "SELECT count(*) AS n FROM plans").unwrap();
    std::fs::write(folder.path().join("d/bad.sql"), "SELECT 1 / (id - id) AS x FROM plans").unwrap();
    let server = Demo::shared().server().queries(folder.path()).start();
    let text = Reply::of(server.post("/v1/dashboards/d")).await.ok().text();
    let line = |name: &str| {
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.into_iter().find(|line| line["query"] == name).unwrap()
    };
    assert_eq!((&line("good")["status"], &line("good")["result"]["data"][0]["n"]), (&json!(200), &json!(4)));
    assert_eq!((&line("bad")["status"], &line("bad")["error"]["code"]), (&json!(400), &json!("invalid_value")));
    assert!(line("bad").get("result").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_describes_itself() {
    let server = Demo::shared().server().start();
    let document = Reply::of(server.get("/openapi.json")).await.ok().json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{}", document["openapi"]);
    let paths = document["paths"].as_object().unwrap();
    for query in Reply::of(server.get("/v1/queries")).await.json()["queries"].as_array().unwrap() {
        let path = format!("/v1/queries/{}/{}", query["dashboard"].as_str().unwrap(), query["name"].as_str().unwrap());
        let operation = &paths[&path]["get"];
        let parameters = operation["parameters"].as_array().unwrap();
        for parameter in query["parameters"].as_array().unwrap() {
            let found = parameters.iter().find(|found| found["name"] == parameter["name"]).unwrap();
            assert_eq!((&found["in"], &found["required"]), (&json!("query"), &parameter["required"]), "{path}");
            let (kind, format) = match parameter["type"].as_str().unwrap() {
                "date" => (json!("string"), json!("date")),
                "int4" => (json!("integer"), json!("int32")),
                "text[]" => (json!("array"), Value::Null),
                "text" => (json!("string"), Value::Null),
                other => panic!("{other} in {path}"),
            };
            assert_eq!((&found["schema"]["type"], &found["schema"]["format"]), (&kind, &format), "{path}");
        }
        let rows = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let columns = rows["properties"]["data"]["items"]["properties"].as_object().unwrap();
        let promised: Vec<&str> =
            query["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
        assert_eq!(
            columns.keys().map(String::as_str).collect::<BTreeSet<_>>(),
            promised.into_iter().collect(),
            "{path}"
        );
    }
    // Every route is there, every reference leads somewhere, every {name} is declared, every operation has a name of its own.
    for path in [
        "/v1/sql",
        "/v1/tables",
        "/v1/snapshots",
        "/v1/snapshots/{version}",
        "/v1/executions/{id}",
        "/v1/queries",
        "/v1/dashboards/{dashboard}",
        "/v1/dashboards",
        "/v1/executions",
        "/v1/queries/{dashboard}/{name}/definition",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut names = BTreeSet::new();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} names two operations");
            assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path}");
            let declared: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let used: BTreeSet<&str> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(declared, used, "{method} {path}");
        }
    }
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                found.push(reference.clone());
            }
            members.values().for_each(|member| collect_references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_need_nobody_else() {
    let server = Demo::shared().server().start();
    let home = Reply::of(server.get("/")).await.ok();
    let page = Reply::of(server.get("/docs/")).await.ok();
    assert_eq!(home.body, page.body, "/ leads to /docs/");
    let html = page.text();
    let mut assets = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        assets.extend(html.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    assert!(assets.len() >= 4, "{html}");
    let mut scripts = String::new();
    for asset in &assets {
        assert!(!asset.contains("//"), "{asset} is somebody else's");
        let reply = Reply::of(server.get(&format!("/docs/{}", asset.trim_start_matches("./")))).await.ok();
        assert!(!reply.body.is_empty() && !reply.header("content-type").starts_with("text/html"), "{asset}");
        if asset.ends_with("initializer.js") {
            scripts = reply.text();
        }
    }
    assert!(scripts.contains("/openapi.json"), "{scripts}");
    for text in [&html, &scripts] {
        for word in ["http://", "https://", "petstore", "validator.swagger"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
    assert!(scripts.contains("validatorUrl\": \"none\"") || !scripts.contains("validatorUrl"), "{scripts}");
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
