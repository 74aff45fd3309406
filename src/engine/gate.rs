//! What a plan may contain, and what it depends on.

use std::collections::BTreeMap;

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    datasource::source_as_provider,
    execution::context::SQLOptions,
    logical_expr::{Expr, LogicalPlan, Volatility},
};

use super::{Engine, PlanFacts, Shown, Sight, TableFact, failure::from_datafusion, table::SnapshotTable};
use crate::error::{Code, Error, Result};

/// Lets through plans that read tables of the snapshot, and nothing else.
///
/// Two independent checks: the library's own options, and a list of the nodes that may occur. A node that a later version of the
/// library adds is refused until somebody has thought about it.
pub(super) fn allow(plan: &LogicalPlan) -> Result<()> {
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let refused = |what: &str| {
        Error::new(Code::UnsupportedSql, format!("{what} is not allowed here"))
            .with_sqlstate("0A000")
            .with_hint("send one SELECT; the engine answers from a snapshot and changes nothing")
    };
    read_only.verify_plan(plan).map_err(|error| refused("a statement that writes or sets").with_cause(error))?;
    let mut forbidden = None;
    let walked = plan.apply_with_subqueries(|node| {
        let allowed = match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::TableScan(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::RecursiveQuery(_) => true,
            LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => false,
        };
        if allowed {
            return Ok(TreeNodeRecursion::Continue);
        }
        forbidden = Some(node.display().to_string());
        Ok(TreeNodeRecursion::Stop)
    });
    walked.map_err(|error| Error::internal("a plan cannot be walked").with_cause(error))?;
    forbidden.map_or(Ok(()), |node| Err(refused(&node)))
}

/// What the plan reads, and whether it asks the clock or chance. One for a tenant that reads what no tenant is shown is a fault of ours.
pub(super) fn facts(plan: &LogicalPlan, engine: &Engine, sight: Sight) -> Result<PlanFacts> {
    let mut tables = BTreeMap::new();
    let mut is_hidden = false;
    let mut asks_clock = false;
    let mut is_volatile = false;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = provider.downcast_ref::<SnapshotTable>()
            && let Some(recorded) = engine.manifest().table(table.name())
        {
            let column = table.tenant();
            let is_shared = || engine.0.tables.get(table.name()).is_some_and(|known| known.shown == Shown::Everything);
            is_hidden |= sight == Sight::OneTenant && column.is_none() && !is_shared();
            let tenant_column = column.map(|column| column.name().to_owned());
            let fact = TableFact { name: recorded.name.clone(), digest: recorded.digest, tenant_column };
            tables.insert(recorded.name.clone(), fact);
        }
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                let volatility = match part {
                    Expr::ScalarFunction(call) => call.func.signature().volatility,
                    Expr::AggregateFunction(call) => call.func.signature().volatility,
                    Expr::WindowFunction(call) => call.fun.signature().volatility,
                    _ => Volatility::Immutable,
                };
                asks_clock |= volatility == Volatility::Stable;
                is_volatile |= volatility == Volatility::Volatile;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walked.map_err(|error| from_datafusion(error, None))?;
    if is_hidden {
        return Err(Error::internal("a tenant's plan reads a table whole"));
    }
    Ok(PlanFacts { tables: tables.into_values().collect(), asks_clock, is_volatile })
}
