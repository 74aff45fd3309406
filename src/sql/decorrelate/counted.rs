//! `EXISTS` and `IN` by numbers of rows.

use std::sync::Arc;

use datafusion::{
    common::{
        DFSchema, ExprSchema, Result, plan_err,
        tree_node::{Transformed, TreeNode},
    },
    functions_aggregate::count::count,
    logical_expr::{
        Expr, LogicalPlan, LogicalPlanBuilder, Subquery,
        expr::Exists,
        expr_rewriter::NamePreserver,
        lit,
        utils::{find_out_reference_exprs, merge_schema},
    },
};

use super::{asks_outside, is_joined_rightly};

/// `EXISTS` and `IN` that the engine does not join rightly, as numbers of rows. In a condition NULL and false are the same.
pub(super) fn counted(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let is_filter = matches!(node, LogicalPlan::Filter(_));
    let names = NamePreserver::new(&node);
    let schema = Arc::new(merge_schema(&node.inputs()));
    let is_whole =
        |subquery: &Subquery| asks_outside(&subquery.subquery) && is_joined_rightly(&subquery.subquery).is_err();
    node.map_expressions(|expression| {
        let name = names.save(&expression);
        let made = expression.transform_up(|inner| match inner {
            Expr::Exists(exists) if is_whole(&exists.subquery) => Ok(Transformed::yes(exists_by_count(exists)?)),
            Expr::InSubquery(member)
                if is_filter
                    && (is_whole(&member.subquery)
                        || member.negated
                            && (asks_outside(&member.subquery.subquery) || !member.expr.any_column_refs())) =>
            {
                let value = outside(*member.expr, &schema)?;
                let [column] = &member.subquery.subquery.schema().columns()[..] else {
                    return plan_err!("IN takes a subquery of one column");
                };
                let is_equal = Expr::Column(column.clone()).eq(value.clone());
                // What may be equal is not out of the question.
                let condition = if member.negated { Expr::IsNotFalse(Box::new(is_equal)) } else { is_equal };
                let plan = LogicalPlanBuilder::new_from_arc(Arc::clone(&member.subquery.subquery)).filter(condition)?;
                let mut outer_ref_columns = member.subquery.outer_ref_columns;
                for column in find_out_reference_exprs(&value) {
                    if !outer_ref_columns.contains(&column) {
                        outer_ref_columns.push(column);
                    }
                }
                let subquery =
                    Subquery { subquery: Arc::new(plan.build()?), outer_ref_columns, spans: member.subquery.spans };
                let count = count_of(subquery)?;
                Ok(Transformed::yes(if member.negated { count.eq(lit(0_i64)) } else { count.gt(lit(0_i64)) }))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(if made.transformed { made.update_data(|made| name.restore(made)) } else { made })
    })
}

/// `EXISTS` as `(SELECT count(*) …) > 0`.
pub(super) fn exists_by_count(exists: Exists) -> Result<Expr> {
    let count = count_of(exists.subquery)?;
    Ok(if exists.negated { count.eq(lit(0_i64)) } else { count.gt(lit(0_i64)) })
}

/// The columns of an expression as a subquery sees them.
fn outside(expression: Expr, schema: &DFSchema) -> Result<Expr> {
    let refer = |inner: Expr| match inner {
        Expr::Column(column) => {
            let field = Arc::clone(schema.field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    };
    Ok(expression.transform(refer)?.data)
}

fn count_of(subquery: Subquery) -> Result<Expr> {
    let plan = LogicalPlanBuilder::new_from_arc(subquery.subquery);
    let plan = plan.aggregate(Vec::<Expr>::new(), [count(lit(1_i64)).alias("\u{1f}count")])?.build()?;
    Ok(Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..subquery }))
}
