//! What must be of one type is: branches of `CASE`, arguments of `COALESCE`, members of a list, columns of `UNION`; and a condition is a
//! boolean. The engine makes a text of whatever does not fit; Postgres reads literals as the type of what stands beside them, and
//! refuses the rest.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema, DataFusionError, ExprSchema, Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Between, BinaryExpr, Case, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator, ScalarUDF,
        Union,
        expr::{InList, InSubquery, ScalarFunction},
        expr_rewriter::NamePreserver,
        utils::merge_schema,
    },
};

use super::{
    CHAR_LENGTH_KEY, PG_TYPE_KEY,
    function::{Kind, are_comparable, common_of, is_typed},
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
        let made = plan.transform_up_with_subqueries(|node| self.node(node))?;
        if !made.transformed {
            return Ok(made.data);
        }
        // What has become of another type is so for whoever reads it.
        Ok(made.data.transform_up_with_subqueries(|node| node.recompute_schema().map(Transformed::yes))?.data)
    }

    fn node(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let schema = match &node {
            LogicalPlan::Union(union) => {
                let kinds = columns_match(&union.inputs)?;
                return match self.unified(&union.inputs, &kinds)? {
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

    fn expression(&self, expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        match expression {
            Expr::Case(mut case) => {
                if case.expr.is_none() {
                    for (condition, _) in &case.when_then_expr {
                        is_condition(condition, schema, "CASE/WHEN")?;
                    }
                }
                let (changed, common) = self.case(&mut case, schema)?;
                Ok(self.named(Expr::Case(case), common, changed))
            }
            Expr::ScalarFunction(ScalarFunction { func, mut args })
                if matches!(func.name(), "coalesce" | "greatest" | "least") =>
            {
                let what = func.name().to_uppercase();
                let (changed, common) = self.same(args.iter_mut().collect(), schema, &what)?;
                Ok(self.named(Expr::ScalarFunction(ScalarFunction { func, args }), common, changed))
            }
            Expr::ScalarFunction(mut call) if sees_padding(call.func.name()) => {
                let changed = self.padded(call.args.iter_mut(), schema)?;
                Ok(Transformed::new_transformed(Expr::ScalarFunction(call), changed))
            }
            Expr::Like(mut like) => {
                let changed = self.padded(std::iter::once(&mut *like.expr), schema)?;
                Ok(Transformed::new_transformed(Expr::Like(like), changed))
            }
            Expr::InList(InList { expr, list, negated }) => {
                let mut parts: Vec<Expr> = std::iter::once(*expr).chain(list).collect();
                let mut changed = self.compared(&mut parts, schema)?;
                if let Some(made) = self.one_of(&parts, negated, schema)? {
                    return Ok(Transformed::yes(made));
                }
                match self.list_widths(&parts, schema)?.as_slice() {
                    [] => {}
                    [width] => {
                        for part in &mut parts {
                            changed |= self.cast(part, *width, schema)?;
                        }
                    }
                    // Each beside the value in a type of their own.
                    _ => {
                        let value = parts.remove(0);
                        let tests =
                            parts.into_iter().map(|item| self.beside(value.clone(), Operator::Eq, item, schema));
                        let any = tests.collect::<Result<Vec<_>>>()?.into_iter().reduce(Expr::or).unwrap_or_default();
                        return Ok(Transformed::yes(if negated { Expr::Not(Box::new(any)) } else { any }));
                    }
                }
                let value = parts.remove(0);
                let made = Expr::InList(InList { expr: Box::new(value), list: parts, negated });
                Ok(Transformed::new_transformed(made, changed))
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let mut parts = [*expr, *low, *high];
                let changed = self.compared(&mut parts, schema)?;
                if self.widths(&parts, schema)?.is_empty() {
                    let [value, low, high] = parts.map(Box::new);
                    let made = Expr::Between(Between::new(value, negated, low, high));
                    return Ok(Transformed::new_transformed(made, changed));
                }
                let [value, low, high] = parts;
                let above = self.beside(value.clone(), Operator::GtEq, low, schema)?;
                let within = above.and(self.beside(value, Operator::LtEq, high, schema)?);
                Ok(Transformed::yes(if negated { Expr::Not(Box::new(within)) } else { within }))
            }
            Expr::InSubquery(InSubquery { mut expr, mut subquery, negated }) => {
                let value = kind_of(&expr, schema)?;
                let member = subquery.subquery.schema().fields().first().map(|field| Kind::of_field(field));
                let width = member.and_then(|member| width_of(value, member));
                if let Some(width) = width {
                    self.cast(&mut expr, width, schema)?;
                    if let Some(inputs) = self.unified(std::slice::from_ref(&subquery.subquery), &[width])?
                        && let Some(input) = inputs.into_iter().next()
                    {
                        subquery.subquery = input;
                    }
                }
                let made = Expr::InSubquery(InSubquery { expr, subquery, negated });
                Ok(Transformed::new_transformed(made, width.is_some()))
            }
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
            Expr::Not(inner) => {
                is_condition(&inner, schema, "NOT")?;
                Ok(Transformed::no(Expr::Not(inner)))
            }
            other => Ok(Transformed::no(other)),
        }
    }

    fn case(&self, case: &mut Case, schema: &DFSchema) -> Result<(bool, Kind)> {
        let branches = case.when_then_expr.iter_mut().map(|(_, then)| &mut **then);
        let branches = branches.chain(case.else_expr.iter_mut().map(|otherwise| &mut **otherwise)).collect();
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
        Ok((changed, common))
    }

    /// Values of `char(n)` with the spaces that they are held without.
    fn padded<'e>(&self, values: impl Iterator<Item = &'e mut Expr>, schema: &DFSchema) -> Result<bool> {
        let mut changed = false;
        let Some(pad) = self.functions.get("rpad") else { return Ok(false) };
        for value in values {
            let (_, field) = value.to_field(schema)?;
            let length = field.metadata().get(CHAR_LENGTH_KEY).and_then(|length| length.parse::<i32>().ok());
            let Some(length) = length.filter(|_| !field.data_type().is_nested()) else { continue };
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

    /// Values that the first of them is compared with.
    fn compared(&self, values: &mut [Expr], schema: &DFSchema) -> Result<bool> {
        let kinds = values.iter().map(|value| kind_of(value, schema)).collect::<Result<Vec<_>>>()?;
        let Some(known) = kinds.iter().copied().find(|kind| *kind != Kind::Unknown) else { return Ok(false) };
        let first = kinds.first().copied().filter(|kind| *kind != Kind::Unknown).unwrap_or(known);
        let mut changed = false;
        for (value, kind) in values.iter_mut().zip(kinds) {
            if kind != Kind::Unknown && !are_comparable(first, kind) {
                let message = format!("operator does not exist: {} = {}", first.long_name(), kind.long_name());
                return Err(refused("42883", message));
            }
            changed |= self.typed(value, first, schema)?;
            // The spaces at the end of a `char(n)` mean nothing, nor do those of a literal beside it.
            if let (Kind::Bpchar, Expr::Literal(ScalarValue::Utf8(Some(text)), _)) = (first, &mut *value)
                && text.ends_with(' ')
            {
                text.truncate(text.trim_end_matches(' ').len());
                changed = true;
            }
        }
        Ok(changed)
    }

    /// The types that the first value is compared with the others in, where the engine would take another.
    fn widths(&self, values: &[Expr], schema: &DFSchema) -> Result<Vec<Kind>> {
        let Some((first, rest)) = values.split_first() else { return Ok(Vec::new()) };
        let first = kind_of(first, schema)?;
        let mut widths = Vec::new();
        let mut is_mixed = false;
        for value in rest {
            match width_of(first, kind_of(value, schema)?) {
                Some(width) if !widths.contains(&width) => widths.push(width),
                Some(_) => {}
                None => is_mixed = true,
            }
        }
        // What needs no width may have the others' if that is its own.
        if let ([width], true) = (widths.as_slice(), is_mixed)
            && *width != first
        {
            widths.push(first);
        }
        Ok(widths)
    }

    /// The same for a list, of which Postgres takes the constants together, if there are some: as the type that all of them become.
    fn list_widths(&self, values: &[Expr], schema: &DFSchema) -> Result<Vec<Kind>> {
        let Some((first, list)) = values.split_first() else { return Ok(Vec::new()) };
        let is_together = list.len() > 1 && list.iter().all(|item| item.column_refs().is_empty());
        let widths = self.widths(values, schema)?;
        if !is_together || widths.is_empty() {
            return Ok(widths);
        }
        let mut common = kind_of(first, schema)?;
        for item in list {
            match common_of(common, kind_of(item, schema)?) {
                Some(kind) => common = kind,
                None => return Ok(widths),
            }
        }
        Ok(vec![common])
    }

    /// The comparison of two values in the type that Postgres compares them in.
    fn beside(&self, mut left: Expr, op: Operator, mut right: Expr, schema: &DFSchema) -> Result<Expr> {
        if let Some(width) = width_of(kind_of(&left, schema)?, kind_of(&right, schema)?) {
            self.cast(&mut left, width, schema)?;
            self.cast(&mut right, width, schema)?;
        }
        Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
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
    fn named(&self, expression: Expr, common: Kind, changed: bool) -> Transformed<Expr> {
        let is_named = matches!(common, Kind::Json | Kind::Jsonb | Kind::Uuid | Kind::Varchar);
        match self.functions.get(&format!("::{}", common.name())).filter(|_| is_named) {
            Some(cast) => {
                let call = ScalarFunction::new_udf(Arc::clone(cast), vec![expression]);
                Transformed::yes(Expr::ScalarFunction(call))
            }
            None => Transformed::new_transformed(expression, changed),
        }
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

    /// Membership by the library's `=`, where the engine's compares otherwise.
    fn one_of(&self, values: &[Expr], negated: bool, schema: &DFSchema) -> Result<Option<Expr>> {
        let [value, list @ ..] = values else { return Ok(None) };
        let is_own = matches!(kind_of(value, schema)?, Kind::Interval | Kind::Jsonb);
        let Some(equal) = self.functions.get("=").filter(|_| is_own) else { return Ok(None) };
        let tests = list.iter().map(|item| {
            Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(equal), vec![value.clone(), item.clone()]))
        });
        let any = tests.reduce(Expr::or);
        Ok(any.map(|any| if negated { Expr::Not(Box::new(any)) } else { any }))
    }
}

/// Whether it is a literal that nothing has given a type yet. NULL is of every type.
fn is_untyped(value: &Expr, schema: &DFSchema) -> Result<bool> {
    let is_literal = matches!(value, Expr::Literal(literal, _) if !literal.is_null());
    Ok(is_literal && kind_of(value, schema)? == Kind::Unknown)
}

fn kind_of(expression: &Expr, schema: &DFSchema) -> Result<Kind> {
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

/// What both are to be before they are compared; none where the engine sees to that.
fn width_of(left: Kind, right: Kind) -> Option<Kind> {
    let is_float = |kind: Kind| matches!(kind, Kind::Float4 | Kind::Float8);
    let is_moment = |kind: Kind| matches!(kind, Kind::Date | Kind::Timestamp | Kind::Timestamptz);
    if left == right {
        return None;
    }
    if left.category() == 'N' && right.category() == 'N' && (is_float(left) || is_float(right)) {
        return Some(Kind::Float8);
    }
    match (is_moment(left) && is_moment(right), left == Kind::Timestamptz || right == Kind::Timestamptz) {
        (true, true) => Some(Kind::Timestamptz),
        (true, false) => Some(Kind::Timestamp),
        (false, _) => None,
    }
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
                let is_changed = match is_literal || is_numeric {
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
