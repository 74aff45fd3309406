//! Names in a statement: tables of the snapshot, functions of the session. Everything is in memory, so planning never waits.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::{
    catalog::{TableFunctionArgs, cte_worktable::CteWorkTable},
    common::{
        DFSchema, DataFusionError, Result, ScalarValue, TableReference, config::ConfigOptions, tree_node::Transformed,
    },
    datasource::{provider_as_source, source_as_provider},
    execution::SessionState,
    logical_expr::{
        AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableScanBuilder, TableSource, WindowUDF,
        planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner},
        simplify::SimplifyContext,
    },
    optimizer::simplify_expressions::ExprSimplifier,
    sql::{
        planner::{NullOrdering, ParserOptions, PlannerContext, SqlToRel},
        sqlparser::ast::Statement,
    },
};

use super::{Engine, Shown, Sight, derived::Derived, no_such_table, table::SnapshotTable};
use crate::sql::{Dialect, is_aggregate, is_window};

/// Makes a logical plan of a statement whose parameters are `$1`, `$2`, … with these types.
pub(super) fn plan(
    engine: &Engine,
    state: &SessionState,
    dialect: &Dialect,
    statement: Statement,
    parameters: Vec<FieldRef>,
    sight: Sight,
) -> Result<LogicalPlan> {
    let options = &state.config_options().sql_parser;
    let options = ParserOptions::new()
        .with_parse_float_as_decimal(options.parse_float_as_decimal)
        .with_enable_ident_normalization(options.enable_ident_normalization)
        .with_map_string_types_to_utf8view(options.map_string_types_to_utf8view)
        .with_collect_spans(options.collect_spans)
        .with_default_null_ordering(NullOrdering::NullsMax);
    let time_zone: Arc<str> = state.config_options().execution.time_zone.as_deref().unwrap_or("UTC").into();
    let relations: [Arc<dyn RelationPlanner>; 1] = [Arc::new(Derived::new(dialect.typing()))];
    let names = Names { engine, state, dialect, sight, time_zone, relations };
    let parameters = parameters.into_iter().map(Some).collect();
    let mut context = PlannerContext::new().with_prepare_param_data_types(parameters);
    SqlToRel::new_with_options(&names, options).sql_statement_to_plan_with_context(statement, &mut context)
}

/// The plan without what was known of rows by their tables' keys; see [`SnapshotTable::without_key`].
pub(super) fn without_keys(plan: LogicalPlan) -> Result<LogicalPlan> {
    let forget = |node: LogicalPlan| -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::TableScan(scan) = &node else { return node.recompute_schema().map(Transformed::yes) };
        let provider = source_as_provider(&scan.source)?;
        let Some(table) = provider.downcast_ref::<SnapshotTable>() else { return Ok(Transformed::no(node)) };
        let source = provider_as_source(Arc::new(table.without_key()));
        let made = TableScanBuilder::new(scan.table_name.clone(), source)
            .with_projection(scan.projection.clone())
            .with_filters(scan.filters.clone())
            .with_fetch(scan.fetch)
            .build()?;
        Ok(Transformed::yes(LogicalPlan::TableScan(made)))
    };
    Ok(plan.transform_up_with_subqueries(forget)?.data)
}

/// Functions in FROM count in 64 bits.
fn widened(argument: Expr) -> Expr {
    match argument {
        Expr::Literal(ScalarValue::Int32(value), metadata) => {
            Expr::Literal(ScalarValue::Int64(value.map(i64::from)), metadata)
        }
        other => other,
    }
}

struct Names<'a> {
    engine: &'a Engine,
    state: &'a SessionState,
    dialect: &'a Dialect,
    sight: Sight,
    time_zone: Arc<str>,
    relations: [Arc<dyn RelationPlanner>; 1],
}

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let database = &self.engine.manifest().source.database;
        let known = name.catalog().is_none_or(|catalog| catalog == database);
        // What is hidden still hides what is behind it: a name means the same table for everybody.
        let found = self.engine.resolve(name.schema(), name.table()).filter(|_| known);
        let table = found.and_then(|found| match (self.sight, &found.shown) {
            (Sight::Everything, _) | (_, Shown::Everything) => Some(Arc::clone(&found.table)),
            (Sight::OneTenant, Shown::TheirRows(column)) => Some(Arc::new(found.table.of_one_tenant(column.clone()))),
            (Sight::OneTenant, Shown::Nothing) => None,
        });
        let missing = || no_such_table(self.engine, self.sight, &name.to_string());
        let table = table.ok_or_else(|| DataFusionError::External(Box::new(missing())))?;
        Ok(provider_as_source(table.in_time_zone(&self.time_zone)))
    }

    fn get_table_function_source(&self, name: &str, arguments: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        let function = self
            .state
            .table_functions()
            .get(name)
            .ok_or_else(|| DataFusionError::Plan(format!("table function '{name}' not found")))?;
        let context = SimplifyContext::builder()
            .with_config_options(Arc::clone(self.state.config_options()))
            .with_query_execution_start_time(self.state.execution_props().query_execution_start_time)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let empty = DFSchema::empty();
        let arguments = arguments
            .into_iter()
            .map(|argument| simplifier.coerce(argument, &empty).and_then(|argument| simplifier.simplify(argument)))
            .map(|argument| argument.map(widened))
            .collect::<Result<Vec<_>>>()?;
        let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&arguments, self.state))?;
        Ok(provider_as_source(provider))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.dialect.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relations
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::clone(self.dialect.type_planner()))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.dialect.function(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).filter(|_| is_aggregate(name)).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).filter(|_| is_window(name)).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.dialect.function_names().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
