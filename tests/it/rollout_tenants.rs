//! Tenants on Postgres: only where no row of another's can come back, which is seen and not believed.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    rollout::write_query,
    support::Postgres,
    support_server::{Reply, Server, Settings, eventually, run, take_snapshot},
};

const SECURED: &str = "[rollout]\nenabled = true\nrequire_certificate = false\n[tables]\n\"public.bills\" = { tenant = \"tenant_id\" }\n\
    \"public.rates\" = { access = \"shared\" }\n";

/// A table under row level security, and a role that it holds for.
struct Secured {
    folder: TempDir,
    url: String,
    tenants_url: String,
}

impl Secured {
    fn new(database: &str, policy: &str) -> Self {
        let postgres = Postgres::start();
        let url = postgres.database(database);
        let role = format!("{database}_route");
        postgres.psql(
            database,
            &format!(
                "CREATE TABLE bills (tenant_id int8 NOT NULL, amount int4 NOT NULL); CREATE INDEX ON bills (tenant_id);
                 INSERT INTO bills SELECT n % 3, n FROM generate_series(1, 30) AS n;
                 CREATE TABLE secrets (tenant_id int8); INSERT INTO secrets VALUES (1);
                 CREATE TABLE rates (rate int4); INSERT INTO rates VALUES (2);
                 DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                     CREATE ROLE {role} LOGIN PASSWORD 'route'; END IF; END $$;
                 GRANT SELECT ON bills, secrets, rates TO {role};
                 {policy}"
            ),
        );
        let folder = tempfile::tempdir().unwrap();
        let queries = folder.path().join("queries");
        write_query(&queries, "d/total", "SELECT sum(amount) AS total FROM bills");
        write_query(
            &queries,
            "d/bound",
            "SELECT sum(amount) AS total FROM bills WHERE $tenant IS NULL OR tenant_id = $tenant",
        );
        write_query(&queries, "d/rates", "SELECT rate FROM rates");
        write_query(&queries, "d/secret", "SELECT tenant_id FROM secrets");
        take_snapshot(&url, &folder.path().join("store"));
        Self { folder, url, tenants_url: postgres.url_as(&role, "route", database) }
    }

    fn settings(&self) -> Settings {
        Settings::replica(&self.folder.path().join("store"))
            .queries(&self.folder.path().join("queries"))
            .config(SECURED)
            .env("PILASTER__POSTGRES__URL", &self.url)
    }

    fn server(&self) -> Server {
        self.settings().env("PILASTER__ROLLOUT__POSTGRES_URL", &self.tenants_url).start()
    }
}

async fn as_tenant(server: &Server, query: &str, tenant: &str) -> Reply {
    Reply::of(server.get(&format!("/v1/queries/{query}")).header("Pilaster-Tenant", tenant)).await
}

const POLICY: &str = "ALTER TABLE bills ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON bills \
    USING (tenant_id = nullif(current_setting('pilaster.tenant', true), '')::int8);";

#[tokio::test(flavor = "multi_thread")]
async fn tenants_go_to_postgres_only_where_they_see_their_own() {
    let secured = Secured::new("two_sides_rls", POLICY);
    let server = secured.server();
    for (tenant, total) in [("1", 145), ("2", 155), ("0", 165)] {
        for query in ["d/total", "d/bound"] {
            let reply = as_tenant(&server, query, tenant).await.ok();
            assert_eq!(
                (reply.header("pilaster-route"), &reply.json()["data"][0]["total"]),
                ("postgres", &json!(total)),
                "{query}"
            );
        }
    }
    let reply = as_tenant(&server, "d/total", "9").await.ok();
    assert_eq!(reply.json()["data"][0]["total"], Value::Null, "a tenant without rows");
    // Whoever sees all tenants sees all of them, under a role that row level security does not hold for.
    let reply = Reply::of(server.get("/v1/queries/d/total")).await.ok();
    assert_eq!(reply.json()["data"][0]["total"], 465);
    assert_eq!(as_tenant(&server, "d/rates", "1").await.ok().json()["data"][0]["rate"], 2);
    as_tenant(&server, "d/secret", "1").await.problem(403, "permission_denied");
    // One tenant is written in one way: another would not be what the policies compare.
    assert_eq!(as_tenant(&server, "d/total", "01").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_not_believed() {
    let cases = [
        ("none", "", "row level security of public.bills does not hold"),
        (
            "open",
            "ALTER TABLE bills ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON bills USING (true);",
            "shows rows to a tenant",
        ),
        (
            "fixed",
            "ALTER TABLE bills ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON bills USING (tenant_id = 1);",
            "shows rows to a tenant",
        ),
        (
            "below",
            "ALTER TABLE bills ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON bills \
             USING (tenant_id <= current_setting('pilaster.tenant')::int8);",
            "shows rows to a tenant",
        ),
        (
            "owner",
            "ALTER TABLE bills ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON bills \
             USING (tenant_id = current_setting('pilaster.tenant')::int8); ALTER TABLE bills OWNER TO two_sides_owner_route;",
            "does not hold",
        ),
    ];
    for (name, policy, why) in cases {
        let secured = Secured::new(&format!("two_sides_{name}"), policy);
        let server = secured.server();
        as_tenant(&server, "d/total", "1").await.problem(503, "not_routed");
        eventually(format!("{name}: the log says {why:?}"), Duration::from_secs(5), || async {
            server.log().contains(why)
        })
        .await;
        // What the query limits by itself needs no policy.
        let reply = as_tenant(&server, "d/bound", "1").await.ok();
        assert_eq!(
            (reply.header("pilaster-route"), &reply.json()["data"][0]["total"]),
            ("postgres", &json!(145)),
            "{name}"
        );
    }
    // What would be refused is said before anybody asks.
    let secured = Secured::new("two_sides_checked", "");
    let config = secured.folder.path().join("check.toml");
    std::fs::write(&config, SECURED).unwrap();
    let mut check = crate::support_server::pilaster(&["check", "--config"]);
    check.arg(&config).arg("--store").arg(secured.folder.path().join("store"));
    check.arg("--queries").arg(secured.folder.path().join("queries"));
    check.env("PILASTER__POSTGRES__URL", &secured.url).env("PILASTER__ROLLOUT__POSTGRES_URL", &secured.tenants_url);
    let shown = run(&mut check);
    let lines: Vec<&str> = shown.lines().filter(|line| line.contains("tenants are not routed")).collect();
    assert!(lines.len() == 1 && lines[0].contains("d/total") && lines[0].contains("does not hold"), "{shown}");
    // Without a role of their own, tenants go where the query limits itself.
    let secured = Secured::new("two_sides_alone", POLICY);
    let server = secured.settings().start();
    as_tenant(&server, "d/total", "1").await.problem(503, "not_routed");
    assert_eq!(as_tenant(&server, "d/bound", "1").await.ok().json()["data"][0]["total"], 145);
    // A role for which row level security holds cannot answer for all tenants: that is an error, and not a wrong sum.
    let hidden = secured.settings().env("PILASTER__POSTGRES__URL", &secured.tenants_url).start();
    let reply = Reply::of(hidden.get("/v1/queries/d/total")).await.ok();
    assert_eq!((reply.header("pilaster-route"), &reply.json()["data"][0]["total"]), ("engine; fallback", &json!(465)));
}
