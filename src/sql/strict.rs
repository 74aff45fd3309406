//! What must be of one type is: branches of `CASE`, arguments of `COALESCE`, members of a list, columns of `UNION`; and a condition is a
//! boolean. The engine makes a text of whatever does not fit; Postgres reads literals as the type of what stands beside them, and
//! refuses the rest.

mod compared;
mod elements;
mod outer;
mod widths;

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema, DataFusionError, ExprSchema, Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        BinaryExpr, Case, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator, ScalarUDF, Union,
        expr::ScalarFunction, expr_rewriter::NamePreserver, utils::merge_schema,
    },
};

use super::{
    CHAR_LENGTH_KEY, PG_TYPE_KEY,
    arithmetic::{self, Operation},
    elements::ARRAY,
    function::{Kind, common_of, is_typed},
    set_all::is_set_operation,
};
use crate::error::{Code, Error};

/// Looks for what Postgres would refuse, and gives literals their types.
pub(super) struct Strict<'a> {
    /// The library, for its casts.
    pub(super) functions: &'a HashMap<String, Arc<ScalarUDF>>,
}

impl Strict<'_> {
    /// The plan with its literals typed.
    pub(super) fn apply(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let mut is_changed = false;
        let made = plan.transform_up_with_subqueries(|node| {
            // What has become of another type is so for whoever reads it.
            let node = match node {
                // The engine leaves it as it was.
                LogicalPlan::Union(union) if is_changed => {
                    LogicalPlan::Union(Union::try_new_with_loose_types(union.inputs)?)
                }
                node if is_changed => node.recompute_schema()?,
                node => node,
            };
            let made = self.node(node)?;
            is_changed |= made.transformed;
            match made.transformed {
                true => made.data.recompute_schema().map(Transformed::yes),
                false => Ok(Transformed::new_transformed(made.data, is_changed)),
            }
        })?;
        if is_changed { outer::retyped(made.data) } else { Ok(made.data) }
    }

    fn node(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let schema = match &node {
            LogicalPlan::Union(union) => {
                let kinds = columns_match(&union.inputs)?;
                let unified = self.unified(&union.inputs, &kinds)?;
                let of_one_width = widths::of_one_width(unified.as_deref().unwrap_or(&union.inputs))?;
                return match of_one_width.or(unified) {
                    Some(inputs) => {
                        let union = Union::try_new_with_loose_types(inputs)?;
                        Ok(Transformed::yes(LogicalPlan::Union(union)))
                    }
                    None => Ok(Transformed::no(node)),
                };
            }
            // `INTERSECT` and `EXCEPT`.
            LogicalPlan::Join(join) if is_set_operation(join) => {
                let inputs = [Arc::clone(&join.left), Arc::clone(&join.right)];
                let kinds = columns_match(&inputs)?;
                let Some(inputs) = self.unified(&inputs, &kinds)? else { return Ok(Transformed::no(node)) };
                let [left, right] = inputs.as_slice() else { return Ok(Transformed::no(node)) };
                let join = Join { left: Arc::clone(left), right: Arc::clone(right), ..join.clone() };
                return Ok(Transformed::yes(LogicalPlan::Join(join).recompute_schema()?));
            }
            LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) => return Ok(Transformed::no(node)),
            LogicalPlan::Sort(sort) => Arc::clone(sort.input.schema()),
            LogicalPlan::Values(_) => Arc::new(DFSchema::empty()),
            _ => Arc::new(merge_schema(&node.inputs())),
        };
        match &node {
            LogicalPlan::Filter(filter) => is_condition(&filter.predicate, &schema, "WHERE")?,
            LogicalPlan::Join(join) => {
                if let Some(filter) = &join.filter {
                    is_condition(filter, &schema, "JOIN/ON")?;
                }
            }
            _ => {}
        }
        let names = NamePreserver::new(&node);
        let is_sort = matches!(node, LogicalPlan::Sort(_));
        node.map_expressions(|expression| {
            let name = names.save(&expression);
            let made = expression.transform_up(|inner| self.expression(inner, &schema))?;
            Ok(if made.transformed && !is_sort { made.update_data(|made| name.restore(made)) } else { made })
        })
    }

    pub(super) fn expression(&self, expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        match expression {
            Expr::Case(mut case) => {
                if case.expr.is_none() {
                    for (condition, _) in &case.when_then_expr {
                        is_condition(condition, schema, "CASE/WHEN")?;
                    }
                }
                let (changed, common) = self.case(&mut case, schema)?;
                self.named(Expr::Case(case), common, changed, schema)
            }
            Expr::ScalarFunction(ScalarFunction { func, mut args })
                if matches!(func.name(), "coalesce" | "greatest" | "least") =>
            {
                let what = func.name().to_uppercase();
                let (changed, common) = self.same(args.iter_mut().collect(), schema, &what)?;
                self.named(Expr::ScalarFunction(ScalarFunction { func, args }), common, changed, schema)
            }
            Expr::ScalarFunction(mut call) if call.func.name() == ARRAY => {
                let changed = self.elements(&mut call.args, schema)?;
                Ok(Transformed::new_transformed(Expr::ScalarFunction(call), changed))
            }
            Expr::ScalarFunction(mut call) if sees_padding(call.func.name()) || is_of_array(&call, schema)? => {
                let changed = self.padded(call.args.iter_mut(), schema)?;
                Ok(Transformed::new_transformed(Expr::ScalarFunction(call), changed))
            }
            Expr::Like(mut like) => {
                let changed = self.padded(std::iter::once(&mut *like.expr), schema)?;
                Ok(Transformed::new_transformed(Expr::Like(like), changed))
            }
            Expr::InList(list) => self.in_list(list, schema),
            Expr::Between(between) => self.between(between, schema),
            Expr::InSubquery(member) => self.in_subquery(member, schema),
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: op @ (Operator::IsDistinctFrom | Operator::IsNotDistinctFrom),
                right,
            }) => {
                let made = self.beside(*left, op, *right, schema)?;
                Ok(Transformed::yes(made))
            }
            Expr::AggregateFunction(mut call) if matches!(call.func.name(), "min" | "max") => {
                has_extremes(call.func.name(), &call.params.args, schema)?;
                let changed = self.as_text(&mut call.params.args, schema)?;
                Ok(Transformed::new_transformed(Expr::AggregateFunction(call), changed))
            }
            Expr::WindowFunction(mut call) if matches!(call.fun.name(), "min" | "max") => {
                has_extremes(call.fun.name(), &call.params.args, schema)?;
                let changed = self.as_text(&mut call.params.args, schema)?;
                Ok(Transformed::new_transformed(Expr::WindowFunction(call), changed))
            }
            Expr::BinaryExpr(comparison) if compares(comparison.op) => {
                let kinds = [kind_of(&comparison.left, schema)?, kind_of(&comparison.right, schema)?];
                if kinds.contains(&Kind::Json) {
                    let [left, right] = kinds.map(Kind::long_name);
                    let message = format!("operator does not exist: {left} {} {right}", comparison.op);
                    return Err(refused("42883", message));
                }
                Ok(Transformed::no(Expr::BinaryExpr(comparison)))
            }
            // The engine only turns the sign of a float, that of NaN, too.
            Expr::Negative(inner) if !matches!(*inner, Expr::Literal(..)) => {
                let minus_one = match inner.get_type(schema)? {
                    DataType::Float32 => ScalarValue::Float32(Some(-1.0)),
                    DataType::Float64 => ScalarValue::Float64(Some(-1.0)),
                    _ => return Ok(Transformed::no(Expr::Negative(inner))),
                };
                let product = vec![*inner, Expr::Literal(minus_one, None)];
                let call = ScalarFunction::new_udf(arithmetic::function(Operation::Multiply), product);
                Ok(Transformed::yes(Expr::ScalarFunction(call)))
            }
            Expr::Not(inner) => {
                is_condition(&inner, schema, "NOT")?;
                Ok(Transformed::no(Expr::Not(inner)))
            }
            other => Ok(Transformed::no(other)),
        }
    }

    fn case(&self, case: &mut Case, schema: &DFSchema) -> Result<(bool, Kind)> {
        // The type of `ELSE` is looked at first, as in Postgres.
        let otherwise = case.else_expr.iter_mut().map(|otherwise| &mut **otherwise);
        let branches = otherwise.chain(case.when_then_expr.iter_mut().map(|(_, then)| &mut **then)).collect();
        self.same(branches, schema, "CASE")
    }

    /// Values that are to be of one type.
    fn same(&self, mut values: Vec<&mut Expr>, schema: &DFSchema, what: &str) -> Result<(bool, Kind)> {
        let mut common = Kind::Unknown;
        for value in &values {
            let kind = kind_of(value, schema)?;
            if kind == Kind::Other || common == Kind::Other {
                return Ok((false, Kind::Other));
            }
            common = common_of(common, kind).ok_or_else(|| {
                let message = format!("{what} types {} and {} cannot be matched", common.long_name(), kind.long_name());
                refused("42804", message)
            })?;
        }
        let mut changed = false;
        let of_enum = match common {
            Kind::Enum => enum_name(&values, schema)?,
            _ => None,
        };
        for value in &mut values {
            changed |= match &of_enum {
                Some(name) => is_untyped(value, schema)? && self.called(&format!("::{name}"), value),
                None => self.typed(value, common, schema)?,
            };
            changed |= self.widened(value, common, schema)?;
        }
        if matches!(common, Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Numeric) {
            changed |= widths::of_one_number(&mut values, schema)?;
        }
        Ok((changed, common))
    }

    /// Values of `char(n)` with the spaces that they are held without.
    fn padded<'e>(&self, values: impl Iterator<Item = &'e mut Expr>, schema: &DFSchema) -> Result<bool> {
        let mut changed = false;
        for value in values {
            let (_, field) = value.to_field(schema)?;
            let (pad, held) = match field.data_type() {
                DataType::List(item) => ("pilaster_padded", item),
                _ => ("rpad", &field),
            };
            let length = held.metadata().get(CHAR_LENGTH_KEY).and_then(|length| length.parse::<i32>().ok());
            let (Some(length), Some(pad)) = (length, self.functions.get(pad)) else { continue };
            let arguments = vec![std::mem::take(value), Expr::Literal(ScalarValue::Int32(Some(length)), None)];
            *value = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(pad), arguments));
            changed = true;
        }
        Ok(changed)
    }

    /// Postgres has `min` and `max` of text alone.
    fn as_text(&self, values: &mut [Expr], schema: &DFSchema) -> Result<bool> {
        let [value] = values else { return Ok(false) };
        match kind_of(value, schema)? {
            Kind::Varchar | Kind::Name => Ok(self.called("::text", value)),
            _ => Ok(false),
        }
    }

    fn cast(&self, value: &mut Expr, to: Kind, schema: &DFSchema) -> Result<bool> {
        if kind_of(value, schema)? == to {
            return Ok(false);
        }
        Ok(self.called(&format!("::{}", to.name()), value))
    }

    /// The value as an argument of the library's function, if there is one of the name.
    fn called(&self, name: &str, value: &mut Expr) -> bool {
        let Some(function) = self.functions.get(name) else { return false };
        let inner = std::mem::take(value);
        *value = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), vec![inner]));
        true
    }

    /// Reads a literal as a value of `kind`.
    fn typed(&self, value: &mut Expr, kind: Kind, schema: &DFSchema) -> Result<bool> {
        Ok(is_typed(kind) && is_untyped(value, schema)? && self.called(&format!("::{}", kind.name()), value))
    }
}

