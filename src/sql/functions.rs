//! The functions and operators that the engine offers, by name: what is not here does not exist for a query.

use std::sync::Arc;

use datafusion::{
    common::Result,
    execution::{FunctionRegistry, SessionState},
};

use super::{aggregates, percentile::percentile_cont, rounding, temporal, to_char::to_char};

/// Names that the engine's library brings and that no query may use: they tell about the process rather than the data.
const HIDDEN_SCALARS: &[&str] = &["version", "arrow_metadata"];
/// The functions that may stand in FROM. The library's others read memory or metadata of the process.
const TABLE_FUNCTIONS: &[&str] = &["generate_series", "range"];

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
    datafusion_functions_json::register_all(state)?;
    state.register_udaf(Arc::new(percentile_cont()))?;
    state.register_udaf(Arc::new(aggregates::sum()))?;
    state.register_udf(Arc::new(aggregates::mean()))?;
    state.register_udf(Arc::new(rounding::round()))?;
    state.register_udf(Arc::new(to_char()))?;
    state.register_udf(Arc::new(temporal::difference()))?;
    state.register_udf(Arc::new(temporal::timezone()))?;
    Ok(())
}
