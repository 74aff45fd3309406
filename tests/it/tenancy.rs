//! What a tenant is shown: its own rows, shared tables, and nothing that tells of the rest, whichever way it asks.

use std::{collections::BTreeSet, future::ready, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    support::Postgres,
    support_pilaster::Pilaster,
    support_server::{Reply, Server, Settings, eventually, pilaster, run},
};

/// Tenant 1 has three sales, all harmless. What others have fails as soon as somebody computes with it.
const SETUP: &str = "
    CREATE TABLE tenants (id bigint PRIMARY KEY, name text NOT NULL);
    INSERT INTO tenants VALUES (1, 'one'), (2, 'two'), (3, 'three');
    CREATE TABLE sales (id bigint PRIMARY KEY, tenant_id bigint REFERENCES tenants, x int NOT NULL, big bigint NOT NULL, note text, at date, f float8);
    INSERT INTO sales VALUES (1, 1, 1, 10, '11', '2024-01-01', 1), (2, 1, 2, 20, '12', '2024-02-01', 2), (3, 1, 3, 30, '13', '2024-03-01', 'NaN');
    INSERT INTO sales SELECT n, 2, 7, 9223372036854775807, 'secret of somebody else, number ' || n, '1999-01-01', 100 FROM generate_series(10, 2000) AS n;
    INSERT INTO sales SELECT n, 3, 8, -9223372036854775808, NULL, '2099-01-01', -5 FROM generate_series(2001, 2100) AS n;
    INSERT INTO sales VALUES (9000, NULL, 7, 0, 'nobody''s', NULL, NULL);
    CREATE TABLE plans (code text PRIMARY KEY, price numeric(10,2));
    INSERT INTO plans VALUES ('a', 1.50), ('b', 2.50);
    CREATE TABLE payroll (id int, amount int);
    INSERT INTO payroll VALUES (1, 100);
    CREATE TABLE forgotten (id int, tenant_id bigint);
    INSERT INTO forgotten VALUES (1, 1);
";
const CONFIG: &str = r#"
    [tables."public.tenants"]
    tenant = "id"
    [tables."public.sales"]
    tenant = "tenant_id"
    [tables."public.plans"]
    access = "shared"
    [tables."public.payroll"]
    access = "denied"
"#;
const QUERIES: &[(&str, &str)] = &[
    ("sales/total", "SELECT count(*) AS sales, sum(x) AS x FROM sales"),
    ("sales/bound", "SELECT count(*) AS sales FROM sales WHERE $tenant IS NULL OR tenant_id = $tenant"),
    ("sales/notes", "SELECT sum(CAST(note AS int)) AS notes FROM sales"),
    ("internal/payroll", "SELECT sum(amount) AS amount FROM payroll"),
    ("internal/forgotten", "SELECT count(*) AS n FROM forgotten"),
];

struct Shop {
    server: Server,
    store: std::path::PathBuf,
    folder: TempDir,
}

impl Shop {
    fn open(name: &str) -> Self {
        Self::with(name, |settings| settings)
    }

