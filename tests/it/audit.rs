//! Who asked what: a line for each, however it ended, and no values in it.

use std::{path::Path, time::Duration};

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::{
    support_access::new_key,
    support_pilaster::Pilaster,
    support_server::{Demo, Reply, eventually},
};

const MRR: &str = "/v1/queries/revenue/mrr_by_plan";

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_question_leaves_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let [keys, audit, replay] = ["keys.json", "audit.jsonl", "replay.jsonl"].map(|name| folder.path().join(name));
    let admin = new_key(&keys, &["--name", "x", "--role", "admin", "--all-tenants"]);
    let tenant = new_key(&keys, &["--name", "t", "--role", "analyst", "--tenant", "3"]);
    let backend = new_key(&keys, &["--name", "d", "--all-tenants"]);
    let server = Demo::shared()
        .server()
        .env("PILASTER__ACCESS__KEYS_FILE", keys.to_str().unwrap())
        .env("PILASTER__ACCESS__EMBED_SECRET", &"3c".repeat(32))
        .env("PILASTER__AUDIT__FILE", audit.to_str().unwrap())
        .env("PILASTER__AUDIT__REPLAY_FILE", replay.to_str().unwrap())
        .start();
    let ask = async |request: RequestBuilder, key: &str, id: &str| {
        Reply::of(request.bearer_auth(key).header("X-Request-Id", id)).await
    };
    let secret = "'canary-5150'";
    let sql = |text: &str| server.sql(text);
    let tag = ask(server.get(&format!("{MRR}?from=2025-09-01")), &backend, "miss").await.ok().header("etag").to_owned();
    // The first hit goes the whole way, the second is found by the bytes of its request.
    ask(server.get(&format!("{MRR}?from=2025-09-01")), &backend, "hit").await.ok();
    ask(server.get(&format!("{MRR}?from=2025-09-01")), &backend, "shortcut").await.ok();
    ask(server.get(&format!("{MRR}?from=2025-09-01")).header("If-None-Match", tag), &backend, "held").await;
    ask(server.get(MRR).header("Pilaster-Tenant", "3"), &admin, "viewed").await.ok();
    ask(sql(&format!("SELECT count(*) AS n FROM users WHERE email <> {secret}")), &tenant, "sql").await.ok();
    ask(sql("SELECT nonsense FROM users"), &tenant, "wrong").await.problem(400, "invalid_sql");
    ask(sql("SELECT 1 / 0 AS x"), &tenant, "fails").await.problem(400, "invalid_value");
    ask(sql("SELECT 1 AS x"), &backend, "forbidden").await.problem(403, "permission_denied");
    ask(server.get("/v1/queries/no/such"), &backend, "missing").await.problem(404, "not_found");
    ask(server.post("/v1/dashboards/support").json(&json!({})), &tenant, "board").await.ok();
    let wish = json!({"dashboard": "revenue", "tenant": "3"});
    assert_eq!(ask(server.post("/v1/embed").json(&wish), &backend, "embed").await.status, 201);
    ask(server.request("DELETE", "/v1/executions/none"), &admin, "stop").await.problem(404, "not_found");
    Reply::of(server.get(MRR).header("X-Request-Id", "nobody")).await.problem(401, "unauthenticated");

    let path = audit.clone();
    eventually("the last line is there", Duration::from_secs(5), move || {
        let path = path.clone();
        async move { lines(&path).iter().any(|line| line["request_id"] == "stop") }
    })
    .await;
    let lines = lines(&audit);
    let line = |id: &str| {
        let mut of_id = lines.iter().filter(|line| line["request_id"] == id);
        let line = of_id.next().unwrap_or_else(|| panic!("no line of {id}"));
        assert!(of_id.next().is_none(), "one line of {id}");
        line
    };
    let check = |id: &str, expect: Value| {
        let line = line(id);
        for (key, value) in expect.as_object().unwrap() {
            assert_eq!(&line[key], value, "{key} of {id}: {line}");
        }
        assert!(line["duration_ms"].as_f64().is_some() && line["time"].as_str().is_some(), "{line}");
    };
    let named = |outcome: &str, cache: &str| {
        json!({"event": "query", "subject": "revenue/mrr_by_plan", "role": "dashboard", "tenant": null, "route": "engine",
            "cache": cache, "snapshot": 1, "outcome": outcome})
    };
    check("miss", named("ok", "miss"));
    check("hit", named("ok", "memory"));
    check("shortcut", named("ok", "memory"));
    check("held", named("not_modified", "client"));
    assert!(line("shortcut")["rows"] == line("miss")["rows"] && line("miss")["bytes"].as_u64().unwrap() > 100);
    check("viewed", json!({"role": "admin", "tenant": "3", "views_as": true, "outcome": "ok"}));
    check("sql", json!({"event": "query", "tenant": "3", "rows": 1, "outcome": "ok"}));
    assert_eq!(line("sql")["fingerprint"].as_str().unwrap().len(), 16);
    check("wrong", json!({"outcome": "invalid_sql"}));
    check("fails", json!({"outcome": "invalid_value"}));
    check("forbidden", json!({"event": "refused", "subject": "/v1/sql", "outcome": "permission_denied"}));
    check("missing", json!({"event": "query", "subject": "no/such", "outcome": "not_found"}));
    check("embed", json!({"event": "make_embed_token", "subject": "revenue for tenant 3", "outcome": "ok"}));
    check("stop", json!({"event": "stop_execution", "role": "admin", "outcome": "not_found"}));
    let panels: Vec<&Value> =
        lines.iter().filter(|line| line["request_id"].as_str().is_some_and(|id| id.starts_with("board/"))).collect();
    assert_eq!(panels.len(), 4, "a line for each query of the dashboard: {panels:?}");
    assert!(panels.iter().all(|line| line["outcome"] == "ok" && line["rows"].is_u64()), "{panels:?}");

    // Values and text are in the other file alone; secrets in none.
    let (text, replays) = (std::fs::read_to_string(&audit).unwrap(), std::fs::read_to_string(&replay).unwrap());
    assert!(!text.contains("canary-5150") && !text.contains("2025-09-01"), "{text}");
    assert!(replays.contains("canary-5150") && replays.contains("\"from\":\"2025-09-01\""), "{replays}");
    for key in [&admin, &tenant, &backend] {
        assert!(!text.contains(key.as_str()) && !replays.contains(key.as_str()));
    }
}

