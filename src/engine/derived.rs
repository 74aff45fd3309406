//! Subqueries in FROM, of which no column is a key. In Postgres other columns follow from a table's primary key alone; the engine takes
//! them to follow through any subquery, even from one of several columns that this groups by, and groups the query around it by all of them.
//! Also names for some of a relation's columns, where the engine wants them for all.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use datafusion::{
    common::{DataFusionError, FunctionalDependencies, Result},
    logical_expr::{
        LogicalPlan, LogicalPlanBuilder,
        planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning},
    },
    sql::sqlparser::ast::{Ident, TableAlias, TableAliasColumnDef, TableFactor},
};

use crate::{
    error::{Code, Error},
    sql::Typing,
};

/// Plans what the engine plans, forgets the keys, and gives columns the types that they have in the end, so that what is around them chooses
/// its operators by those. One for each statement.
#[derive(Debug)]
pub(super) struct Derived {
    typing: Typing,
    /// The relation that comes next is one that was asked for from here.
    is_asked: AtomicBool,
}

impl Derived {
    pub(super) fn new(typing: Typing) -> Self {
        Self { typing, is_asked: AtomicBool::new(false) }
    }
}

impl RelationPlanner for Derived {
    fn plan_relation(
        &self,
        mut relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let may_be_derived = matches!(relation, TableFactor::Derived { .. } | TableFactor::Table { .. });
        if !may_be_derived || self.is_asked.swap(false, Ordering::Relaxed) {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        }
        let named = match &mut relation {
            TableFactor::Derived { alias, .. } | TableFactor::Table { alias, .. } => {
                alias.take_if(|alias| !alias.columns.is_empty())
            }
            _ => None,
        };
        self.is_asked.store(true, Ordering::Relaxed);
        let plan = context.plan(relation)?;
        let plan = if is_table(&plan) { plan } else { without_keys(self.typing.apply(plan)?)? };
        let alias = named.map(|alias| all_named(alias, &plan)).transpose()?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// The alias with a name for each column: those that it leaves out keep theirs.
fn all_named(mut alias: TableAlias, plan: &LogicalPlan) -> Result<TableAlias> {
    let (fields, named) = (plan.schema().fields(), alias.columns.len());
    if named > fields.len() {
        let message =
            format!("table {} has {} columns available but {named} columns specified", alias.name, fields.len());
        return Err(DataFusionError::External(Box::new(Error::new(Code::InvalidSql, message).with_sqlstate("42P10"))));
    }
    let column = |name: &String| TableAliasColumnDef { name: Ident::with_quote('"', name), data_type: None };
    alias.columns.extend(fields.iter().skip(named).map(|field| column(field.name())));
    Ok(alias)
}

fn is_table(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => is_table(&alias.input),
        plan => matches!(plan, LogicalPlan::TableScan(_)),
    }
}

fn without_keys(plan: LogicalPlan) -> Result<LogicalPlan> {
    if plan.schema().functional_dependencies().is_empty() {
        return Ok(plan);
    }
    let schema = plan.schema().as_ref().clone().with_functional_dependencies(FunctionalDependencies::empty())?;
    Ok(match plan {
        LogicalPlan::SubqueryAlias(mut alias) => {
            alias.schema = Arc::new(schema);
            LogicalPlan::SubqueryAlias(alias)
        }
        plan => {
            let columns = plan.schema().columns();
            match LogicalPlanBuilder::from(plan).project(columns)?.build()? {
                LogicalPlan::Projection(mut projection) => {
                    projection.schema = Arc::new(schema);
                    LogicalPlan::Projection(projection)
                }
                plan => plan,
            }
        }
    })
}
