//! Columns that a key lets through. Where rows are grouped by the key of their table, the planner groups by all its other columns too, so
//! that they can be asked for; those that nobody asks for would be read, joined and compared for nothing.
//!
//! Must not know: what the engine takes to follow from a key; see [`super::table::SnapshotTable::without_key`].

use std::collections::HashSet;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Column, Constraint, Result, TableReference,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Aggregate, Expr, LogicalPlan, TableScan},
};

/// The plan without groups that follow from a key and are asked for by nobody.
pub(super) fn unasked(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let narrowed = narrowed(&node)?;
        Ok(narrowed.map_or(Transformed::no(node), Transformed::yes))
    })
    .data()
}

/// What is selected of an aggregate, of fewer groups. `None` where there is nothing to leave out.
fn narrowed(selected: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Projection(_) = selected else { return Ok(None) };
    // Which relation a name is of, does not matter: one too many is kept.
    let mut asked = HashSet::new();
    let mut above = Vec::new();
    let mut node = selected;
    let aggregate = loop {
        for expression in node.expressions() {
            // What a subquery asks for is within it.
            if expression.exists(|part| Ok(is_subquery(part)))? {
                return Ok(None);
            }
            asked.extend(expression.column_refs().into_iter().map(|column| column.name.clone()));
        }
        above.push(node);
        node = match node {
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::Sort(sort) => &sort.input,
            LogicalPlan::Window(window) => &window.input,
            _ => return Ok(None),
        };
        match node {
            LogicalPlan::Aggregate(aggregate) => break aggregate,
            LogicalPlan::Projection(_) => return Ok(None),
            _ => {}
        }
    };
    // What `grouping` asks for are groups.
    for expression in &aggregate.aggr_expr {
        expression.apply(|part| {
            if let Expr::AggregateFunction(function) = part
                && function.func.name() == "grouping"
            {
                asked.extend(part.column_refs().into_iter().map(|column| column.name.clone()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    let is_kept = |group: &&Expr| match group {
        Expr::Column(column) => asked.contains(&column.name) || !follows(column, aggregate),
        _ => true,
    };
    let groups: Vec<Expr> = aggregate.group_expr.iter().filter(is_kept).cloned().collect();
    if groups.len() == aggregate.group_expr.len() {
        return Ok(None);
    }
    let aggregate = Aggregate::try_new(aggregate.input.clone(), groups, aggregate.aggr_expr.clone())?;
    let mut plan = LogicalPlan::Aggregate(aggregate);
    for node in above.into_iter().rev() {
        plan = node.with_new_exprs(node.expressions(), vec![plan])?;
    }
    Ok(Some(plan))
}

fn is_subquery(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::OuterReferenceColumn(..)
    )
}

/// Whether the column has one value in each group, since the key of its table is among the groups. That is so however often the table's
/// rows are repeated, and where an outer join has none of them.
fn follows(column: &Column, aggregate: &Aggregate) -> bool {
    let Some(relation) = &column.relation else { return false };
    let mut scans = Vec::new();
    if !scans_of(&aggregate.input, relation, &mut scans) {
        return false;
    }
    let [scan] = scans[..] else { return false };
    let schema = scan.source.schema();
    let is_grouped = |place: &usize| {
        let field = schema.field(*place);
        let key = Column::new(Some(relation.clone()), field.name());
        is_told_apart(field.data_type()) && aggregate.group_expr.contains(&Expr::Column(key))
    };
    let is_within = |place: &usize| schema.field(*place).name() == column.name();
    scan.source.constraints().is_some_and(|constraints| {
        constraints.iter().any(|constraint| match constraint {
            Constraint::PrimaryKey(key) => key.iter().all(is_grouped) && !key.iter().any(is_within),
            Constraint::Unique(_) => false,
        })
    })
}

/// Whether a snapshot holds each value of the type. Two dates that it cannot hold may have become one.
fn is_told_apart(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Utf8View | DataType::FixedSizeBinary(_)
    )
}

/// Collects where columns of that name come from. `false` where that cannot be said.
fn scans_of<'a>(plan: &'a LogicalPlan, relation: &TableReference, scans: &mut Vec<&'a TableScan>) -> bool {
    match plan {
        LogicalPlan::Join(join) => scans_of(&join.left, relation, scans) && scans_of(&join.right, relation, scans),
        LogicalPlan::Filter(filter) => scans_of(&filter.input, relation, scans),
        LogicalPlan::TableScan(scan) => {
            if scan.table_name == *relation {
                scans.push(scan);
            }
            true
        }
        LogicalPlan::SubqueryAlias(alias) if alias.alias != *relation => true,
        LogicalPlan::SubqueryAlias(alias) => match &*alias.input {
            LogicalPlan::TableScan(scan) => {
                scans.push(scan);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema};
    use datafusion::{
        common::Constraints,
        functions_aggregate::count::count_all,
        logical_expr::{
            JoinType, LogicalPlanBuilder,
            builder::{LogicalPlanBuilderOptions, LogicalTableSource},
            col,
        },
        prelude::lit,
    };

    use super::*;

    /// Two tables of the key `id` (of `twin`, a date), joined, and grouped by these.
    fn check(grouped: &[&str], having: Option<&str>, selected: &[&str], expect: &[&str]) {
        let scan = |name: &str, key: DataType| {
            let fields = vec![
                Field::new("id", key, false),
                Field::new("name", DataType::Utf8View, true),
                Field::new("size", DataType::Int32, true),
            ];
            let keys = Constraints::new_unverified(vec![Constraint::PrimaryKey(vec![0])]);
            let source = LogicalTableSource::new(Arc::new(Schema::new(fields))).with_constraints(keys);
            LogicalPlanBuilder::scan(name, Arc::new(source), None).unwrap()
        };
        let (plant, twin) = (scan("plant", DataType::Int64), scan("twin", DataType::Date32).build().unwrap());
        let joined = plant.join_on(twin, JoinType::Left, [col("plant.size").eq(col("twin.size"))]).unwrap();
        let options = LogicalPlanBuilderOptions::new().with_add_implicit_group_by_exprs(true);
        let columns = |names: &[&str]| names.iter().map(|name| col(*name)).collect::<Vec<_>>();
        let mut plan = joined.with_options(options).aggregate(columns(grouped), [count_all()]).unwrap();
        if let Some(asked) = having {
            plan = plan.filter(col(asked).gt(lit(1))).unwrap();
        }
        let plan = unasked(plan.project(columns(selected)).unwrap().build().unwrap()).unwrap();
        let mut groups = Vec::new();
        plan.apply(|node| {
            if let LogicalPlan::Aggregate(aggregate) = node {
                groups.extend(aggregate.group_expr.iter().map(ToString::to_string));
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        assert_eq!(groups, expect, "by {grouped:?}, {having:?}, of {selected:?}");
        assert_eq!(plan.schema().fields().len(), selected.len());
    }

    #[test]
    fn groups_that_follow_from_a_key_are_there_where_they_are_asked_for() {
        check(&["plant.id"], None, &["plant.id"], &["plant.id"]);
        check(&["plant.id"], None, &["plant.name"], &["plant.id", "plant.name"]);
        check(&["plant.id"], Some("plant.size"), &["plant.id"], &["plant.id", "plant.size"]);
        check(&["plant.size", "plant.id"], None, &["plant.id"], &["plant.id"]);
        check(&["plant.id", "twin.name"], None, &["plant.id"], &["plant.id", "twin.name"]);
        // Without the key, and with one that a snapshot may not hold.
        check(&["plant.name", "plant.size"], None, &["plant.name"], &["plant.name", "plant.size"]);
        check(&["twin.id"], None, &["twin.id"], &["twin.id", "twin.name", "twin.size"]);
    }
}
