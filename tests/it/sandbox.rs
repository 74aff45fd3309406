//! What SQL of others must not do: use up the machine, or find out what the server knows.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    support_access::new_key,
    support_pilaster::Pilaster,
    support_server::{Demo, Reply, Server},
};

/// Statements of a line that would take all there is. Each ends in a typed error, soon, and nothing of it stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_blows_up_is_stopped() {
    let doubled = |of: &str, steps: usize| {
        (0..steps).fold(format!("SELECT {of} AS x FROM generate_series(1, 3) t(n)"), |inner, _| {
            format!("SELECT x || x AS x FROM ({inner}) t")
        })
    };
    // What it may end in; `ok` is an answer, where the machine is fast enough for one.
    let (constant, value) = ("result_too_large", "invalid_value");
    let spent = "deadline_exceeded|out_of_memory";
    let long = "x".repeat(200_000);
    let cases = [
        ("SELECT length(repeat('x', 2000000000)) AS n".to_owned(), value),
        ("SELECT max(repeat('x', 16000000)) AS n FROM generate_series(1, 100000)".into(), constant),
        ("SELECT length(string_agg(repeat('x', 16000000), '')) AS n FROM generate_series(1, 100000)".into(), constant),
        ("SELECT to_char(1, repeat('9', 10000000)) AS n".into(), constant),
        ("SELECT sum(length(repeat('x', 100000 + n))) AS n FROM generate_series(1, 100000) t(n)".into(), constant),
        ("SELECT length(lpad('x', 2000000000, 'y')) AS n".into(), value),
        ("SELECT max(length(replace(repeat('a', 100000 + n), 'a', repeat('b', 100000)))) AS n FROM generate_series(1, 3) t(n)".into(), value),
        ("SELECT max(length(regexp_replace(repeat('a', 100000 + n), 'a', repeat('b', 100000), 'g'))) AS n FROM generate_series(1, 3) t(n)".into(), value),
        ("SELECT length(format('%1000000000s', 'x')) AS n".into(), value),
        (format!("SELECT max(length(x)) AS n FROM ({}) t", doubled("n::text", 40)), value),
        (format!("SELECT max(length(x)) AS n FROM ({}) t", doubled("convert_to(n::text, 'UTF8')", 40)), value),
        (format!("SELECT max(cardinality(x)) AS n FROM ({}) t", doubled("ARRAY[n]", 40)), "invalid_value|result_too_large"),
        ("SELECT cardinality(array_fill(1, ARRAY[2000000000])) AS n".into(), value),
        ("SELECT length(string_agg(repeat('x', 100000), '')) AS n FROM generate_series(1, 1000000)".into(), constant),
        ("SELECT length(string_agg(repeat('x', 100000), '' ORDER BY n)) AS n FROM generate_series(1, 1000000) t(n)".into(), constant),
        ("SELECT cardinality(array_agg(n)) AS n FROM generate_series(1, 1000000000) t(n)".into(), spent),
        // Many rows share one text, until somebody writes them out.
        ("SELECT array_agg(repeat('x', 200000)) AS n FROM generate_series(1, 1000000)".into(), constant),
        ("SELECT length(array_agg(repeat('x', 200000))::text) AS n FROM generate_series(1, 1000000)".into(), constant),
        ("SELECT count(*) AS n FROM generate_series(1, 1000000) t(n) GROUP BY repeat('x', 200000) || n % 2".into(), "ok|result_too_large|out_of_memory|deadline_exceeded"),
        ("SELECT array_agg(repeat('x', 200000)) AS n FROM generate_series(1, 1000000) t(n) GROUP BY n % 2 ORDER BY 1".into(), constant),
        ("SELECT DISTINCT a FROM (SELECT array_agg(repeat('x', 200000)) AS a FROM generate_series(1, 1000000)) t".into(), constant),
        ("SELECT length('a'::char(70000)::text) AS n".into(), "ok"),
        // A constant in every row of a batch.
        (format!("SELECT cardinality(array_agg('{long}')) AS n FROM generate_series(1, 1000000)"), constant),
        (format!("SELECT '{long}' AS x FROM generate_series(1, 1000000)"), "cut"),
        (format!("SELECT max(x) AS x FROM (SELECT '{long}' AS x FROM events OFFSET 1) t"), constant),
        (format!("SELECT string_agg('', '{long}') AS x FROM generate_series(1, 1000000)"), constant),
        (format!("SELECT count(DISTINCT CASE WHEN n % 2 = 0 THEN '{long}' ELSE 'y' END) AS x FROM generate_series(1, 100000) t(n)"), "ok|deadline_exceeded"),
        (format!("SELECT count(x) AS n FROM (SELECT '{long}' AS x) c, generate_series(1, 1000000)"), "ok"),
        (format!("SELECT count(x) AS n FROM (VALUES ('{long}')) c(x), events"), "ok"),
        (format!("SELECT max((SELECT '{long}')) AS x FROM events"), constant),
        (format!("SELECT '{long}' AS x, count(*) AS n FROM generate_series(1, 1000000)"), "ok"),
        (format!("SELECT count(*) AS n FROM generate_series(1, 1000000) t(n) WHERE n::text = '{long}'"), "ok"),
        // Many numbers are not much.
        ("SELECT cardinality(array_agg(n)) AS n FROM generate_series(1, 5000000) t(n)".into(), "ok|out_of_memory|deadline_exceeded"),
        ("SELECT count(*) AS n FROM generate_series(1, 1000000000000)".into(), "deadline_exceeded"),
        ("SELECT count(DISTINCT n) AS n FROM generate_series(1, 1000000000) t(n)".into(), spent),
        ("SELECT n FROM generate_series(1, 1000000000) t(n) ORDER BY n % 1000, n LIMIT 1 OFFSET 900000000".into(), spent),
        ("SELECT max(generate_series) AS n FROM (SELECT generate_series(1, 1000000000)) t".into(), "result_too_large|invalid_value"),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) AS n FROM r".into(), spent),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r, generate_series(1, 100)) SELECT sum(n) AS n FROM r".into(),
            spent,
        ),
        ("SELECT sum(a.id + b.id % e.id) AS n FROM users a, users b, users c, users d, users e".into(), spent),
        ("SELECT sum(a.id + c.id) AS n FROM events a JOIN events b ON a.id * b.id % 7919 = 1 JOIN events c ON true".into(), spent),
        ("SELECT sum(x) AS n FROM (SELECT sum(id) OVER (ORDER BY id ROWS BETWEEN 100000 PRECEDING AND CURRENT ROW) AS x FROM events) t".into(), "ok|deadline_exceeded|out_of_memory"),
        ("SELECT count(*) AS n FROM users WHERE name ~ '((a{1,200}){1,200}){1,200}'".into(), value),
        ("SELECT count(*) AS n FROM users WHERE repeat(name, 20000) ~ '(a|b|ab)*(a|b|ab)*c'".into(), "ok|deadline_exceeded"),
        ("SELECT 10::numeric ^ 100000 AS n".into(), value),
        ("SELECT length(jsonb_pretty(repeat('[', 100000)::jsonb)) AS n".into(), value),
        ("SELECT length(json_agg(repeat('x', 200000))::text) AS n FROM generate_series(1, 1000000)".into(), constant),
    ];
    let server = Demo::shared()
        .server()
        .env("PILASTER__ENGINE__TIMEOUT", "4s")
        .env("PILASTER__ENGINE__MEMORY", "192MiB")
        .env("PILASTER__ENGINE__SPILL", "256MiB")
        .start();
    let mut wrong = Vec::new();
    for (sql, expect) in cases {
        let what = &sql[..sql.len().min(90)];
        let started = Instant::now();
        let reply = Reply::try_of(server.sql(&sql)).await;
        let code = match &reply {
            Ok(reply) => reply.json()["code"].as_str().unwrap_or("ok").to_owned(),
            // Some of it was under way.
            Err(_) if expect == "cut" => "cut".to_owned(),
            Err(error) => panic!("{what}: {error}: {}", server.log()),
        };
        let (took, memory) = (started.elapsed().as_millis(), server.memory_bytes_max() >> 20);
        println!("{took:>5} ms {memory:>5} MiB {code}: {what}");
        if !expect.split('|').any(|may| may == code) || started.elapsed() > Duration::from_secs(15) {
            wrong.push(format!("{what}: {code} and not {expect}, after {:?}", started.elapsed()));
        }
        // Computed anew: somebody must be left who computes.
        let began = Instant::now();
        Reply::of(
            server
                .sql(&format!("SELECT count(*) + {} AS n FROM users", wrong.len()))
                .header("Cache-Control", "no-cache"),
        )
        .await
        .ok();
        if began.elapsed() > Duration::from_secs(2) {
            wrong.push(format!("{what}: it holds up others, for {:?}", began.elapsed()));
        }
        if !settles(&server).await {
            wrong.push(format!("{what}: nobody waits, and it computes"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(server.memory_bytes_max() < 3 << 30, "it took {} MiB", server.memory_bytes_max() >> 20);
    assert!(server.executions().await.is_empty(), "nothing of it runs on");
}

/// Whether the server comes to rest, within a second of being asked nothing.
async fn settles(server: &Server) -> bool {
    for _ in 0..5 {
        let before = server.cpu_time();
        tokio::time::sleep(Duration::from_millis(200)).await;
        if server.cpu_time() - before < Duration::from_millis(60) {
            return true;
        }
    }
    false
}

/// Secrets are in what reads them, and nowhere else: no log, no error, no metric, no reply, no command line.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_told_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let embed = "c0ffee11".repeat(8);
    let signing = "facade22".repeat(8);
    std::fs::write(path("hmac"), &signing).unwrap();
    let key = new_key(Path::new(&path("keys.json")), &["--name", "x", "--role", "admin", "--all-tenants"]);
    let config = "[[access.issuers]]\nissuer = \"https://id.example.com/\"\naudience = \"pilaster\"\nalgorithms = [\"HS256\"]\n\
         secret = \"canary-issuer-secret-0123456789abcdef\"\n[store.options]\naws_secret_access_key = \"canary-store\"\n";
    let server = Demo::shared()
        .server()
        .config(config)
        .env("PILASTER__POSTGRES__URL", "postgresql://app:canary-source@127.0.0.1:1/app")
        .env("PILASTER__CACHE__REDIS_URL", "redis://:canary-redis@127.0.0.1:1/")
        .env("PILASTER__CACHE__HMAC_KEY_FILE", &path("hmac"))
        .env("PILASTER__ACCESS__EMBED_SECRET", &embed)
        .env("PILASTER__ACCESS__KEYS_FILE", &path("keys.json"))
        .env("PILASTER__CLIENT__CREDENTIAL", "canary-client")
        .env("PILASTER__AUDIT__FILE", &path("audit.jsonl"))
        .env("PILASTER__AUDIT__REPLAY_FILE", &path("replay.jsonl"))
        .env("PILASTER__TELEMETRY__LOG", "pilaster=trace,debug")
        .start();
    let mut said = Vec::new();
    for route in [
        "/",
        "/docs/",
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/v1/queries",
        "/v1/dashboards",
        "/v1/tables",
        "/v1/snapshots",
        "/v1/snapshots/1",
        "/v1/executions",
        "/v1/queries/revenue/mrr_by_plan",
        "/v1/queries/no/such",
        "/v1/queries/revenue/mrr_by_plan/definition",
    ] {
        said.push((route, Reply::of(server.get(route).bearer_auth(&key)).await));
        // Wrong credentials are secrets too: of somebody who mistyped.
        said.push((route, Reply::of(server.get(route).bearer_auth("plk_000000000000_canary-mistyped")).await));
    }
    for sql in [
        "SELECT 1 / 0 AS x",
        "SELECT nonsense",
        "SELECT current_setting('access.embed_secret')",
        "SELECT version() AS v",
    ] {
        said.push(("sql", Reply::of(server.sql(sql).bearer_auth(&key)).await));
    }
    let wish = serde_json::json!({"dashboard": "revenue", "tenant": "3"});
    let token = Reply::of(server.post("/v1/embed").bearer_auth(&key).json(&wish)).await.json()["token"].clone();
    Reply::of(server.get("/v1/queries/revenue/mrr_by_plan").bearer_auth(token.as_str().unwrap())).await.ok();
    let failing = Pilaster::command(&["snapshot", "--store", &path("other")])
        .env("PILASTER__POSTGRES__URL", "postgresql://app:canary-source@127.0.0.1:1/app")
        .run();
    let help = ["serve", "snapshot", "query", "check", "key"].map(|verb| {
        let help = Pilaster::command(&[verb, "--help"]).env("PILASTER__CLIENT__CREDENTIAL", "canary-client").run();
        format!("{}{}", help.stdout, help.stderr)
    });
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    let process = std::fs::read_to_string(format!("/proc/{}/cmdline", server.id())).unwrap();
    let mut places = vec![
        ("log", server.log()),
        ("audit", read("audit.jsonl")),
        ("replay", read("replay.jsonl")),
        ("keys", read("keys.json")),
        ("command line", process),
        ("snapshot", format!("{}{}", failing.stdout, failing.stderr)),
        ("help", help.concat()),
    ];
    places.extend(said.iter().map(|(route, reply)| (*route, format!("{:?}{}", reply.headers, reply.text()))));
    let secret_part = key.rsplit('_').next().unwrap();
    for (place, text) in &places {
        for secret in ["canary", &embed, &signing, secret_part, token.as_str().unwrap()] {
            assert!(
                !text.contains(secret),
                "{secret} is told by {place}: {}",
                &text[text.find(secret).unwrap().saturating_sub(200)..][..300.min(text.len())]
            );
        }
    }
    assert!(failing.stderr.contains("127.0.0.1"), "what is wrong is told all the same: {}", failing.stderr);
}
