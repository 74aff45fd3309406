//! Both sides compared as of one instant: what is equal is found equal, and what is wrong is found wrong.

use std::path::{Path, PathBuf};

use pilaster::{
    rollout::{Answer, Promise, Verdict, compare},
    sql::{ReadOnlySql, StatementLimits},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    compare::Rows,
    support::{Locale, Postgres},
    support_server::{Demo, Reply, Settings, named_queries, pilaster},
};

const LIMITS: StatementLimits = StatementLimits { bytes_max: 1 << 20, tokens_max: 100_000 };

/// A source, a store, and a folder of queries of which some have a variant for Postgres.
struct Sides {
    folder: TempDir,
    url: String,
    database: String,
}

impl Sides {
    fn new(database: &str, ddl: &str) -> Self {
        let url = Postgres::start().database(database);
        Postgres::start().psql(database, ddl);
        Self { folder: tempfile::tempdir().unwrap(), url, database: database.to_owned() }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn queries(&self) -> PathBuf {
        self.folder.path().join("queries")
    }

    fn query(&self, name: &str, engine: &str, postgres: Option<&str>) {
        std::fs::create_dir_all(self.queries().join("d")).unwrap();
        std::fs::write(self.queries().join(format!("d/{name}.sql")), engine).unwrap();
        if let Some(postgres) = postgres {
            std::fs::write(self.queries().join(format!("d/{name}.postgres.sql")), postgres).unwrap();
        }
    }

    /// Takes a snapshot with its certificate, which is returned with what was printed.
    fn certify(&self, settings: &[(&str, &str)]) -> (bool, String) {
        certify(&self.url, &self.store(), &self.queries(), None, settings)
    }

    fn server(&self) -> Settings {
        Settings::replica(&self.store())
            .queries(&self.queries())
            .config("[rollout]\nenabled = true\ndefault = \"engine\"\n")
            .env("PILASTER__POSTGRES__URL", &self.url)
    }
}

fn certify(
    url: &str,
    store: &Path,
    queries: &Path,
    config: Option<&Path>,
    settings: &[(&str, &str)],
) -> (bool, String) {
    let mut command = pilaster(&["certify", "--postgres", url, "--store"]);
    command.arg(store).arg("--queries").arg(queries);
    command.env("PILASTER__ROLLOUT__ENABLED", "true").env("PILASTER__ROLLOUT__DEFAULT", "engine");
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    for (name, value) in settings {
        command.env(name, value);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_certified() {
    for locale in [Locale::C, Locale::Icu] {
        let demo = Demo::in_locale(locale);
        let store = tempfile::tempdir().unwrap();
        let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo/tables.toml");
        let (is_equal, shown) = certify(demo.source(), store.path(), &named_queries(), Some(&tables), &[]);
        assert!(is_equal && shown.contains("18 of 18 queries equal"), "{shown}");

        let server = Settings::replica(store.path())
            .queries(&named_queries())
            .config(include_str!("../../data/demo/tables.toml"))
            .config("[rollout]\nenabled = true\ndefault = \"engine\"\n")
            .env("PILASTER__POSTGRES__URL", demo.source())
            .start();
        let certificate = Reply::of(server.get("/v1/snapshots/1/certificate")).await.ok().json();
        let cases = certificate["queries"][0]["cases"].as_array().unwrap().clone();
        let tenants: Vec<&Value> = cases.iter().map(|case| &case["tenant"]).collect();
        assert!(tenants.contains(&&Value::Null) && tenants.contains(&&json!("1")), "all, and some: {tenants:?}");
        assert!(
            cases.iter().all(|case| case["outcome"] == "equal" && case["postgres_ms"].as_f64() > Some(0.0)),
            "{cases:?}"
        );
        // The engine answers what is certified.
        let reply = Reply::of(server.get("/v1/queries/revenue/mrr_by_plan")).await.ok();
        assert_eq!(reply.header("pilaster-route"), "engine");
        let view = Reply::of(server.get("/v1/rollout/revenue/mrr_by_plan")).await.ok().json();
        assert_eq!(view["certified_by"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_found_and_held() {
    let sides = Sides::new(
        "certify_wrong",
        "CREATE TABLE sales (id int4 PRIMARY KEY, shop text NOT NULL, amount numeric(12,2) NOT NULL, weight float8 NOT NULL);
         INSERT INTO sales SELECT n, 'shop ' || n % 7, n * 1.01, sqrt(n) FROM generate_series(1, 5000) AS n;",
    );
    let total = "SELECT shop, sum(amount) AS total FROM sales GROUP BY shop ORDER BY shop";
    let with = |change: &str| format!("SELECT shop, {change} AS total FROM sales GROUP BY shop ORDER BY shop");
    let wrong: Vec<(&str, String, &str)> = vec![
        ("group", with("sum(amount) + CASE WHEN shop = 'shop 3' THEN 100 ELSE 0 END"), "row 4 (shop = shop 3), total"),
        ("cent", with("sum(amount) + CASE WHEN shop = 'shop 6' THEN 0.01 ELSE 0 END"), "row 7 (shop = shop 6), total"),
        (
            "missing",
            "SELECT shop, sum(amount) AS total FROM sales WHERE shop <> 'shop 2' GROUP BY shop ORDER BY shop".into(),
            "6 rows",
        ),
        ("kind", with("sum(amount)::float8"), "total float8"),
        ("name", "SELECT shop, sum(amount) AS sum FROM sales GROUP BY shop ORDER BY shop".into(), "sum numeric"),
        (
            "order",
            "SELECT shop, sum(amount) AS total FROM sales GROUP BY shop ORDER BY shop DESC".into(),
            "in another order",
        ),
        ("null", with("nullif(sum(amount), 1804652.85)"), ""),
    ];
    for (name, postgres, _) in &wrong {
        sides.query(name, total, Some(postgres));
    }
    let right: Vec<(&str, &str, &str)> = vec![
        ("same", total, total),
        (
            "ties",
            "SELECT id % 2 AS odd, id FROM sales ORDER BY odd",
            "SELECT id % 2 AS odd, id FROM sales ORDER BY odd, id DESC",
        ),
        (
            "bag",
            "SELECT shop, count(*) AS n FROM sales GROUP BY shop",
            "SELECT shop, count(*) AS n FROM sales GROUP BY shop ORDER BY 2, 1 DESC",
        ),
        (
            "noise",
            "SELECT shop, sum(weight) AS w FROM sales GROUP BY shop",
            "SELECT shop, sum(weight ORDER BY id DESC) AS w FROM sales GROUP BY shop",
        ),
        (
            "quotient",
            "SELECT shop, avg(amount) / 3 AS a FROM sales GROUP BY shop ORDER BY shop",
            "SELECT shop, avg(amount) / 3 AS a FROM sales GROUP BY shop ORDER BY shop",
        ),
    ];
    for (name, engine, postgres) in &right {
        sides.query(name, engine, Some(postgres));
    }
    let unknown: Vec<(&str, &str, Option<&str>, &str)> = vec![
        ("clock", "SELECT count(*) AS n FROM sales WHERE now() > '2020-01-01'", None, "asks the clock"),
        (
            "any",
            "SELECT id FROM sales LIMIT 3",
            Some("SELECT id FROM sales ORDER BY id DESC LIMIT 3"),
            "LIMIT without ORDER BY",
        ),
        ("ask", "-- @param x int4\nSELECT $x AS x", None, "add -- @sample"),
        ("beyond", "SELECT count(*) AS n FROM pg_class", None, "the engine"),
    ];
    for (name, engine, postgres, _) in &unknown {
        sides.query(name, engine, *postgres);
    }
    sides.query("now", "SELECT count(*) AS n FROM sales WHERE $now > '2020-01-01'", None);

    let (is_equal, shown) = sides.certify(&[]);
    assert!(!is_equal, "{shown}");
    let of = |name: &str| {
        let start = shown.find(&format!("d/{name} ")).unwrap_or_else(|| panic!("{name}: {shown}"));
        let rest = &shown[start..];
        rest[..rest[1..].find("\nd/").map_or(rest.len(), |end| end + 1)].to_owned()
    };
    for (name, _, part) in &wrong {
        assert!(of(name).contains("different") && of(name).contains(part), "{name}: {}", of(name));
    }
    for (name, ..) in &right {
        assert!(of(name).contains("equal"), "{name}: {}", of(name));
    }
    assert!(of("now").contains("equal"), "{}", of("now"));
    for (name, _, _, part) in &unknown {
        assert!(!of(name).contains("equal,") && of(name).contains(part), "{name}: {}", of(name));
    }

    let server = sides.server().start();
    let route = async |name: &str| {
        let reply = Reply::of(server.get(&format!("/v1/queries/d/{name}"))).await;
        reply.header("pilaster-route").to_owned()
    };
    for (name, ..) in &wrong {
        assert_eq!(route(name).await, "postgres", "{name}");
        let view = Reply::of(server.get(&format!("/v1/rollout/d/{name}"))).await.ok().json();
        assert_eq!(view["hold"]["reason"], "different", "{view}");
    }
    for (name, ..) in &right {
        assert_eq!(route(name).await, "engine", "{name}");
    }
    assert_eq!((route("clock").await, route("any").await), ("postgres".to_owned(), "postgres".to_owned()));
    // Where a person says so, the engine answers what nobody can compare.
    let waive = json!({ "route": "engine", "without_certificate": true, "why": "any three will do" });
    Reply::of(server.request("PUT", "/v1/rollout/d/any").json(&waive)).await.ok();
    assert_eq!(route("any").await, "engine");
    // A changed text is another query.
    sides.query("same", "SELECT shop, sum(amount) + 0 AS total FROM sales GROUP BY shop ORDER BY shop", Some(total));
    crate::support_server::eventually("the text is read", std::time::Duration::from_secs(10), || async {
        route("same").await == "postgres"
    })
    .await;

    // Mended, certified, and released by a person, or by the certificate where that is wanted.
    for (name, ..) in &wrong {
        sides.query(name, total, Some(total));
    }
    let (_, shown) = sides.certify(&[]);
    assert!(shown.contains("0 different"), "{shown}");
    crate::support_server::eventually(
        "the second snapshot is certified",
        std::time::Duration::from_secs(10),
        || async { Reply::of(server.get("/v1/rollout/d/cent")).await.json()["certified_by"] == 2 },
    )
    .await;
    assert_eq!(route("cent").await, "postgres", "it is held until somebody says otherwise");
    let mended = json!({ "route": "engine", "why": "mended" });
    Reply::of(server.request("PUT", "/v1/rollout/d/cent").json(&mended)).await.ok();
    assert_eq!(route("cent").await, "engine");
    sides.certify(&[("PILASTER__ROLLOUT__CERTIFICATE_RELEASES", "true")]);
    crate::support_server::eventually("the certificate ends the holds", std::time::Duration::from_secs(10), || async {
        route("group").await == "engine"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_takes_no_longer_than_it_may() {
    let sides = Sides::new("certify_slow", "CREATE TABLE t (v int4); INSERT INTO t VALUES (1)");
    sides.query("slow", "SELECT v FROM t", Some("SELECT v FROM t, pg_sleep(60)"));
    sides.query("fine", "SELECT v FROM t", None);
    let started = std::time::Instant::now();
    let settings = [("PILASTER__ROLLOUT__CERTIFY_TIMEOUT", "2s"), ("PILASTER__ROLLOUT__CERTIFY_TENANTS", "0")];
    let (_, shown) = sides.certify(&settings);
    assert!(shown.contains("1 too slow on Postgres"), "{shown}");
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    let server = sides.server().start();
    let reply = Reply::of(server.get("/v1/queries/d/fine")).await.ok();
    assert_eq!(
        (reply.header("pilaster-route"), reply.header("pilaster-snapshot")),
        ("engine", "1"),
        "published all the same"
    );
    let open = Postgres::start().psql(
        &sides.database,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'",
    );
    assert_eq!(open, "0", "nothing is left running");
}

/// A small generator of numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below.max(1)
    }
}

/// One wrong answer of the demo's, of each kind; none where the answer has nothing of the kind.
fn wrong(answer: &Answer, kind: &str, is_ordered: bool, dice: &mut Dice) -> Option<Answer> {
    let mut answer = answer.clone();
    let count = answer.rows.len();
    let row = dice.roll(count);
    let of = |types: &[&str]| {
        let places = answer.columns.iter().enumerate().filter(|(_, (_, kind))| types.contains(&kind.as_str()));
        places.map(|(place, _)| place).collect::<Vec<_>>()
    };
    match kind {
        "sum" | "cent" => {
            let numerics = of(&["numeric", "int8", "int4"]);
            let column = *numerics.get(dice.roll(numerics.len()))?;
            let value = answer.rows.get(row)?[column].clone()?;
            let scale = value.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            let unscaled: i128 = value.replace('.', "").parse().ok()?;
            let changed = unscaled + if kind == "cent" { 1 } else { 1 + unscaled.abs() / 10 };
            let sign = if changed < 0 { "-" } else { "" };
            let digits = format!("{:0>width$}", changed.unsigned_abs(), width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            let point = if scale == 0 { "" } else { "." };
            answer.rows[row][column] = Some(format!("{sign}{whole}{point}{fraction}"));
        }
        "missing" => drop((count > 0).then(|| answer.rows.remove(row))?),
        "twice" => {
            let again = answer.rows.get(row)?.clone();
            answer.rows[(row + 1) % count].clone_from(&again);
            (count > 1 && answer.rows[row] != answer.rows[(row + 2) % count]).then_some(())?;
        }
        "null" => {
            let column = dice.roll(answer.columns.len());
            answer.rows.get(row)?[column].as_ref()?;
            answer.rows[row][column] = None;
        }
        "type" => {
            let column = dice.roll(answer.columns.len());
            let other = if answer.columns[column].1 == "float8" { "numeric" } else { "float8" };
            answer.columns[column].1 = other.into();
        }
        "text" => {
            let texts = of(&["text", "varchar", "date"]);
            let column = *texts.get(dice.roll(texts.len()))?;
            let value = answer.rows.get(row)?[column].clone()?;
            answer.rows[row][column] = Some(format!("{value}x"));
        }
        "order" => {
            let other = dice.roll(count);
            (is_ordered && count > 1 && answer.rows[row][0] != answer.rows[other][0]).then_some(())?;
            answer.rows.swap(row, other);
        }
        _ => unreachable!("no such kind"),
    }
    Some(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn injected_wrong_answers_are_found_and_noise_is_not() {
    let demo = Demo::shared();
    let server = demo.server().start();
    let mut dice = Dice(7);
    let (mut injected, mut found, mut harmless, mut alarms) = (0, 0, 0, 0);
    let mut missed = Vec::new();
    for folder in std::fs::read_dir(named_queries()).unwrap() {
        let folder = folder.unwrap().path();
        for file in std::fs::read_dir(&folder).unwrap() {
            let file = file.unwrap().path();
            let text = std::fs::read_to_string(&file).unwrap();
            let sql = ReadOnlySql::parse(&text, LIMITS).unwrap();
            let promise = Promise::from(&sql);
            let path = format!(
                "/v1/queries/{}/{}",
                folder.file_name().unwrap().to_str().unwrap(),
                file.file_stem().unwrap().to_str().unwrap()
            );
            let Rows { columns, rows } = Rows::from_json(&Reply::of(server.get(&path)).await.ok().json());
            let answer = Answer { columns, rows };
            for kind in ["sum", "cent", "missing", "twice", "null", "type", "text", "order"] {
                for _ in 0..12 {
                    let Some(changed) = wrong(&answer, kind, promise.order.is_ordered, &mut dice) else { continue };
                    if changed.rows == answer.rows && changed.columns == answer.columns {
                        continue;
                    }
                    injected += 1;
                    match compare(&answer, &changed, &promise) {
                        Verdict::Equal => missed.push(format!("{kind} in {path}")),
                        Verdict::Different { .. } | Verdict::NotComparable { .. } => found += 1,
                    }
                }
            }
            // What must not be called different: the same, ties in another order, noise of floats, digits of quotients.
            for round in 0..12 {
                let mut same = answer.clone();
                for row in &mut same.rows {
                    for (value, (_, kind)) in row.iter_mut().zip(&answer.columns) {
                        let Some(text) = value else { continue };
                        match kind.as_str() {
                            "float8" => {
                                let number: f64 = text.parse().unwrap();
                                *text = (number * (1.0 + 1e-13 * f64::from(round))).to_string();
                            }
                            "numeric" if text.contains('.') => text.push_str(&"0".repeat(round as usize)),
                            _ => {}
                        }
                    }
                }
                if !promise.order.is_ordered {
                    let turn = dice.roll(same.rows.len());
                    same.rows.rotate_left(turn);
                }
                harmless += 1;
                if !matches!(compare(&answer, &same, &promise), Verdict::Equal) {
                    alarms += 1;
                }
            }
        }
    }
    println!("{injected} wrong answers injected, {found} found; {harmless} harmless changes, {alarms} false alarms");
    assert!(injected >= 1_000, "{injected}");
    assert!(missed.is_empty() && alarms == 0, "{alarms} false alarms, missed: {missed:#?}");
}