    fn with(name: &str, settings: impl FnOnce(Settings) -> Settings) -> Self {
        let postgres = Postgres::start();
        let url = postgres.database(name);
        postgres.psql(name, SETUP);
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        std::fs::write(folder.path().join("tables.toml"), CONFIG).unwrap();
        for (query, sql) in QUERIES {
            let path = folder.path().join(format!("queries/{query}.sql"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("-- A query.\n{sql}\n")).unwrap();
        }
        run(pilaster(&["snapshot", "--postgres", &url, "--store"])
            .arg(&store)
            .arg("--config")
            .arg(folder.path().join("tables.toml")));
        let server = Settings::replica(&store).config(CONFIG).queries(&folder.path().join("queries"));
        Self { server: settings(server).start(), store, folder }
    }

    async fn as_tenant(&self, tenant: &str, sql: &str) -> Reply {
        Reply::of(self.server.sql(sql).header("Pilaster-Tenant", tenant)).await
    }
}

/// What a tenant could find out of others if it were computed on their rows, or told by what is known of the table.
#[tokio::test(flavor = "multi_thread")]
async fn others_rows_are_not_there() {
    let shop = Shop::open("tenancy_rows");
    for (sql, expect) in [
        ("SELECT count(*) FROM sales", json!([3])),
        ("SELECT count(*) FROM sales WHERE 1 / (x - 7) < 5", json!([3])),
        ("SELECT count(*) FROM sales WHERE CAST(note AS int) > 11", json!([2])),
        ("SELECT count(*) FROM sales WHERE big * 10 > 100", json!([2])),
        ("SELECT sum(x) FROM sales WHERE x <> 7 AND 10 / (x - 7) < 0", json!([6])),
        ("SELECT min(big), max(big), min(at)::text, max(x) FROM sales", json!([10, 30, "2024-01-01", 3])),
        ("SELECT count(DISTINCT tenant_id) FROM sales", json!([1])),
        ("SELECT count(*) FROM sales WHERE tenant_id = 2", json!([0])),
        ("SELECT count(*) FROM sales WHERE tenant_id = 2 OR true", json!([3])),
        ("SELECT count(*) FROM sales WHERE tenant_id IS NULL", json!([0])),
        ("SELECT count(*) FROM (SELECT x FROM sales LIMIT 100) t", json!([3])),
        ("SELECT count(*) FROM (SELECT x FROM sales LIMIT 2 OFFSET 2) t", json!([1])),
        ("SELECT count(*) FROM (SELECT x FROM sales ORDER BY big DESC LIMIT 2) t WHERE x > 1", json!([2])),
        ("SELECT max((SELECT max(big) FROM sales)) FROM plans", json!([30])),
        ("SELECT count(*) FROM plans WHERE EXISTS (SELECT 1 FROM sales WHERE x = 7)", json!([0])),
        ("SELECT count(*) FROM plans WHERE 7 IN (SELECT x FROM sales)", json!([0])),
        ("SELECT count(*) FROM sales a CROSS JOIN sales b", json!([9])),
        ("SELECT count(*) FROM sales a LEFT JOIN sales b ON b.x = a.x + 4", json!([3])),
        ("SELECT count(b.id) FROM sales a RIGHT JOIN sales b ON a.id = b.id", json!([3])),
        ("SELECT count(*) FROM plans p FULL JOIN sales s ON false", json!([5])),
        ("SELECT max(n) FROM (SELECT count(*) OVER () AS n FROM sales) t", json!([3])),
        ("WITH s AS (SELECT * FROM sales) SELECT count(*) FROM s", json!([3])),
        (
            "WITH RECURSIVE r AS (SELECT x FROM sales UNION SELECT r.x + 1 FROM r JOIN sales s ON s.x = r.x) SELECT max(x) FROM r",
            json!([4]),
        ),
        ("SELECT count(*) FROM (SELECT x FROM sales UNION ALL SELECT x FROM sales) t", json!([6])),
        ("SELECT count(*) FROM (SELECT x FROM sales EXCEPT SELECT 1) t", json!([2])),
        ("SELECT count(*) FROM plans, LATERAL (SELECT x FROM sales WHERE x > 1 LIMIT 1) s", json!([2])),
        ("SELECT count(*) FROM (SELECT x FROM sales GROUP BY ROLLUP (x)) t", json!([4])),
        ("SELECT count(*) FROM tenants", json!([1])),
        ("SELECT max(name) FROM tenants JOIN sales ON sales.tenant_id = tenants.id", json!(["one"])),
        ("SELECT count(*) FROM plans", json!([2])),
        // NaN is greater than all that others have, and all that they have not.
        ("SELECT count(*) FROM sales WHERE f > 50", json!([1])),
        ("SELECT count(*) FROM sales WHERE f > 5000", json!([1])),
        ("SELECT count(*) FROM sales WHERE f = 'NaN'", json!([1])),
        ("SELECT count(*) FROM sales WHERE f < -2", json!([0])),
        ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x) FROM sales", json!([2])),
        ("SELECT CASE WHEN count(*) > 100 THEN 1 / 0 ELSE 0 END FROM sales", json!([0])),
    ] {
        let row = shop.as_tenant("1", sql).await.ok().row();
        let values: Vec<Value> = row.as_object().unwrap().values().cloned().collect();
        assert_eq!(Value::Array(values), expect, "{sql}");
    }
    // Others see theirs, and whoever may see all, all.
    assert_eq!(shop.as_tenant("2", "SELECT count(*) AS n FROM sales").await.ok().row()["n"], json!(1991));
    assert_eq!(Reply::of(shop.server.sql("SELECT count(*) AS n FROM sales")).await.ok().row()["n"], json!(2095));
    let nans = Reply::of(shop.server.sql("SELECT count(*) AS n FROM sales WHERE f > 5000")).await.ok();
    assert_eq!(nans.row()["n"], json!(1), "what is skipped knows of NaN");
    assert_eq!(shop.as_tenant("4", "SELECT count(*) AS n FROM sales").await.ok().row()["n"], json!(0));
}

