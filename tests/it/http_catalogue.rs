//! What a server says of itself over HTTP: the catalogue, a dashboard whole, the description of the API and its pages.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support_server::{Demo, Reply, named_queries};

const MRR: &str = "/v1/queries/revenue/mrr_by_plan";

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
    for path in ["/v1/snapshots", "/v1/snapshots/1"] {
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
        let content = operation["responses"]["200"]["content"].as_object().unwrap();
        for format in
            parameters.iter().find(|found| found["name"] == "format").unwrap()["schema"]["enum"].as_array().unwrap()
        {
            let kind = match format.as_str().unwrap() {
                "json" => "application/json",
                "ndjson" => "application/x-ndjson",
                "csv" => "text/csv",
                "arrow" => "application/vnd.apache.arrow.stream",
                "parquet" => "application/vnd.apache.parquet",
                other => panic!("{other} in {path}"),
            };
            assert!(content.contains_key(kind), "{path} does not say that it gives {kind}");
        }
        for (name, column) in columns.iter().filter(|(_, column)| column["x-postgres-type"] == "int8") {
            assert_eq!(column["type"], json!(["integer", "string", "null"]), "?numbers=string quotes {name} of {path}");
        }
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
