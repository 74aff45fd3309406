use super::*;
use crate::sql::StatementLimits;

const LIMITS: StatementLimits = StatementLimits { bytes_max: 10_000, tokens_max: 1_000 };

fn answer(columns: &str, rows: &[&str]) -> Answer {
    let columns = columns.split_whitespace().map(|column| {
        let (name, kind) = column.split_once(':').unwrap();
        (name.to_owned(), kind.to_owned())
    });
    let value = |text: &str| (text != "∅").then(|| text.to_owned());
    let rows = rows.iter().map(|row| row.split_whitespace().map(value).collect()).collect();
    Answer { columns: columns.collect(), rows }
}

fn check(sql: &str, columns: &str, postgres: &[&str], engine: &[&str], expect: &str) {
    let promise = Promise::from(&ReadOnlySql::parse(sql, LIMITS).unwrap());
    let verdict = compare(&answer(columns, postgres), &answer(columns, engine), &promise);
    let shown = match &verdict {
        Verdict::Equal => "equal".to_owned(),
        Verdict::NotComparable { why } => format!("not comparable: {why}"),
        Verdict::Different { why, cells } => {
            let cells = cells.iter().map(|cell| {
                let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "∅".to_owned());
                let key: Vec<String> =
                    cell.key.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
                format!(
                    " [{} {} {}: {} {}]",
                    cell.row,
                    key.join(" "),
                    cell.column,
                    shown(&cell.postgres),
                    shown(&cell.engine)
                )
            });
            format!("different: {why}{}", cells.collect::<String>())
        }
    };
    assert!(shown.starts_with(expect), "{sql} {postgres:?} {engine:?}: {shown}");
}

const GROUPED: &str = "SELECT k, sum(v) AS v FROM t GROUP BY k";
const ORDERED: &str = "SELECT k, sum(v) AS v FROM t GROUP BY k ORDER BY k";
const BY_VALUE: &str = "SELECT k, sum(v) AS v FROM t GROUP BY k ORDER BY v DESC";
const HIDDEN: &str = "SELECT k, sum(v) AS v FROM t GROUP BY k ORDER BY length(k)";
const TOP: &str = "SELECT k, sum(v) AS v FROM t GROUP BY k ORDER BY v DESC LIMIT 3";
const KV: &str = "k:text v:int8";

#[test]
fn rows_are_a_bag_without_an_order() {
    check(GROUPED, KV, &["a 1", "b 2"], &["b 2", "a 1"], "equal");
    check(
        GROUPED,
        KV,
        &["a 1", "a 1", "b 2"],
        &["a 1", "b 2", "b 2"],
        "different: row 2 of Postgres's answer is not in the engine's",
    );
    check(
        GROUPED,
        KV,
        &["a 1", "b 2"],
        &["a 1", "b 3"],
        "different: row 2 of Postgres's answer is not in the engine's [2  v: 2 3]",
    );
    check(
        GROUPED,
        KV,
        &["a 1", "b ∅"],
        &["a 1", "b 0"],
        "different: row 2 of Postgres's answer is not in the engine's [2  v: ∅ 0]",
    );
    check(GROUPED, KV, &["a 1"], &["a 1", "b 2"], "different: Postgres has 1 rows, the engine 2");
    check(GROUPED, "k:text v:float8", &["a 0.1", "b 0.2"], &["b 0.2", "a 0.10000000000000002"], "equal");
}

#[test]
fn an_order_is_kept_and_its_ties_are_free() {
    check(ORDERED, KV, &["a 1", "b 2"], &["a 1", "b 2"], "equal");
    check(
        ORDERED,
        KV,
        &["a 1", "b 2"],
        &["b 2", "a 1"],
        "different: the rows are the same, and from row 1 on in another order",
    );
    check(
        ORDERED,
        KV,
        &["a 1", "b 2"],
        &["a 1", "b 3"],
        "different: row 2 of Postgres's answer is not in the engine's [2 k=b v: 2 3]",
    );
    check(BY_VALUE, KV, &["a 2", "b 2", "c 1"], &["b 2", "a 2", "c 1"], "equal");
    check(
        BY_VALUE,
        KV,
        &["a 2", "b 1", "c 1"],
        &["b 1", "a 2", "c 1"],
        "different: the rows are the same, and from row 1 on",
    );
    check(BY_VALUE, "k:text v:float8", &["a 0.2", "b 0.2"], &["b 0.2", "a 0.20000000000000001"], "equal");
    check(
        BY_VALUE,
        KV,
        &["a 2", "b 2"],
        &["a 2", "c 2"],
        "different: row 2 of Postgres's answer is not in the engine's [2 v=2 k: b c]",
    );
}

#[test]
fn what_cannot_be_told_is_not_equal() {
    check(HIDDEN, KV, &["a 1", "b 2"], &["a 1", "b 2"], "equal");
    check(HIDDEN, KV, &["a 1", "b 2"], &["b 2", "a 1"], "not comparable: rows 1 to 2 are the same in another order");
    check(HIDDEN, KV, &["a 1", "b 2"], &["a 1", "b 3"], "different");
    check(TOP, KV, &["a 3", "b 2", "c 2"], &["a 3", "c 2", "b 2"], "equal");
    check(
        TOP,
        KV,
        &["a 3", "b 2", "c 2"],
        &["a 3", "b 2", "d 2"],
        "not comparable: rows at the LIMIT are equal by the order",
    );
    check(TOP, KV, &["a 3", "b 2", "c 1"], &["a 3", "x 2", "c 1"], "different");
    check("SELECT k, v FROM t LIMIT 2", KV, &["a 1", "b 2"], &["b 2", "a 1"], "equal");
    check("SELECT k, v FROM t LIMIT 2", KV, &["a 1", "b 2"], &["a 1", "c 3"], "not comparable: LIMIT without ORDER BY");
}

#[test]
fn columns_have_names_and_types() {
    let promise = Promise::from(&ReadOnlySql::parse(GROUPED, LIMITS).unwrap());
    let (postgres, engine) = (answer(KV, &["a 1"]), answer("k:text v:numeric", &["a 1"]));
    let Verdict::Different { why, .. } = compare(&postgres, &engine, &promise) else { panic!("equal") };
    assert_eq!(why, "column 2 is v int8 on Postgres and v numeric on the engine");
}