/// A table that is denied, or that nobody has thought of, is told from one that there is not by nothing.
#[tokio::test(flavor = "multi_thread")]
async fn hidden_tables_are_missing_tables() {
    let shop = Shop::open("tenancy_hidden");
    let problem = async |table: &str| {
        let reply = shop.as_tenant("1", &format!("SELECT count(*) FROM {table}")).await;
        let problem = reply.problem(400, "invalid_sql");
        assert_eq!(problem["sqlstate"], "42P01");
        format!("{} {}", problem["message"], problem["hint"]).replace(table, "…")
    };
    let missing = problem("nonsense").await;
    for table in ["payroll", "forgotten", "payrol", "forgoten", "pg_class"] {
        assert_eq!(problem(table).await, missing, "{table}");
    }
    for (path, expect) in
        [("public.payroll", "42P01"), ("information_schema.tables", "42P01"), ("pg_catalog.pg_class", "42P01")]
    {
        let reply = shop.as_tenant("1", &format!("SELECT * FROM {path}")).await;
        assert_eq!(reply.problem(400, "invalid_sql")["sqlstate"], expect, "{path}");
    }
    let tables = async |request: reqwest::RequestBuilder| Reply::of(request).await.ok().json()["tables"].clone();
    let seen = tables(shop.server.get("/v1/tables").header("Pilaster-Tenant", "1")).await;
    let names: BTreeSet<&str> = seen.as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["plans", "sales", "tenants"]));
    for table in seen.as_array().unwrap() {
        assert!(
            table["rows"].is_null() && table["bytes"].is_null() && table["columns"][0]["nulled"].is_null(),
            "{table}"
        );
    }
    let all = tables(shop.server.get("/v1/tables")).await;
    assert_eq!(all.as_array().unwrap().len(), 5);
    assert!(all.as_array().unwrap().iter().any(|table| table["rows"] == json!(2095)), "{all}");
}

/// Every way to ask ends at the same barrier.
#[tokio::test(flavor = "multi_thread")]
async fn each_entry_shows_a_tenant_its_rows() {
    let shop = Shop::open("tenancy_entries");
    let as_one = |request: reqwest::RequestBuilder| request.header("Pilaster-Tenant", "1");
    let total = "/v1/queries/sales/total";
    // The second time it is kept, and the third is somebody else's.
    for _ in 0..2 {
        let own = Reply::of(as_one(shop.server.get(total))).await.ok().row();
        assert_eq!(own, json!({"sales": 3, "x": 6}));
        let other = Reply::of(shop.server.get(total).header("Pilaster-Tenant", "3")).await.ok().row();
        assert_eq!(other, json!({"sales": 100, "x": 800}));
        assert_eq!(Reply::of(shop.server.get(total)).await.ok().row()["sales"], json!(2095));
    }
    assert_eq!(Reply::of(as_one(shop.server.post(total)).json(&json!({}))).await.ok().row()["sales"], json!(3));
    assert_eq!(Reply::of(as_one(shop.server.get("/v1/queries/sales/bound"))).await.ok().row()["sales"], json!(3));
    for format in ["json", "ndjson", "csv"] {
        let sql = shop.server.sql("SELECT max(note) AS note FROM sales").query(&[("format", format)]);
        let text = Reply::of(as_one(sql)).await.ok().text();
        assert!(text.contains("13") && !text.contains("secret"), "{format}: {text}");
    }
    for format in ["arrow", "parquet"] {
        let sql = shop.server.sql("SELECT note FROM sales").query(&[("format", format)]);
        let bytes = Reply::of(as_one(sql)).await.ok().body;
        assert!(!bytes.windows(6).any(|part| part == b"secret"), "{format} has another tenant's text in it");
    }
    let lines = Reply::of(as_one(shop.server.post("/v1/dashboards/sales")).json(&json!({}))).await.ok().text();
    assert_eq!(lines.matches("\"sales\":3").count(), 2, "{lines}");

    for query in ["internal/payroll", "internal/forgotten"] {
        let reply = Reply::of(as_one(shop.server.get(&format!("/v1/queries/{query}")))).await;
        let problem = reply.problem(403, "permission_denied");
        assert!(!problem.to_string().contains("public."), "{problem}");
        let definition =
            Reply::of(as_one(shop.server.get(&format!("/v1/queries/{query}/definition")))).await.ok().json();
        assert!(definition["columns"].is_null(), "{definition}");
        Reply::of(shop.server.get(&format!("/v1/queries/{query}"))).await.ok();
    }
    let query = |arguments: &[&str]| {
        let common = ["query", "--store", shop.store.to_str().unwrap(), "--output", "csv", "--config"];
        let config = shop.folder.path().join("tables.toml");
        Pilaster::command(&[&common[..], &[config.to_str().unwrap()], arguments].concat()).run()
    };
    let own = query(&["SELECT count(*) AS n FROM sales", "--tenant", "1"]).success();
    assert_eq!(own.stdout.trim(), "n\n3");
    let hidden = query(&["SELECT count(*) AS n FROM payroll", "--tenant", "1"]);
    assert!(hidden.failure().contains("not in the snapshot"));
}

