//! Guards that guard: `x <> 0 AND 10 / x > 1` divides only where `x` is not 0, row by row, as Postgres does.
//!
//! The engine evaluates both sides for whole batches, and fails where the right side fails for a row that the left side has ruled
//! out already.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{AsArray, BooleanArray, BooleanBuilder, RecordBatch},
    compute::{and_kleene, filter_record_batch, or_kleene},
    datatypes::{DataType, Field, FieldRef, Schema},
};
use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::{ColumnarValue, Operator},
    physical_expr::expressions::{
        BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
    },
    physical_plan::{
        ExecutionPlan, PhysicalExpr,
        filter::{FilterExec, FilterExecBuilder},
        projection::{ProjectionExec, ProjectionExpr},
    },
};

/// The plan, whose conditions evaluate what can fail only where it is asked for.
pub(super) fn guarded(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        if let Some(filter) = node.downcast_ref::<FilterExec>() {
            let predicate = guarded_expression(Arc::clone(filter.predicate()))?;
            if predicate.transformed {
                let made = FilterExecBuilder::from(filter).with_predicate(predicate.data).build()?;
                return Ok(Transformed::yes(Arc::new(made) as _));
            }
        }
        if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
            let mut is_changed = false;
            let expressions = projection
                .expr()
                .iter()
                .map(|projected| {
                    let made = guarded_expression(Arc::clone(&projected.expr))?;
                    is_changed |= made.transformed;
                    Ok(ProjectionExpr { expr: made.data, alias: projected.alias.clone() })
                })
                .collect::<Result<Vec<_>>>()?;
            if is_changed {
                let made = ProjectionExec::try_new(expressions, Arc::clone(projection.input()))?;
                return Ok(Transformed::yes(Arc::new(made) as _));
            }
        }
        Ok(Transformed::no(node))
    })
    .data()
}

/// The expression with its `AND` and `OR` made so.
pub(super) fn guarded_expression(expression: Arc<dyn PhysicalExpr>) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    expression.transform_up(|inner| {
        let Some(binary) = inner.downcast_ref::<BinaryExpr>() else { return Ok(Transformed::no(inner)) };
        let is_and = match binary.op() {
            Operator::And => true,
            Operator::Or => false,
            _ => return Ok(Transformed::no(inner)),
        };
        if !may_fail(binary.right()) {
            return Ok(Transformed::no(inner));
        }
        let guard = Guard { left: Arc::clone(binary.left()), right: Arc::clone(binary.right()), is_and };
        Ok(Transformed::yes(Arc::new(guard) as _))
    })
}

/// Whether it makes a number, which may have no place in its type.
pub(super) const fn computes(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo)
}

/// Whether there may be a row that the expression fails for. Comparisons of columns and literals never do.
pub(super) fn may_fail(expression: &Arc<dyn PhysicalExpr>) -> bool {
    let fails_itself = if let Some(binary) = expression.downcast_ref::<BinaryExpr>() {
        computes(*binary.op())
    } else {
        !(expression.is::<Column>()
            || expression.is::<Literal>()
            || expression.is::<NotExpr>()
            || expression.is::<IsNullExpr>()
            || expression.is::<IsNotNullExpr>()
            || expression.is::<InListExpr>()
            || expression.is::<LikeExpr>())
    };
    fails_itself || expression.children().into_iter().any(may_fail)
}

/// `left AND right` or `left OR right`, of which the right side is evaluated where the left side leaves it open.
#[derive(Debug)]
struct Guard {
    left: Arc<dyn PhysicalExpr>,
    right: Arc<dyn PhysicalExpr>,
    is_and: bool,
}

impl PhysicalExpr for Guard {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let left = self.left.evaluate(batch)?.into_array(rows)?;
        let left = left.as_boolean();
        let open: BooleanArray = left.iter().map(|value| Some(value != Some(!self.is_and))).collect();
        let right = match open.true_count() {
            0 => return Ok(ColumnarValue::Array(Arc::new(left.clone()))),
            count if count == rows => self.right.evaluate(batch)?.into_array(rows)?.as_boolean().clone(),
            count => {
                let asked = filter_record_batch(batch, &open)?;
                let answers = self.right.evaluate(&asked)?.into_array(count)?;
                scattered(answers.as_boolean(), &open)
            }
        };
        let made = if self.is_and { and_kleene(left, &right)? } else { or_kleene(left, &right)? };
        Ok(ColumnarValue::Array(Arc::new(made)))
    }

    fn return_field(&self, _: &Schema) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.to_string(), DataType::Boolean, true)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let mut children = children.into_iter();
        let left = children.next().unwrap_or_else(|| Arc::clone(&self.left));
        let right = children.next().unwrap_or_else(|| Arc::clone(&self.right));
        Ok(Arc::new(Self { left, right, is_and: self.is_and }))
    }

    fn fmt_sql(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.left.fmt_sql(formatter)?;
        formatter.write_str(if self.is_and { " AND " } else { " OR " })?;
        self.right.fmt_sql(formatter)
    }
}

/// The answers at the rows that were asked, false at the others.
fn scattered(answers: &BooleanArray, open: &BooleanArray) -> BooleanArray {
    let mut answers = answers.iter();
    let mut made = BooleanBuilder::with_capacity(open.len());
    for is_open in open.values() {
        made.append_option(if is_open { answers.next().flatten() } else { Some(false) });
    }
    made.finish()
}

impl fmt::Display for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.left, if self.is_and { "AND" } else { "OR" }, self.right)
    }
}

impl PartialEq for Guard {
    fn eq(&self, other: &Self) -> bool {
        self.left.eq(&other.left) && self.right.eq(&other.right) && self.is_and == other.is_and
    }
}

impl Eq for Guard {}

impl Hash for Guard {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.left.hash(state);
        self.right.hash(state);
        self.is_and.hash(state);
    }
}
