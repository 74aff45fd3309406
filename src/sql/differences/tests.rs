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