/// A tenant is told that its query fails, and how that is called. What it failed on is in the log.
#[tokio::test(flavor = "multi_thread")]
async fn errors_tell_a_tenant_no_values() {
    let shop = Shop::open("tenancy_errors");
    let failing = "SELECT CAST('no number ' || note AS int) AS n FROM sales";
    for (sql, state) in [(failing, "22P02"), ("SELECT 1 / (x - 2) AS n FROM sales", "22012")] {
        let reply = shop.as_tenant("1", sql).await;
        let problem = reply.problem(400, "invalid_value");
        assert_eq!(problem["sqlstate"], state);
        assert!(problem["detail"].is_null() && !problem.to_string().contains("number"), "{problem}");
        let id = problem["request_id"].as_str().unwrap();
        let is_told = |line: &str| line.contains("no number") || line.contains("division by zero");
        eventually("the log tells why", Duration::from_secs(5), || {
            ready(shop.server.log().lines().any(|line| line.contains(id) && is_told(line)))
        })
        .await;
        let whole = Reply::of(shop.server.sql(sql)).await.problem(400, "invalid_value");
        assert_ne!(whole["message"], problem["message"], "whoever sees all is told why");
    }
    let notes = Reply::of(shop.server.get("/v1/queries/sales/notes").header("Pilaster-Tenant", "2")).await;
    let problem = notes.problem(400, "invalid_value");
    assert!(!problem.to_string().contains("secret"), "{problem}");
    let lines =
        Reply::of(shop.server.post("/v1/dashboards/sales").header("Pilaster-Tenant", "2").json(&json!({}))).await;
    let line = lines.ok().text();
    assert!(line.contains("invalid_value") && line.contains("request_id") && !line.contains("secret"), "{line}");
    // What is wrong with the statement itself says so.
    let typo = shop.as_tenant("1", "SELECT nonsense FROM sales").await.problem(400, "invalid_sql");
    assert!(typo["message"].as_str().unwrap().contains("nonsense"), "{typo}");
}

/// What cannot be a tenant is refused, and never becomes another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_one_name() {
    let shop = Shop::open("tenancy_names");
    for tenant in ["01", "+1", "1.0", " 1 ", "1 OR 1=1", "one", "0x1", "9223372036854775808", "1;2", "١"] {
        let reply = shop.as_tenant(tenant, "SELECT count(*) AS n FROM sales").await;
        let trimmed = tenant.trim();
        // HTTP leaves out what stands around a value.
        if trimmed == "1" {
            assert_eq!(reply.ok().row()["n"], json!(3));
            continue;
        }
        assert_eq!(reply.status, 400, "{tenant:?}: {}", reply.text());
        let bound = shop.server.get("/v1/queries/sales/bound").header("Pilaster-Tenant", tenant);
        assert_eq!(Reply::of(bound).await.status, 400, "{tenant:?}");
    }
}

/// A setting that cannot be followed shows nothing to tenants, and is said aloud.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_column_that_is_none_denies_the_table() {
    for column in ["nonsense", "at"] {
        let wrong = format!("[tables.\"public.sales\"]\ntenant = \"{column}\"\n");
        let shop = Shop::open("tenancy_wrong");
        let config = CONFIG.replace("[tables.\"public.sales\"]\n    tenant = \"tenant_id\"", &wrong);
        let server = Settings::replica(&shop.store).config(&config).start();
        let asked = Reply::of(server.sql("SELECT count(*) FROM sales").header("Pilaster-Tenant", "1")).await;
        asked.problem(400, "invalid_sql");
        assert!(server.log().contains("the table is denied to tenants"), "{}", server.log());
        let path = shop.folder.path().join("wrong.toml");
        std::fs::write(&path, &config).unwrap();
        let check =
            Pilaster::command(&["check", "--store", shop.store.to_str().unwrap(), "--config", path.to_str().unwrap()])
                .run();
        assert!(check.stdout.contains("BROKEN") && check.stdout.contains(column), "{}", check.stdout);
        assert!(!check.status.success());
    }
}

/// `check` says what nobody has thought of, what it looks like, and which queries tenants cannot ask.
#[tokio::test(flavor = "multi_thread")]
async fn check_lists_tables_that_are_not_classified() {
    let shop = Shop::open("tenancy_check");
    let queries = shop.folder.path().join("queries");
    let check = |config: &str| {
        let path = shop.folder.path().join("check.toml");
        std::fs::write(&path, config).unwrap();
        let arguments = ["check", "--store", shop.store.to_str().unwrap(), "--config", path.to_str().unwrap()];
        Pilaster::command(&[&arguments[..], &["--queries", queries.to_str().unwrap()]].concat()).run().success().stdout
    };
    insta::assert_snapshot!(clean(&check(CONFIG)));
    insta::assert_snapshot!(clean(&check("")));
}

/// Without what differs each time.
fn clean(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("snapshot ")).collect::<Vec<_>>().join("\n")
}
