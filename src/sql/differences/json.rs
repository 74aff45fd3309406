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
        "has one",
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

/// `ARRAY[[…`, or `'{{…'` that is cast to an array.
fn is_array_of_arrays(tokens: &Tokens, index: usize) -> bool {
    if ["array [ [", "array [ array ["].iter().any(|phrase| tokens.reads(index, phrase)) {
        return true;
    }
    let is_nested =
        |text: &str| text.trim_start().strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with('{'));
    is_array_literal(tokens, index) && tokens.literal(index).is_some_and(is_nested)
}

/// `'[0:1]={…}'` that is cast to an array.
fn has_bounds(tokens: &Tokens, index: usize) -> bool {
    is_array_literal(tokens, index) && tokens.literal(index).is_some_and(|text| text.trim_start().starts_with('['))
}

/// `'…'::type[]`
fn is_array_literal(tokens: &Tokens, index: usize) -> bool {
    let end = tokens.end_of_name(index + 2);
    tokens.literal(index).is_some() && tokens.symbol(index + 1) == Some("::") && tokens.symbol(end) == Some("[")
}
