//! What must be of one type is: branches of `CASE`, arguments of `COALESCE`, members of a list, columns of `UNION`; and a condition is a
//! boolean. The engine makes a text of whatever does not fit; Postgres reads literals as the type of what stands beside them, and
//! refuses the rest.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    common::{
        DFSchema, DataFusionError, Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Between, Case, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarUDF, Union,
        expr::{InList, ScalarFunction},
        expr_rewriter::NamePreserver,
        utils::merge_schema,
    },
};

use super::function::{Kind, are_comparable, common_of, is_typed};
use crate::error::{Code, Error};

/// Looks for what Postgres would refuse, and gives literals their types.
pub(super) struct Strict<'a> {
    /// The library, for its casts.
    pub(super) functions: &'a HashMap<String, Arc<ScalarUDF>>,
}

impl Strict<'_> {
    /// The plan with its literals typed.
    pub(super) fn apply(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(|node| self.node(node))?.data)
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
            Expr::ScalarFunction(ScalarFunction { func, mut args }) if func.name() == "nullif" => {
                let changed = self.compared(&mut args, schema)?;
                Ok(Transformed::new_transformed(Expr::ScalarFunction(ScalarFunction { func, args }), changed))
            }
            Expr::InList(InList { expr, list, negated }) => {
                let mut parts: Vec<Expr> = std::iter::once(*expr).chain(list).collect();
                let changed = self.compared(&mut parts, schema)?;
                if let Some(made) = self.one_of(&parts, negated, schema)? {
                    return Ok(Transformed::yes(made));
                }
                let value = parts.remove(0);
                let made = Expr::InList(InList { expr: Box::new(value), list: parts, negated });
                Ok(Transformed::new_transformed(made, changed))
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let mut parts = vec![*expr, *low, *high];
                let changed = self.compared(&mut parts, schema)?;
                let mut parts = parts.into_iter().map(Box::new);
                match (parts.next(), parts.next(), parts.next()) {
                    (Some(value), Some(low), Some(high)) => Ok(Transformed::new_transformed(
                        Expr::Between(Between::new(value, negated, low, high)),
                        changed,
                    )),
                    _ => Err(DataFusionError::Internal("a range has three parts".to_owned())),
                }
            }
            // Postgres has these of text alone.
            Expr::AggregateFunction(mut call) if matches!(call.func.name(), "min" | "max") => {
                let changed = self.as_text(&mut call.params.args, schema)?;
                Ok(Transformed::new_transformed(Expr::AggregateFunction(call), changed))
            }
            Expr::WindowFunction(mut call) if matches!(call.fun.name(), "min" | "max") => {
                let changed = self.as_text(&mut call.params.args, schema)?;
                Ok(Transformed::new_transformed(Expr::WindowFunction(call), changed))
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
        for value in &mut values {
            changed |= self.typed(value, common, schema)?;
            changed |= self.widened(value, common, schema)?;
        }
        Ok((changed, common))
    }

    fn as_text(&self, values: &mut [Expr], schema: &DFSchema) -> Result<bool> {
        let [value] = values else { return Ok(false) };
        let Some(cast) = self.functions.get("::text") else { return Ok(false) };
        if !matches!(kind_of(value, schema)?, Kind::Varchar | Kind::Name) {
            return Ok(false);
        }
        let inner = std::mem::take(value);
        *value = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(cast), vec![inner]));
        Ok(true)
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
        }
        Ok(changed)
    }

    /// Reads a literal as a value of `kind`.
    fn typed(&self, value: &mut Expr, kind: Kind, schema: &DFSchema) -> Result<bool> {
        if !is_typed(kind) || !matches!(value, Expr::Literal(..)) || kind_of(value, schema)? != Kind::Unknown {
            return Ok(false);
        }
        let is_null = matches!(value, Expr::Literal(literal, _) if literal.is_null());
        let Some(cast) = self.functions.get(&format!("::{}", kind.name())).filter(|_| !is_null) else {
            return Ok(false);
        };
        let literal = std::mem::take(value);
        *value = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(cast), vec![literal]));
        Ok(true)
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
        if kind == common || kind == Kind::Unknown || !is_wider {
            return Ok(false);
        }
        let Some(cast) = self.functions.get(&format!("::{}", common.name())) else { return Ok(false) };
        let inner = std::mem::take(value);
        *value = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(cast), vec![inner]));
        Ok(true)
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

fn kind_of(expression: &Expr, schema: &DFSchema) -> Result<Kind> {
    expression.to_field(schema).map(|(_, field)| Kind::of_field(&field))
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
                if self.widened(&mut value, *common, &schema)? {
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
