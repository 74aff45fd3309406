//! What the columns of a result are called, and their types.

use super::{
    Difference, Effect, NOTHING, Theme,
    sign::{Sign, Tokens},
};

/// Postgres cuts a name that is longer, in bytes.
const NAME_BYTES_MAX: usize = 63;

pub(super) const DIFFERENCES: &[Difference] = &[
    different(
        "names-twice",
        "two columns of a result that have one name",
        "calls both by it",
        "calls them `id` and `id_2` in JSON, NDJSON and Parquet, where each name is there once, and both `id` elsewhere",
        "give each a name by `AS`",
        NOTHING,
    ),
    different(
        "long-names",
        "names of more than 63 bytes",
        "cuts them",
        "leaves them whole",
        "shorter names",
        &[Sign::At(|tokens, index| tokens.name(index).is_some_and(|name| name.len() > NAME_BYTES_MAX))],
    ),
    Difference {
        theme: Theme::Types,
        ..different(
            "names-of-types",
            "`pg_typeof` of enums, and of literals without a type and what is made of them",
            "is the type that the value has: `mood`",
            "is `enum`, and `unknown` for what becomes `text`",
            "nothing is to be done where no name of a type is shown",
            &[Sign::At(is_type_of_unknown)],
        )
    },
];

const fn different(
    key: &'static str,
    construct: &'static str,
    postgres: &'static str,
    engine: &'static str,
    mend: &'static str,
    seen_by: &'static [Sign],
) -> Difference {
    let (theme, effect) = (Theme::Statements, Effect::Different);
    Difference { key, theme, construct, postgres, engine, mend, effect, seen_by }
}

/// `pg_typeof` of a column, and of `coalesce` of literals.
fn is_type_of_unknown(tokens: &Tokens, index: usize) -> bool {
    if tokens.name(index) != Some("pg_typeof") {
        return false;
    }
    let arguments = tokens.call(index).map(|open| tokens.arguments(open)).unwrap_or_default();
    let [value] = arguments.as_slice() else { return false };
    let first = value.start;
    let is_column = tokens.name(first).is_some() && tokens.end_of_name(first) == value.end;
    match tokens.word(first) {
        Some("null") => false,
        Some("coalesce") => tokens.literal(first + 2).is_some(),
        _ => is_column,
    }
}
