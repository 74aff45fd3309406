//! What the planner asks when it plans a statement of a session: functions, operators and types, Postgres's before the engine's.

use std::{collections::HashMap, sync::Arc};

use chrono_tz::Tz;
use datafusion::{
    common::Result,
    execution::SessionState,
    logical_expr::{
        LogicalPlan, ScalarUDF,
        planner::{ExprPlanner, TypePlanner},
    },
};

use super::{
    alike::Alike,
    collation::Collation,
    decorrelate::decorrelate,
    dependencies,
    elements::{self, ARRAY},
    enums::{EnumType, enum_cast},
    function,
    functions::is_scalar,
    grouping_keys,
    operators::PostgresOperators,
    order::Order,
    set_all, shared_texts,
    strict::Strict,
    type_planner::PostgresTypes,
};

/// Gives columns their types; see [`Dialect::typing`].
#[derive(Clone, Debug)]
pub struct Typing {
    functions: Arc<HashMap<String, Arc<ScalarUDF>>>,
}

impl Typing {
    /// The plan with its types.
    pub fn apply(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        Strict { functions: &self.functions }.apply(grouping_keys::apply(set_all::apply(plan)?)?)
    }
}

/// Postgres's SQL as a source speaks it, in one time zone. Made once for each zone, shared by its sessions.
#[derive(Debug)]
pub struct Dialect {
    order: Order,
    functions: Arc<HashMap<String, Arc<ScalarUDF>>>,
    /// Those of the engine that are Postgres's.
    engine: HashMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    types: Arc<dyn TypePlanner>,
}

impl Dialect {
    /// For sessions of `zone` that are otherwise as `state` is, over a source with these enums that orders text by `collation`.
    #[must_use]
    pub fn new(zone: Tz, collation: Collation, enums: &[EnumType], state: &SessionState) -> Self {
        let mut functions = function::functions(zone, state.scalar_functions());
        for of in enums {
            let cast = enum_cast(of);
            functions.insert(cast.name().to_owned(), Arc::new(cast));
        }
        functions.insert(ARRAY.to_owned(), Arc::new(elements::array()));
        let order = Order::new(collation, enums, &functions);
        let functions = Arc::new(functions);
        // Ours come first: the library's own know nothing of Postgres.
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(PostgresOperators::new(Arc::clone(&functions)))];
        planners.extend(state.expr_planners().iter().cloned());
        let engine = state.scalar_functions().iter().filter(|(name, _)| is_scalar(name));
        let engine = engine.map(|(name, function)| (name.clone(), Arc::clone(function))).collect();
        Self { order, functions, engine, planners, types: Arc::new(PostgresTypes { time_zone: zone.name().into() }) }
    }

    /// What a plan needs so that its columns are of the types that Postgres gives them. It may be done more than once.
    #[must_use]
    pub fn typing(&self) -> Typing {
        Typing { functions: Arc::clone(&self.functions) }
    }

    /// The plan of a statement with its subqueries joined, and with everything in the source's order.
    pub fn settled(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = self.typing().apply(plan)?;
        let plan = Alike { functions: &self.functions }.apply(elements::apply(plan)?)?;
        shared_texts::apply(self.order.apply(decorrelate(plan)?)?)
    }

    /// A settled plan whose groups the engine will not leave out.
    pub fn regrouped(plan: LogicalPlan) -> Result<LogicalPlan> {
        dependencies::apply(plan)
    }

    /// Postgres's function of a name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&Arc<ScalarUDF>> {
        self.functions.get(name).or_else(|| self.engine.get(name))
    }

    /// All names that [`Self::function`] knows.
    pub fn function_names(&self) -> impl Iterator<Item = &String> {
        self.functions.keys().chain(self.engine.keys())
    }

    /// For operators and special forms.
    #[must_use]
    pub fn expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    /// For the names of types.
    #[must_use]
    pub fn type_planner(&self) -> &Arc<dyn TypePlanner> {
        &self.types
    }
}
