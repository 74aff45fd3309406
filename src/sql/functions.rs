//! The functions and operators that the engine offers, by name: what is not here does not exist for a query.

use std::sync::Arc;

use datafusion::{
    common::Result,
    execution::{FunctionRegistry, SessionState},
};

use super::{
    aggregates, array_agg::array_agg, branches, collation, marks, min_max, ntile, percentile::percentile_cont, signed,
    single, spread, string_agg::string_agg, temporal,
};

/// Names that the engine's library brings and that no query may use: they tell about the process rather than the data.
const HIDDEN_SCALARS: &[&str] = &["version", "arrow_metadata"];
/// The functions that may stand in FROM. The library's others read memory or metadata of the process.
const TABLE_FUNCTIONS: &[&str] = &["generate_series", "range"];

/// The engine's own scalar functions that are Postgres's, and the names of ours; all others of Postgres's are in the library.
const SCALARS: &[&str] = &[
    "coalesce",
    "current_date",
    "current_time",
    "gen_random_uuid",
    "greatest",
    "least",
    "now",
    "pilaster_as_compared",
    "pilaster_said_json",
    "pilaster_said_jsonb",
    "pilaster_said_like",
    "pilaster_collate",
    "pilaster_mean",
    "random",
];
/// The engine's aggregates that are Postgres's, and the names of ours.
const AGGREGATES: &[&str] = &[
    "array_agg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "first_value",
    "grouping",
    "last_value",
    "max",
    "min",
    "nth_value",
    "percentile_cont",
    "pilaster_single",
    "pilaster_sum",
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
    "string_agg",
    "sum",
    "var_pop",
    "var_samp",
];
/// The engine's window functions that are Postgres's.
const WINDOWS: &[&str] = &[
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
];

/// Whether statements may call the engine's scalar function of this name.
pub(super) fn is_scalar(name: &str) -> bool {
    SCALARS.contains(&name)
}

/// Whether statements may call the engine's aggregate of this name.
#[must_use]
pub fn is_aggregate(name: &str) -> bool {
    AGGREGATES.contains(&name)
}

/// Whether statements may call the engine's window function of this name.
#[must_use]
pub fn is_window(name: &str) -> bool {
    WINDOWS.contains(&name)
}

/// Makes `state` offer Postgres's functions and operators, and nothing that reaches outside the snapshot.
pub fn install_functions(state: &mut SessionState) -> Result<()> {
    for name in HIDDEN_SCALARS {
        state.deregister_udf(name)?;
    }
    let hidden: Vec<String> =
        state.table_functions().keys().filter(|name| !TABLE_FUNCTIONS.contains(&name.as_str())).cloned().collect();
    for name in hidden {
        state.deregister_udtf(&name)?;
    }
    state.register_udaf(Arc::new(array_agg()))?;
    state.register_udaf(Arc::new(percentile_cont()))?;
    state.register_udaf(Arc::new(aggregates::sum()))?;
    state.register_udaf(Arc::new(aggregates::wide_sum()))?;
    state.register_udaf(Arc::new(single::single()))?;
    state.register_udaf(Arc::new(signed::regr_count()))?;
    state.register_udaf(Arc::new(string_agg()))?;
    for function in signed::windows().into_iter().chain([ntile::ntile()]) {
        state.register_udwf(Arc::new(function))?;
    }
    for function in spread::functions().into_iter().chain(min_max::functions()) {
        state.register_udaf(Arc::new(function))?;
    }
    state.register_udf(Arc::new(aggregates::mean()))?;
    state.register_udf(Arc::new(collation::collate()))?;
    for mark in marks::functions() {
        state.register_udf(Arc::new(mark))?;
    }
    for name in ["coalesce", "greatest", "least"] {
        let inner = state.udf(name)?;
        state.register_udf(Arc::new(branches::of_one_type(inner)))?;
    }
    state.register_udf(Arc::new(temporal::difference()))?;
    Ok(())
}
