//! What to write instead of what does not exist.

use std::collections::BTreeSet;

use datafusion::common::utils::datafusion_strsim::levenshtein;

use super::{DIFFERENCES, Effect, find_in, signatures};

/// Farther than this, a name is another one and not a slip.
const SLIPS_MAX: usize = 2;
/// A beginning that two names share by chance is shorter.
const PREFIX_MIN: usize = 4;
/// How far behind a construct the parser may notice that it does not know it, in characters.
const NOTICED_WITHIN: usize = 40;

/// Functions of Postgres that the engine or a rewriting has and the library has not. By name, or with the types where only some
/// of Postgres's overloads are meant. Each is shown by the corpus.
pub const ENGINE_FUNCTIONS: &[&str] = &[
    // Aggregates.
    "array_agg(anynonarray)",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "every",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "max",
    "min",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg(text, text)",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
    // Ordered-set aggregates.
    "mode",
    "percentile_cont(float8, float8)",
    "percentile_cont(float8[], float8)",
    "percentile_disc",
    // Window functions; the hypothetical-set aggregates have the same names.
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
    // Sets of rows.
    "generate_series",
    "generate_subscripts",
    "json_array_elements",
    "json_array_elements_text",
    "json_each",
    "json_each_text",
    "json_object_keys",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_object_keys",
    "jsonb_path_query",
    "regexp_matches",
    "regexp_split_to_table",
    "string_to_table",
    "unnest",
    // Clocks and chance.
    "age(timestamp)",
    "age(timestamptz)",
    "clock_timestamp",
    "now",
    "random",
    "statement_timestamp",
    "transaction_timestamp",
];

/// The functions that a query may call, once each.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    let library = signatures().filter_map(|signature| Some(signature[..signature.find('(')?].trim()));
    let engine = ENGINE_FUNCTIONS.iter().map(|name| name.split('(').next().unwrap_or(name));
    let is_name =
        |name: &&str| name.starts_with(|letter: char| letter.is_ascii_lowercase()) && !name.starts_with("pilaster_");
    library.chain(engine).filter(is_name).collect::<BTreeSet<_>>().into_iter()
}

/// What to write instead of a function that there is not: the mend of the table, or the nearest of those that are `known`.
pub fn hint_for_missing<'a>(function: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let function = function.to_lowercase();
    let mut listed = DIFFERENCES.iter().filter(|difference| difference.effect == Effect::Unsupported);
    if let Some(difference) = listed.find(|difference| difference.functions().any(|name| name == function)) {
        return Some(plain(difference.mend));
    }
    let distance = |name: &str| {
        let distance = levenshtein(&function, name);
        let shorter = function.len().min(name.len());
        let is_beginning = shorter >= PREFIX_MIN && (function.starts_with(name) || name.starts_with(&function));
        // A name of three letters is not a slip of two in another.
        let is_slip = distance <= SLIPS_MAX && distance < shorter;
        (is_slip || is_beginning).then_some(distance)
    };
    let near = known.filter_map(|name| Some((distance(name)?, name)));
    near.min().map(|(_, name)| format!("perhaps {name} is meant"))
}

/// What to write instead of the construct that made a statement fail: the one before `position`, in characters from 1, or the first
/// where no position is known.
#[must_use]
pub fn hint_for_statement(text: &str, position: Option<usize>) -> Option<String> {
    let found = find_in(text).into_iter().filter(|found| found.difference.effect == Effect::Unsupported);
    let is_near = |place: usize| position.is_none_or(|at| place <= at && at - place <= NOTICED_WITHIN);
    let mut near = found.filter(|found| is_near(found.position));
    let nearest = if position.is_some() { near.next_back() } else { near.next() };
    nearest.map(|found| plain(found.difference.mend))
}

/// Without the marks of the documentation.
fn plain(text: &str) -> String {
    text.replace('`', "")
}
