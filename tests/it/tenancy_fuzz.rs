//! A tenant learns nothing of others: random statements as a tenant, over random tables that hold others' rows or do not.
//!
//! Each statement is asked three times: of a database that holds the tenant's rows alone, of one that holds the rows of others too, both as
//! the tenant, and of the first once more by somebody who sees all of it. The tenant must be told the same by both databases, rows or
//! error; and what it is told must be what there is.
//!
//! `TENANCY_STATEMENTS` and `TENANCY_SEED` say how many and from where; `make tenantfuzz` asks for 100,000.

use futures::StreamExt;

use crate::{
    compare::{Rows, connect},
    finder::{difference, setting},
    fuzz_sql::{Query, Tenants, generate, sql, tenants},
    slt::{on_engine, on_engine_as},
    support::{Locale, Postgres},
    support_server::{Server, Settings, pilaster, run},
};

/// What a run of the tests asks.
const STATEMENTS: u64 = 2_000;
/// Over one schema.
const PER_SCHEMA: u64 = 400;
const TOGETHER: usize = 4;

type Answer = Result<Rows, (String, String)>;

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_told_the_same_whoever_else_there_is() {
    let statements = setting("TENANCY_STATEMENTS").unwrap_or(STATEMENTS);
    let first = setting("TENANCY_SEED").unwrap_or(1);
    let postgres = Postgres::private_in(Locale::Icu, &[], "");
    let mut tally = Tally::default();
    let mut seed = first;
    while seed < first + statements {
        let place = Place::open(&postgres, &format!("tenancy_{seed}"), tenants(seed)).await;
        let asked = futures::stream::iter(seed..(seed + PER_SCHEMA).min(first + statements)).map(|seed| {
            let query = generate(seed, &place.tenants.schema);
            let place = &place;
            async move { (seed, place.verdict(&query).await, query) }
        });
        let verdicts: Vec<_> = asked.buffered(TOGETHER).collect().await;
        for (seed, verdict, query) in verdicts {
            tally.add(seed, verdict, &query, place.tenants.tenant);
        }
        seed += PER_SCHEMA;
    }
    println!("tenancy: {tally:?}");
    assert!(tally.faults.is_empty(), "{} faults, for example:\n{}", tally.faults.len(), tally.faults.join("\n\n"));
    let answered = tally.equal + tally.without_rows;
    assert!(tally.other_order * 20 < statements, "few errors depend on how the work is ordered: {tally:?}");
    assert!(answered * 2 > statements, "most statements are answered: {tally:?}");
    assert!(tally.refused_tables > 0 || statements < 1_000, "denied tables are asked for: {tally:?}");
}

/// Servers over the two databases.
struct Place {
    tenants: Tenants,
    alone: Server,
    among_others: Server,
    _stores: [tempfile::TempDir; 2],
}

#[derive(Debug)]
enum Verdict {
    /// The same rows, of which there are some or not.
    Equal(bool),
    /// The same error.
    Fails,
    /// It asks for a table that no tenant sees.
    RefusedTable,
    /// The tenant has an answer where whoever sees all has an error, or the other way round: by another order of the same work.
    OtherOrder,
    Fault(String),
}

impl Place {
    async fn open(postgres: &Postgres, name: &str, tenants: Tenants) -> Self {
        let (alone, first) = serve(postgres, &format!("{name}_alone"), &tenants.alone, &tenants.config).await;
        let (among_others, second) =
            serve(postgres, &format!("{name}_others"), &tenants.among_others, &tenants.config).await;
        Self { tenants, alone, among_others, _stores: [first, second] }
    }

    async fn verdict(&self, query: &Query) -> Verdict {
        let text = sql(query);
        let tenant = Some(self.tenants.tenant);
        let (alone, among_others) =
            tokio::join!(on_engine_as(&self.alone, tenant, &text), on_engine_as(&self.among_others, tenant, &text));
        if self.tenants.denied.iter().any(|table| text.contains(table.as_str())) {
            return match (&alone, &among_others) {
                (Err(first), Err(second)) if first == second => Verdict::RefusedTable,
                _ => Verdict::Fault(format!("a denied table is not refused alike: {alone:?} and {among_others:?}")),
            };
        }
        let told = same(query, alone.clone(), among_others);
        if let Err(how) = told {
            return Verdict::Fault(format!("others change it: {how}"));
        }
        match (alone, on_engine(&self.alone, &text).await) {
            (Err(_), Err(_)) => Verdict::Fails,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => Verdict::OtherOrder,
            (alone, whole) => {
                let has_rows = alone.as_ref().is_ok_and(|rows| !rows.rows.is_empty());
                match same(query, whole, alone) {
                    Ok(()) => Verdict::Equal(has_rows),
                    Err(how) => Verdict::Fault(format!("it is not all there is: {how}")),
                }
            }
        }
    }
}

/// A server of a snapshot of a database of its own.
async fn serve(postgres: &Postgres, name: &str, setup: &str, config: &str) -> (Server, tempfile::TempDir) {
    let url = postgres.database(name);
    let (client, _connection) = connect(&url).await;
    client.batch_execute(setup).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (store, path) = (folder.path().join("store"), folder.path().join("tables.toml"));
    std::fs::write(&path, config).unwrap();
    run(pilaster(&["snapshot", "--postgres", &url, "--store"]).arg(&store).arg("--config").arg(&path));
    // On one thread, where the order of the work is given.
    let server = Settings::replica(&store).config(config).env("PILASTER__ENGINE__THREADS", "1");
    (server.env("PILASTER__ENGINE__TIMEOUT", "10s").start(), folder)
}

/// Whether two answers are one: the same rows, or errors of the same code.
fn same(query: &Query, first: Answer, second: Answer) -> Result<(), String> {
    match (first, second) {
        (Ok(first), Ok(second)) => {
            let difference = difference(query, first, second);
            difference.rows.or(difference.columns).map_or(Ok(()), Err)
        }
        (Err(first), Err(second)) if first == second => Ok(()),
        (Err(first), Err(second)) => Err(format!("{first:?} and {second:?}")),
        (Ok(_), Err(error)) => Err(format!("rows and {error:?}")),
        (Err(error), Ok(_)) => Err(format!("{error:?} and rows")),
    }
}

#[derive(Debug, Default)]
struct Tally {
    equal: u64,
    without_rows: u64,
    fails: u64,
    refused_tables: u64,
    other_order: u64,
    faults: Vec<String>,
}

impl Tally {
    fn add(&mut self, seed: u64, verdict: Verdict, query: &Query, tenant: &str) {
        match verdict {
            Verdict::Equal(true) => self.equal += 1,
            Verdict::Equal(false) => self.without_rows += 1,
            Verdict::Fails => self.fails += 1,
            Verdict::RefusedTable => self.refused_tables += 1,
            Verdict::OtherOrder => self.other_order += 1,
            Verdict::Fault(how) => {
                let fault = format!("seed {seed}, tenant {tenant}: {how}\n{}", sql(query));
                println!("{fault}\n");
                self.faults.push(fault);
            }
        }
    }
}