impl Strict<'_> {
    /// The engine gives a text where the type is one that it has no other for: a cast says which.
    fn named(&self, mut expression: Expr, common: Kind, changed: bool, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let is_named = match common {
            Kind::Json | Kind::Jsonb | Kind::Uuid | Kind::Varchar => true,
            // One of its branches may say that it is a varchar.
            Kind::Text => kind_of(&expression, schema)? == Kind::Varchar,
            _ => false,
        };
        let named = is_named && self.called(&format!("::{}", common.name()), &mut expression);
        Ok(Transformed::new_transformed(expression, changed || named))
    }

    /// A number or a moment of another type as the common one.
    fn widened(&self, value: &mut Expr, common: Kind, schema: &DFSchema) -> Result<bool> {
        let kind = kind_of(value, schema)?;
        let is_wider = matches!(common, Kind::Float4 | Kind::Float8 | Kind::Timestamp | Kind::Timestamptz);
        if kind == Kind::Unknown || !is_wider {
            return Ok(false);
        }
        self.cast(value, common, schema)
    }
}

/// Whether it is a literal that nothing has given a type yet. NULL is of every type.
fn is_untyped(value: &Expr, schema: &DFSchema) -> Result<bool> {
    let is_literal = matches!(value, Expr::Literal(literal, _) if !literal.is_null());
    Ok(is_literal && kind_of(value, schema)? == Kind::Unknown)
}

