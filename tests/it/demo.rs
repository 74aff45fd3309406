//! Every named query of the demo over HTTP, against the same file run by Postgres.

use std::{path::Path, sync::Arc};

use crate::{
    compare::{Rows, Tally, compare},
    support::Locale,
    support_server::{Demo, Reply, named_queries, pilaster, run},
};

/// All, the largest, one in the middle, the smallest.
const TENANTS: &[Option<&str>] = &[None, Some("1"), Some("20"), Some("40")];

#[tokio::test(flavor = "multi_thread")]
async fn every_named_query_answers_as_postgres_with_icu_does() {
    compare_all(Demo::shared()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_named_query_answers_as_postgres_with_c_does() {
    compare_all(Demo::in_locale(Locale::C)).await;
}

async fn compare_all(demo: Arc<Demo>) {
    let server = demo.server().start();
    let mut tally = Tally::default();
    let (mut compared, mut rows) = (0, 0);
    for (query, samples) in queries() {
        for parameters in [vec![]].into_iter().chain(samples) {
            for tenant in TENANTS {
                let sql = sql_for_postgres(&query, &parameters, *tenant);
                let mut request = server.get(&format!("/v1/queries/{query}")).query(&parameters);
                if let Some(tenant) = tenant {
                    request = request.header("Pilaster-Tenant", *tenant);
                }
                let (reply, theirs) = tokio::join!(Reply::of(request), Rows::on_postgres(demo.source(), &sql));
                let ours = Rows::from_json(&reply.ok().json());
                tally.add(&query, &format!("{parameters:?} of {tenant:?}"), compare(&theirs, &ours, |_, _| false));
                compared += 1;
                rows += theirs.rows.len();
            }
        }
    }
    assert!(compared >= 128 && rows > 5_000, "{compared} answers of {rows} rows were compared");
    tally.check();
}

/// A tenant's answers hold nothing of another: what all tenants together have is what the single ones add up to.
#[tokio::test(flavor = "multi_thread")]
async fn tenants_add_up_to_all() {
    let demo = Demo::shared();
    let server = demo.server().start();
    let path = "/v1/queries/usage/busy_hours";
    let events = async |tenant: Option<u32>| {
        let mut request = server.get(path);
        if let Some(tenant) = tenant {
            request = request.header("Pilaster-Tenant", tenant.to_string());
        }
        let reply = Reply::of(request).await.ok().json();
        reply["data"].as_array().unwrap().iter().map(|row| row["events"].as_i64().unwrap()).sum::<i64>()
    };
    let mut sum = 0;
    for tenant in 1..=40 {
        let own = events(Some(tenant)).await;
        assert!(own > 0, "tenant {tenant} has events");
        sum += own;
    }
    assert_eq!(events(None).await, sum);
    assert_eq!(events(Some(41)).await, 0, "there is no tenant 41");
    let wrong = server.get(path).header("Pilaster-Tenant", "one");
    Reply::of(wrong).await.problem(400, "invalid_request");
    let sql = server.sql("SELECT count(*) FROM events").header("Pilaster-Tenant", "1");
    let plain = Reply::of(server.sql("SELECT count(*) FROM events WHERE tenant_id = 1")).await.ok().row();
    assert_eq!(Reply::of(sql).await.ok().row(), plain, "SQL of one's own, too");
}

/// The named queries with their samples.
fn queries() -> Vec<(String, Vec<Vec<(String, String)>>)> {
    let mut found = Vec::new();
    for dashboard in std::fs::read_dir(named_queries()).unwrap() {
        let dashboard = dashboard.unwrap();
        for file in std::fs::read_dir(dashboard.path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if !name.contains('.') {
                found.push((format!("{}/{name}", dashboard.file_name().to_str().unwrap()), samples(&path)));
            }
        }
    }
    found.sort();
    assert!(found.len() >= 16, "{found:?}");
    assert!(found.iter().all(|(_, samples)| !samples.is_empty()), "each query has a sample: {found:?}");
    found
}

fn samples(file: &Path) -> Vec<Vec<(String, String)>> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("-- @sample "));
    let pair = |word: &str| {
        let (name, value) = word.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    lines.map(|line| line.split_whitespace().map(pair).collect()).collect()
}

fn sql_for_postgres(query: &str, parameters: &[(String, String)], tenant: Option<&str>) -> String {
    let mut command = pilaster(&["query", query, "--print-sql", "postgres", "--queries"]);
    command.arg(named_queries());
    command.args(parameters.iter().map(|(name, value)| format!("{name}={value}")));
    command.args(tenant.iter().flat_map(|tenant| ["--tenant", tenant]));
    run(&mut command)
}
