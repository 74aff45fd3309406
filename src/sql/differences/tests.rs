use super::*;

#[test]
fn keys_are_unique_and_texts_are_whole() {
    for (index, difference) in DIFFERENCES.iter().enumerate() {
        let Difference { key, construct, postgres, engine, mend, .. } = difference;
        assert!(key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-'), "{key}");
        assert!(DIFFERENCES[..index].iter().all(|before| before.key != *key), "{key} is there twice");
        for text in [construct, postgres, engine, mend] {
            assert!(!text.is_empty() && text.matches('`').count() % 2 == 0 && !text.ends_with('.'), "{key}: {text}");
        }
    }
}

#[test]
fn constructs_are_found_in_place() {
    let check = |text: &str, expect: &[(&str, usize)]| {
        let found = find_in(text);
        let found: Vec<_> = found.iter().map(|found| (found.difference.key, found.position)).collect();
        assert_eq!(found, expect, "{text}");
    };
    check("SELECT 1", &[]);
    // Comments, lines and letters of more than one byte.
    check("-- é\nSELECT 'ü',\n  to_ascii(x)", &[("text-functions", 20)]);
    check("SELECT to_ascii(to_ascii(x))", &[("text-functions", 8), ("text-functions", 17)]);
    check("SELECT pg_catalog.to_ascii(x), other.to_ascii(x)", &[("text-functions", 19)]);
    // What only has the name of a function.
    check("WITH to_ascii (x) AS (SELECT 1), parse_ident (y) AS (SELECT 2) SELECT x AS to_ascii FROM to_ascii", &[]);
    check("SELECT 'to_ascii(x)' FROM t to_ascii (a)", &[]);
    // Types, in each way to name them.
    check(
        "SELECT x::timetz, CAST(x AS time(3) WITH TIME ZONE), timetz '10:00'",
        &[("timetz", 11), ("timetz", 29), ("timetz", 54)],
    );
    check("SELECT x AS money, count(*) AS timetz FROM t", &[]);
    check("SELECT x IS NULL AS isnull, t.localtime FROM t", &[]);
    // A statement that the parser does not take.
    check("SELECT sum(x) OVER (ORDER BY y ROWS 1 PRECEDING EXCLUDE TIES) FROM t", &[("frame-exclusion", 49)]);
    check("SELECT 'open", &[]);
}

#[test]
fn what_only_looks_alike_is_not_found() {
    let check = |text: &str, expect: &[&str]| {
        let mut keys: Vec<_> = find_in(text).iter().map(|found| found.difference.key).collect();
        keys.dedup();
        assert_eq!(keys, expect, "{text}");
    };
    let frame = |bounds: &str, is_odd: bool| {
        let expect: &[&str] = if is_odd { &["frame-offsets"] } else { &[] };
        check(&format!("SELECT count(*) AS rows, sum(x) OVER (ORDER BY y {bounds}) FROM t"), expect);
    };
    for bounds in [
        "ROWS 1 PRECEDING",
        "GROUPS BETWEEN 3 PRECEDING AND 2 PRECEDING",
        "ROWS BETWEEN 2 FOLLOWING AND 3 FOLLOWING",
        "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
        "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        "RANGE BETWEEN INTERVAL '10 days' PRECEDING AND '1 day' FOLLOWING",
        "RANGE 2.5 PRECEDING",
    ] {
        frame(bounds, false);
    }
    for bounds in [
        "ROWS $n PRECEDING",
        "ROWS (1) PRECEDING",
        "RANGE INTERVAL '1 day' * 2 PRECEDING",
        "ROWS BETWEEN 1 PRECEDING AND 2 PRECEDING",
        "ROWS BETWEEN CURRENT ROW AND 1 PRECEDING",
        "GROUPS BETWEEN 1 FOLLOWING AND (SELECT 2) FOLLOWING",
    ] {
        frame(bounds, true);
    }
    check("SELECT lag(x, 1, 0) OVER w, lead(y, $n, '2000-01-01'::date) OVER w, lag(x, 1, NULL) OVER w FROM t", &[]);
    check("SELECT lag(x, 1, t.y) OVER w FROM t", &["offsets-by-row"]);

    check("SELECT ARRAY[[1, 2], [3, 4]] AS m, x['a'] FROM (VALUES (ARRAY[[5]])) v (y)", &[]);
    check("SELECT x['a'][0] FROM t", &[]);
    check("SELECT (m)[1][2], cardinality(ARRAY[[1]]) FROM t", &["array-dimensions"]);
    check("SELECT replace(x, '{{name}}', y) FROM t", &[]);

    check("SELECT to_json(t), t::date FROM times", &[]);
    check("SELECT to_json(t), t.id FROM times t", &["rows-as-json"]);
    check("SELECT t::text, t.id::text FROM times t", &["rows-as-values"]);

    check("SELECT 1e280::float8, 1e3::float8, 1.25e1, 1e-3, x::numeric(4, 4), x::numeric(76) FROM t", &[]);
    check(
        "SELECT 1e-300, x::numeric(77), x::numeric(2, 4), 1.5e3 FROM t",
        &["numeric-range", "numeric-precisions", "numbers-by-exponent"],
    );

    check("SELECT f(a, b) <= ALL (SELECT 1), (a, b) IN (SELECT 1, 2), (a, b) < (1, 2) FROM t", &[]);
    check("SELECT 1 FROM t WHERE (a, b) <> ALL (SELECT 1, 2)", &["rows-against-subqueries"]);
    check("SELECT 1 FROM t LEFT JOIN unnest(t.x) AS u (y) ON true LEFT JOIN unnest(ARRAY[1]) AS v ON v > 1", &[]);
    check("SELECT 1 FROM t LEFT JOIN unnest(t.x) WITH ORDINALITY AS u (y, n) ON y > 1", &[]);
    check("SELECT 1 FROM (WITH a AS (SELECT 1) SELECT * FROM a) x, (WITH a AS (SELECT 2) SELECT * FROM a) y", &[]);
    check("WITH a AS (SELECT 1) SELECT (WITH a AS (SELECT 2) SELECT * FROM a)", &["names-of-with-again"]);
    check("WITH RECURSIVE a AS (SELECT 1 AS n UNION SELECT n FROM a), b AS (SELECT * FROM a) SELECT * FROM b", &[]);
    check("WITH RECURSIVE a AS (SELECT * FROM b), b (n) AS (SELECT 1) SELECT * FROM a", &["forward-references"]);

    check("SELECT true AS x, EXISTS (SELECT true), NOT true", &[]);
    check("SELECT 1 FROM t WHERE NOT 'a' = x AND x BETWEEN 'a' AND 'b' AND NOT 'b' IN (x)", &[]);
    check("SELECT trim(x, 'ab'), trim(both 'ab' from x), substring(x from 'a#\"b#\"' for '#') FROM t", &[]);
    check("SELECT f8 < 'Infinity', 'infinity' FROM numbers UNION SELECT true, 'Infinity'", &[]);
}

#[test]
fn what_is_missing_has_a_hint() {
    let known = ["date_trunc", "lower", "lpad", "length", "string_agg", "pi"];
    let check = |function: &str, expect: Option<&str>| {
        let hint = hint_for_missing(function, known.into_iter());
        assert_eq!(hint.as_deref(), expect, "{function}");
    };
    check("lowr", Some("perhaps lower is meant"));
    check("LENGHT", Some("perhaps length is meant"));
    check("date_truncate", Some("perhaps date_trunc is meant"));
    check("string", Some("perhaps string_agg is meant"));
    check("pow", None);
    check("frobnicate", None);
    let rewritten = hint_for_missing("row_to_json", known.into_iter()).unwrap_or_default();
    assert!(rewritten.contains("json_build_object") && !rewritten.contains('`'), "{rewritten}");
}

#[test]
fn what_fails_has_a_hint() {
    let check = |text: &str, position: Option<usize>, expect: &str| {
        let hint = hint_for_statement(text, position).unwrap_or_default();
        assert!(if expect.is_empty() { hint.is_empty() } else { hint.contains(expect) }, "{text}: {hint}");
    };
    let text = "SELECT x::inet, sum(x) OVER (ORDER BY y EXCLUDE TIES) FROM t";
    check(text, Some(41), "OVER w - x");
    check(text, Some(10), "");
    check(text, None, "compare their text");
    check("SELECT 1", None, "");
}

#[test]
fn functions_have_names() {
    let names: Vec<_> = function_names().collect();
    for name in ["lpad", "count", "row_number", "array_agg"] {
        assert!(names.contains(&name), "{name}");
    }
    assert!(names.iter().all(|name| !name.contains(['(', ':', ' ']) && !name.starts_with("pilaster_")), "{names:?}");
}