pub(super) fn kind_of(expression: &Expr, schema: &DFSchema) -> Result<Kind> {
    expression.to_field(schema).map(|(_, field)| Kind::of_field(&field))
}

/// Functions to which the spaces at the end of a `char(n)` mean something. Others take it as text, which has lost them.
fn sees_padding(name: &str) -> bool {
    matches!(
        name,
        "~~" | "!~~"
            | "~~*"
            | "!~~*"
            | "~"
            | "!~"
            | "~*"
            | "!~*"
            | "array_to_string"
            | "concat"
            | "concat_ws"
            | "format"
            | "octet_length"
            | "to_json"
            | "to_jsonb"
            | "json_build_array"
            | "json_build_object"
            | "jsonb_build_array"
            | "jsonb_build_object"
    )
}

/// A cast of an array to a text, in which the elements keep their spaces.
fn is_of_array(call: &ScalarFunction, schema: &DFSchema) -> Result<bool> {
    match (call.func.name(), call.args.as_slice()) {
        ("::text" | "::varchar", [value]) => Ok(matches!(kind_of(value, schema)?, Kind::Array(_))),
        _ => Ok(false),
    }
}

/// Postgres has neither of what has no order of use.
fn has_extremes(name: &str, values: &[Expr], schema: &DFSchema) -> Result<()> {
    for value in values {
        let kind = kind_of(value, schema)?;
        if matches!(kind, Kind::Bool | Kind::Uuid | Kind::Bytea | Kind::Json | Kind::Jsonb) {
            return Err(refused("42883", format!("function {name}({}) does not exist", kind.long_name())));
        }
    }
    Ok(())
}

