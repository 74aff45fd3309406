//! Texts that stand in every row: `SELECT '…' FROM events`, `array_agg('…')`. The engine writes a constant out once for each row of a batch,
//! which no pool of memory counts. As a view all rows share it.
//!
//! What functions and comparisons are given stays as it is: it is one value there, and its type says which operator is meant.

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Result, ScalarValue,
        tree_node::{Transformed, TransformedResult},
    },
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, expr_rewriter::NamePreserver},
};

/// Shorter ones are copied.
const BYTES_MIN: usize = 1 << 10;

/// The plan with its long texts as views.
pub(super) fn apply(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(node).data()
}

fn node(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::Values(values) if values.values.iter().flatten().any(is_text) => {
            let rows = values.values.into_iter().map(|row| row.into_iter().map(|value| shared(value).data).collect());
            let rows: Vec<Vec<Expr>> = rows.collect();
            LogicalPlanBuilder::values(rows)?.build().map(Transformed::yes)
        }
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => {
            let names = NamePreserver::new(&node);
            let made = node.map_expressions(|expression| {
                let name = names.save(&expression);
                Ok(shared(expression).update_data(|expression| name.restore(expression)))
            })?;
            if made.transformed { made.map_data(LogicalPlan::recompute_schema) } else { Ok(made) }
        }
        other => {
            let changed = other.clone().recompute_schema()?;
            Ok(if changed.schema() == other.schema() { Transformed::no(other) } else { Transformed::yes(changed) })
        }
    }
}

/// The expression with what it may be for a row, or gives a row's share of, as a view.
fn shared(expression: Expr) -> Transformed<Expr> {
    let each = |expressions: Vec<Expr>| {
        let mut is_changed = false;
        let made = expressions.into_iter().map(|expression| {
            let made = shared(expression);
            is_changed |= made.transformed;
            made.data
        });
        let made: Vec<Expr> = made.collect();
        (made, is_changed)
    };
    match expression {
        text if is_text(&text) => Transformed::yes(cast(text, DataType::Utf8View)),
        Expr::Alias(mut alias) => {
            let made = shared(*alias.expr);
            alias.expr = Box::new(made.data);
            Transformed::new_transformed(Expr::Alias(alias), made.transformed)
        }
        Expr::Case(mut case) => {
            let mut is_changed = false;
            let mut boxed = |expression: Box<Expr>| {
                let made = shared(*expression);
                is_changed |= made.transformed;
                Box::new(made.data)
            };
            case.when_then_expr = case.when_then_expr.into_iter().map(|(when, then)| (when, boxed(then))).collect();
            case.else_expr = case.else_expr.map(boxed);
            Transformed::new_transformed(Expr::Case(case), is_changed)
        }
        Expr::AggregateFunction(mut function) => {
            let (arguments, is_changed) = each(function.params.args);
            function.params.args = arguments;
            Transformed::new_transformed(Expr::AggregateFunction(function), is_changed)
        }
        Expr::WindowFunction(mut function) => {
            let (arguments, is_changed) = each(function.params.args);
            function.params.args = arguments;
            Transformed::new_transformed(Expr::WindowFunction(function), is_changed)
        }
        Expr::ScalarFunction(mut function) if function.name() == "coalesce" => {
            let (arguments, is_changed) = each(function.args);
            function.args = arguments;
            Transformed::new_transformed(Expr::ScalarFunction(function), is_changed)
        }
        other => Transformed::no(other),
    }
}

/// A long text, or a parameter, which may be one.
fn is_text(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => text.len() >= BYTES_MIN,
        Expr::Placeholder(placeholder) => {
            placeholder.field.as_ref().is_some_and(|field| *field.data_type() == DataType::Utf8)
        }
        _ => false,
    }
}
