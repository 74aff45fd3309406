//! Columns of an outer query in a subquery, which is planned and settled before what is around it: they are of the type that the outer query
//! gives them in the end.

use std::sync::Arc;

use datafusion::{
    common::{
        DFSchema, ExprSchema, Result,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, LogicalPlan, Subquery, Union, utils::merge_schema},
};

/// The plan with the types of such columns brought up to date.
pub(super) fn retyped(plan: LogicalPlan) -> Result<LogicalPlan> {
    let made = plan.transform_down_with_subqueries(|node| {
        if !node.inputs().iter().any(|input| matches!(input, LogicalPlan::Subquery(_))) && !has_subqueries(&node)? {
            return Ok(Transformed::no(node));
        }
        let schema = merge_schema(&node.inputs());
        let made = node.map_subqueries(|subquery| within(subquery, &schema))?;
        // LATERAL: what stands to the left is outside.
        let lateral = |input: LogicalPlan| match input {
            LogicalPlan::Subquery(_) => within(input, &schema),
            other => Ok(Transformed::no(other)),
        };
        made.transform_data(|node| node.map_children(lateral))
    })?;
    if !made.transformed {
        return Ok(made.data);
    }
    let made = made.data.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Union(union) => {
            Union::try_new_with_loose_types(union.inputs).map(|union| Transformed::yes(LogicalPlan::Union(union)))
        }
        node => node.recompute_schema().map(Transformed::yes),
    })?;
    Ok(made.data)
}

fn has_subqueries(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_subqueries(|_| {
        found = true;
        Ok(TreeNodeRecursion::Stop)
    })?;
    Ok(found)
}

fn within(subquery: LogicalPlan, outer: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let retype = |expression: Expr| {
        expression.transform_up(|part| match part {
            Expr::OuterReferenceColumn(field, column) => match outer.field_from_column(&column) {
                Ok(now) if now.data_type() != field.data_type() => {
                    Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(now), column)))
                }
                _ => Ok(Transformed::no(Expr::OuterReferenceColumn(field, column))),
            },
            other => Ok(Transformed::no(other)),
        })
    };
    subquery.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans }) => {
            let mut is_changed = false;
            let outer_ref_columns = outer_ref_columns
                .into_iter()
                .map(|column| {
                    let made = retype(column)?;
                    is_changed |= made.transformed;
                    Ok(made.data)
                })
                .collect::<Result<_>>()?;
            let made = LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans });
            Ok(Transformed::new_transformed(made, is_changed))
        }
        node => node.map_expressions(retype),
    })
}
