//! JSON and arrays.

use super::{
    Difference, Effect, NOTHING, Theme,
    sign::{Sign, Tokens},
};

pub(super) const DIFFERENCES: &[Difference] = &[
    unsupported(
        "rows-as-json",
        "`row_to_json(t)`, and `to_json(t)` or `json_agg(t)` of a whole row",
        "makes an object of a row",
        "there are no rows as values",
        "`json_build_object('id', t.id, 'name', t.name)`",
        &[Sign::Call(&["row_to_json"])],
    ),
    unsupported(
        "json-as-rows",
        "`json_to_record`, `json_populate_record`, their forms for sets and for `jsonb`",
        "makes columns of an object's fields",
        "do not exist",
        "`(x ->> 'a')::int4`, and `json_array_elements` for a set",
        &[Sign::Call(&[
            "json_populate_record",
            "json_populate_recordset",
            "json_to_record",
            "json_to_recordset",
            "jsonb_populate_record",
            "jsonb_populate_recordset",
            "jsonb_to_record",
            "jsonb_to_recordset",
        ])],
    ),
    unsupported(
        "jsonpath-datetime",
        "`.datetime()` in a path, and the functions of paths that end in `_tz`",
        "compares dates and times",
        "refuses them",
        "take the text out by `->>` and cast it",
        &[
            Sign::At(|tokens, index| tokens.literal(index).is_some_and(|text| text.contains(".datetime("))),
            Sign::Call(&[
                "jsonb_path_exists_tz",
                "jsonb_path_match_tz",
                "jsonb_path_query_array_tz",
                "jsonb_path_query_first_tz",
                "jsonb_path_query_tz",
            ]),
        ],
    ),
    unsupported(
        "json-subscripts",
        "subscripts of `jsonb`: `x['a']`",
        "is `x -> 'a'`",
        "does not know them",
        "`x -> 'a'`",
        &[Sign::At(is_json_subscript)],
    ),
    different(
        "jsonpath-text",
        "a `jsonpath` that is shown: `'$.a'::jsonpath`",
        "is written in full: `$.\"a\"`",
        "is the text as it was given",
        "nothing is to be done where it is used",
    ),
    unsupported(
        "json-nesting",
        "JSON that nests more than 500 levels deep",
        "reads as deep as its stack allows, some thousands",
        "is the error 54001",
        "take the inner part out in the source",
        NOTHING,
    ),
    different(
        "jsonb-order",
        "the order of texts in `jsonb`: `ORDER BY`, `<`, `min` and `max` of it",
        "is the database's collation",
        "is that of their bytes",
        "order by `x ->> 'name'`",
    ),
    different(
        "jsonb-groups",
        "`GROUP BY`, `DISTINCT`, `UNION` and joins of `jsonb` with numbers that are equal and written otherwise",
        "`1.0` and `1` are one",
        "they are two",
        "group by `(x -> 'a')::numeric`",
    ),
    unsupported(
        "array-dimensions",
        "arrays of more than one dimension",
        "has up to six",
        "has one: `ARRAY[[1], [2]]` can be shown and nothing else",
        "JSON, or one array for each dimension",
        &[Sign::At(is_array_of_arrays)],
    ),
    unsupported(
        "array-bounds",
        "arrays whose first element is not the number 1",
        "keeps the bounds",
        "has none",
        "leave the bounds away: `'{1,2}'` for `'[0:1]={1,2}'`",
        &[Sign::At(has_bounds)],
    ),
];

const fn unsupported(
    key: &'static str,
    construct: &'static str,
    postgres: &'static str,
    engine: &'static str,
    mend: &'static str,
    seen_by: &'static [Sign],
) -> Difference {
    Difference { key, theme: Theme::Json, construct, postgres, engine, mend, effect: Effect::Unsupported, seen_by }
}

const fn different(
    key: &'static str,
    construct: &'static str,
    postgres: &'static str,
    engine: &'static str,
    mend: &'static str,
) -> Difference {
    Difference { effect: Effect::Different, ..unsupported(key, construct, postgres, engine, mend, NOTHING) }
}

/// `x['a']`
fn is_json_subscript(tokens: &Tokens, index: usize) -> bool {
    let is_value = index > 0
        && (tokens.name(index - 1).is_some_and(|name| name != "array")
            || matches!(tokens.symbol(index - 1), Some("]" | ")")));
    is_value && tokens.symbol(index) == Some("[") && tokens.literal(index + 1).is_some()
}

/// `'{{…'` that is cast to an array. `ARRAY[[…]]` can be shown, if no more.
fn is_array_of_arrays(tokens: &Tokens, index: usize) -> bool {
    let is_nested =
        |text: &str| text.trim_start().strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with('{'));
    is_array_literal(tokens, index) && tokens.literal(index).is_some_and(is_nested)
}

/// `'[0:1]={…}'` that is cast to an array, or an array that is filled from another bound.
fn has_bounds(tokens: &Tokens, index: usize) -> bool {
    let is_filled = tokens.name(index) == Some("array_fill")
        && tokens.call(index).is_some_and(|open| tokens.arguments(open).len() > 2);
    is_filled
        || is_array_literal(tokens, index)
            && tokens.literal(index).is_some_and(|text| text.trim_start().starts_with('['))
}

/// `'…'::type[]`
fn is_array_literal(tokens: &Tokens, index: usize) -> bool {
    let end = tokens.end_of_name(index + 2);
    tokens.literal(index).is_some() && tokens.symbol(index + 1) == Some("::") && tokens.symbol(end) == Some("[")
}