#[test]
fn keys_that_come_and_go_leave_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let key = |arguments: &[&str]| {
        let command = Pilaster::command(&[&["key"], arguments, &["--file", &path("keys.json")]].concat());
        command.env("PILASTER__AUDIT__FILE", &path("audit.jsonl")).run().success().stdout
    };
    let made = key(&["new", "--name", "grafana", "--all-tenants"]);
    let id = made.trim().split('_').nth(1).unwrap();
    key(&["revoke", id]);
    let lines = lines(Path::new(&path("audit.jsonl")));
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["make_key", "revoke_key"]);
    let text = std::fs::read_to_string(path("audit.jsonl")).unwrap();
    assert!(text.contains("grafana") && !text.contains(made.trim().rsplit('_').next().unwrap()), "{text}");
}

/// A log that cannot be written is no log.
#[test]
fn a_log_that_cannot_be_opened_refuses_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/audit.jsonl");
    let store = folder.path().join("store");
    let serve = |file: &str| {
        let arguments = ["serve", "--snapshot", "never", "--listen", "127.0.0.1:0", "--store", store.to_str().unwrap()];
        Pilaster::command(&arguments).env("PILASTER__AUDIT__FILE", file).run().failure()
    };
    let why = serve(missing.to_str().unwrap());
    assert!(why.contains("audit log") && why.contains("missing"), "{why}");
}
