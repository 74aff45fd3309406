//! JSON and arrays.

use super::{
    Difference, Effect, NOTHING, Theme,
    sign::{Sign, Tokens},
    statements::is_table,
};

pub(super) const DIFFERENCES: &[Difference] = &[
    unsupported(
        "rows-as-json",
        "`row_to_json(t)`, and `to_json(t)` or `json_agg(t)` of a whole row",
        "makes an object of a row",
        "there are no rows as values",
        "`json_build_object('id', t.id, 'name', t.name)`",
        &[Sign::Call(&["row_to_json"]), Sign::At(is_row_in_json)],
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
    unsupported(
        "array-dimensions",
        "arrays of more than one dimension",
        "has up to six",
        "has one: `ARRAY[[1], [2]]` can be shown and nothing else",
        "JSON, or one array for each dimension",
        &[Sign::At(is_array_of_arrays), Sign::At(uses_array_of_arrays), Sign::At(has_two_subscripts)],
    ),
    unsupported(
        "arrays-of-arrays",
        "`ARRAY[x, y]`, `ARRAY (SELECT x …)` and `array_agg(x)` where `x` is an array",
        "is an array of one dimension more",
        "can be shown and nothing else, and that of a subquery does not exist",
        "`jsonb_build_array(x, y)`, `jsonb_agg(x)`",
        NOTHING,
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

/// `json_agg(t)` where `t.id` shows that `t` is a table.
fn is_row_in_json(tokens: &Tokens, index: usize) -> bool {
    let is_made = matches!(tokens.name(index), Some("to_json" | "to_jsonb" | "json_agg" | "jsonb_agg"));
    let Some(row) = tokens.call(index).filter(|_| is_made).map(|open| open + 1) else { return false };
    let is_alone = tokens.symbol(row + 1) == Some(")") || tokens.word(row + 1) == Some("order");
    is_alone && is_table(tokens, row)
}

/// `'{{…}}'` that is cast to an array, or stands in a statement with one that is.
fn is_array_of_arrays(tokens: &Tokens, index: usize) -> bool {
    let is_nested = |text: &str| {
        let inside = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).map(str::trim);
        inside.is_some_and(|inside| inside.starts_with('{') && inside.ends_with('}'))
    };
    tokens.literal(index).is_some_and(is_nested) && (0..tokens.count()).any(|place| is_array_literal(tokens, place))
}

/// `f(ARRAY[[…]])`, `ARRAY[[…]] || x` and `array_fill(x, ARRAY[2, 3])`. What only shows `ARRAY[[…]]` does not count.
fn uses_array_of_arrays(tokens: &Tokens, index: usize) -> bool {
    if tokens.name(index) == Some("array_fill") {
        let arguments = tokens.call(index).map(|open| tokens.arguments(open)).unwrap_or_default();
        let sizes = arguments.get(1).filter(|sizes| tokens.reads(sizes.start, "array ["));
        return sizes.is_some_and(|sizes| tokens.arguments(sizes.start + 1).len() > 1);
    }
    let before = index.checked_sub(1);
    let is_joined = |place: usize| tokens.symbol(place) == Some("||");
    let is_argument = tokens.open_before(index).and_then(|open| open.checked_sub(1)).is_some_and(|function| {
        let only_shows = matches!(tokens.word(function), Some("from" | "values" | "coalesce" | "and" | "or"));
        tokens.call(function).is_some() && !only_shows
    });
    tokens.reads(index, "array [ [")
        && (is_argument
            || before.is_some_and(is_joined)
            || tokens.close_of(index + 1).is_some_and(|close| is_joined(close + 1)))
}

/// `x[1][2]`, but not `x['a'][0]`.
fn has_two_subscripts(tokens: &Tokens, index: usize) -> bool {
    let is_value = index > 0
        && (tokens.name(index - 1).is_some_and(|name| name != "array")
            || matches!(tokens.symbol(index - 1), Some("]" | ")")));
    let Some(close) = tokens.close_of(index).filter(|_| is_value && tokens.symbol(index) == Some("[")) else {
        return false;
    };
    let is_key = |open: usize| tokens.literal(open + 1).is_some();
    let is_behind_key = tokens.symbol(index - 1) == Some("]");
    tokens.symbol(close + 1) == Some("[") && !is_key(index) && !is_key(close + 1) && !is_behind_key
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
