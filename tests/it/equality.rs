//! The whole way, end to end: the demo in a real Postgres, a snapshot of it, and every named query over HTTP equal to the same
//! file run on that Postgres, for all tenants and for three single ones.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{Postgres, free_port};

/// Tenants of the demo at this scale: the largest, one in the middle, the smallest.
const TENANTS: &[Option<&str>] = &[None, Some("1"), Some("20"), Some("40")];
const SCALE: &str = "0.01";

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(store: &Path) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let child = pilaster()
            .args([
                "serve",
                "--snapshot",
                "never",
                "--listen",
                &address.to_string(),
                "--store",
                store.to_str().unwrap(),
                "--config",
                "data/demo/tables.toml",
            ])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address }
    }

    async fn wait_until_ready(&self, client: &reqwest::Client) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let ready = client.get(self.url("/readyz")).send().await;
            if ready.is_ok_and(|reply| reply.status().is_success()) {
                return;
            }
            assert!(Instant::now() < deadline, "the server is not ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_named_query_answers_as_postgres_does() {
    let postgres = Postgres::start();
    let url = postgres.database("equality");
    load_demo(&url);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let taken = pilaster().args(["snapshot", "--postgres", &url, "--store", store.to_str().unwrap()]).output().unwrap();
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let summary = String::from_utf8(taken.stdout).unwrap();
    assert!(summary.contains("public.users.password_hash"), "the summary names what was left out: {summary}");

    let server = Server::start(&store);
    let client = reqwest::Client::new();
    server.wait_until_ready(&client).await;
    let queries = named_queries();
    assert!(queries.len() >= 12, "the demo has {} queries", queries.len());
    let mut different = Vec::new();
    for query in &queries {
        for tenant in TENANTS {
            let expected = on_postgres(&url, query, *tenant);
            let mut request = client.get(server.url(&format!("/v1/queries/{query}?format=csv")));
            if let Some(tenant) = tenant {
                request = request.header("Pilaster-Tenant", *tenant);
            }
            let reply = request.send().await.unwrap();
            assert_eq!(reply.status(), 200, "{query} for tenant {tenant:?}");
            let found = reply.text().await.unwrap();
            if let Err(why) = equal(&expected, &found) {
                different.push(format!("{query} for tenant {tenant:?}: {why}"));
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// The file as psql runs it, as CSV.
fn on_postgres(url: &str, query: &str, tenant: Option<&str>) -> String {
    let mut command = pilaster();
    command.args(["query", query, "--print-sql", "postgres"]);
    if let Some(tenant) = tenant {
        command.args(["--tenant", tenant]);
    }
    let sql = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let sql = sql.trim().trim_end_matches(';');
    let copy = format!("SET TimeZone = 'UTC'; COPY ({sql}) TO STDOUT (FORMAT csv, HEADER)");
    let run = Command::new("psql").args([url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", &copy]).output().unwrap();
    assert!(run.status.success(), "{query}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// Rows in order; numbers by value, to 1e-9 where either side is no exact decimal of the other's scale.
fn equal(expected: &str, found: &str) -> Result<(), String> {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    if expected.len() != found.len() {
        return Err(format!("{} rows, Postgres has {}", found.len(), expected.len()));
    }
    if expected.len() < 2 {
        return Err("there are no rows to compare".into());
    }
    for (row, (left, right)) in expected.iter().zip(&found).enumerate() {
        let same = left == right || {
            let (left, right): (Vec<&str>, Vec<&str>) = (left.split(',').collect(), right.split(',').collect());
            left.len() == right.len() && left.iter().zip(&right).all(|(left, right)| same_value(left, right))
        };
        if !same {
            return Err(format!("row {row} is {right}, Postgres has {left}"));
        }
    }
    Ok(())
}

fn same_value(left: &str, right: &str) -> bool {
    match (left.parse::<f64>(), right.parse::<f64>()) {
        (Ok(left), Ok(right)) => (left - right).abs() <= 1e-9 * left.abs().max(right.abs()),
        _ => left == right,
    }
}

fn load_demo(url: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo");
    let loaded = Command::new("psql")
        .args([url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", &format!("scale={SCALE}")])
        .args(["-f", root.join("schema.sql").to_str().unwrap(), "-f", root.join("generate.sql").to_str().unwrap()])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(loaded.success(), "the demo's data cannot be loaded");
}

fn named_queries() -> Vec<String> {
    let mut names = Vec::new();
    for dashboard in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("queries")).unwrap() {
        let dashboard = dashboard.unwrap();
        for file in std::fs::read_dir(dashboard.path()).unwrap() {
            let file = file.unwrap().file_name().into_string().unwrap();
            if let Some(name) = file.strip_suffix(".sql").filter(|name| !name.ends_with(".postgres")) {
                names.push(format!("{}/{name}", dashboard.file_name().into_string().unwrap()));
            }
        }
    }
    names.sort();
    names
}

fn pilaster() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilaster"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}