/// The name of the enum that one of the values is of.
fn enum_name(values: &[&mut Expr], schema: &DFSchema) -> Result<Option<String>> {
    for value in values {
        let (_, field) = value.to_field(schema)?;
        if Kind::of_field(&field) == Kind::Enum {
            return Ok(field.metadata().get(PG_TYPE_KEY).cloned());
        }
    }
    Ok(None)
}

const fn compares(op: Operator) -> bool {
    matches!(op, Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}

fn is_condition(expression: &Expr, schema: &DFSchema, what: &str) -> Result<()> {
    match kind_of(expression, schema)? {
        Kind::Bool | Kind::Unknown | Kind::Other => Ok(()),
        kind => {
            let message = format!("argument of {what} must be type boolean, not type {}", kind.long_name());
            Err(refused("42804", message))
        }
    }
}

/// The common type of each column.
fn columns_match(inputs: &[Arc<LogicalPlan>]) -> Result<Vec<Kind>> {
    let Some((first, rest)) = inputs.split_first() else { return Ok(Vec::new()) };
    let mut kinds = Vec::new();
    for (place, field) in first.schema().fields().iter().enumerate() {
        let mut common = Kind::of_field(field);
        for other in rest {
            let Some(field) = other.schema().fields().get(place) else { continue };
            let kind = Kind::of_field(field);
            if kind == Kind::Other || common == Kind::Other {
                common = Kind::Other;
                break;
            }
            common = common_of(common, kind).ok_or_else(|| {
                let message = format!("UNION types {} and {} cannot be matched", common.long_name(), kind.long_name());
                refused("42804", message)
            })?;
        }
        kinds.push(common);
    }
    Ok(kinds)
}

impl Strict<'_> {
    /// The inputs with their columns widened; none where all are of the common types.
    fn unified(&self, inputs: &[Arc<LogicalPlan>], kinds: &[Kind]) -> Result<Option<Vec<Arc<LogicalPlan>>>> {
        let mut is_changed = false;
        let mut made = Vec::with_capacity(inputs.len());
        for input in inputs {
            let mut changed = false;
            let schema = Arc::clone(input.schema());
            let mut columns = Vec::new();
            for (column, common) in schema.columns().into_iter().zip(kinds) {
                let mut value = Expr::Column(column.clone());
                // What is a literal in one branch is of the others' type in all.
                let is_literal = schema.field_from_column(&column)?.data_type() == &DataType::Utf8;
                let is_whole = matches!(kind_of(&value, &schema)?, Kind::Int2 | Kind::Int4 | Kind::Int8);
                let is_numeric = *common == Kind::Numeric && is_whole;
                let is_literal = is_literal && *common != Kind::Unknown && *common != Kind::Enum;
                let is_renamed = matches!(
                    (*common, kind_of(&value, &schema)?),
                    (Kind::Text, Kind::Varchar) | (Kind::Varchar, Kind::Text)
                );
                let is_changed = match is_literal || is_numeric || is_renamed {
                    true => self.cast(&mut value, *common, &schema)?,
                    false => self.widened(&mut value, *common, &schema)?,
                };
                if is_changed {
                    changed = true;
                    value = value.alias_qualified(column.relation, column.name);
                }
                columns.push(value);
            }
            made.push(match changed {
                true => Arc::new(LogicalPlanBuilder::new_from_arc(Arc::clone(input)).project(columns)?.build()?),
                false => Arc::clone(input),
            });
            is_changed |= changed;
        }
        Ok(is_changed.then_some(made))
    }
}

fn refused(sqlstate: &'static str, message: String) -> DataFusionError {
    let error =
        Error::new(Code::InvalidSql, message).with_sqlstate(sqlstate).with_hint("a cast says which type is meant");
    DataFusionError::External(Box::new(error))
}
