//! Whatever a plan orders or compares by `<` is ordered as Postgres has it: text by its collation, enums by their lists, intervals
//! by how long they are.
//!
//! The engine orders by bytes; so it is given, in place of such a value, a key whose bytes or number order as the value does.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    common::{
        DFSchema, Result,
        tree_node::{Transformed, TreeNode},
    },
    functions_aggregate::first_last::first_value_udaf,
    logical_expr::{
        Between, BinaryExpr, Distinct, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, SortExpr,
        WindowFunctionDefinition,
        expr::{AggregateFunction, NullTreatment, ScalarFunction, Sort},
        expr_rewriter::NamePreserver,
        utils::merge_schema,
        when,
    },
    scalar::ScalarValue,
};

use super::{
    PG_TYPE_KEY,
    collation::{COLLATE, Collation, sort_key},
    enums::{EnumType, rank},
    function::Kind,
    keyed::{Gives, keyed},
};
use crate::error::{Code, Error};

/// Field metadata that names a column's own collation.
pub const COLLATION_KEY: &str = "pg_collation";

/// The orders of a source.
#[derive(Debug)]
pub(super) struct Order {
    collation: Collation,
    enums: HashMap<String, Arc<ScalarUDF>>,
    interval: Option<Arc<ScalarUDF>>,
    jsonb: Option<Arc<ScalarUDF>>,
}

impl Order {
    /// `functions` has the library's keys.
    pub(super) fn new(collation: Collation, enums: &[EnumType], functions: &HashMap<String, Arc<ScalarUDF>>) -> Self {
        Self {
            collation,
            enums: enums.iter().map(|of| (of.name.clone(), rank(of))).collect(),
            interval: functions.get("pilaster_interval_key").cloned(),
            jsonb: functions.get("pilaster_jsonb_key").cloned(),
        }
    }

    /// The plan with the keys in it.
    pub(super) fn apply(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(|node| self.node(node))?.data)
    }

    fn node(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let schema = match &node {
            LogicalPlan::TableScan(_) | LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => {
                return Ok(Transformed::no(node));
            }
            LogicalPlan::Sort(sort) => Arc::clone(sort.input.schema()),
            _ => Arc::new(merge_schema(&node.inputs())),
        };
        let node = self.distinct_on(node)?;
        let is_sort = matches!(node, LogicalPlan::Sort(_));
        let names = NamePreserver::new(&node);
        node.map_expressions(|expression| {
            if is_sort {
                let within = expression.transform_up(|inner| self.expression(inner, &schema))?;
                return Ok(match self.key(&within.data, &schema)? {
                    Some(key) => Transformed::yes(key),
                    None => within,
                });
            }
            let name = names.save(&expression);
            let made = expression.transform_up(|inner| self.expression(inner, &schema))?;
            Ok(if made.transformed { made.update_data(|made| name.restore(made)) } else { made })
        })
    }

    /// The expressions that rows are distinct by must be those that they are sorted by first.
    fn distinct_on(&self, node: LogicalPlan) -> Result<LogicalPlan> {
        let LogicalPlan::Distinct(Distinct::On(mut distinct)) = node else { return Ok(node) };
        let schema = Arc::clone(distinct.input.schema());
        for (place, sort) in distinct.sort_expr.iter_mut().flatten().enumerate() {
            if let Some(key) = self.key(&sort.expr, &schema)? {
                if let Some(on) = distinct.on_expr.get_mut(place) {
                    *on = key.clone();
                }
                sort.expr = key;
            }
        }
        Ok(LogicalPlan::Distinct(Distinct::On(distinct)))
    }

    fn expression(&self, expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        match expression {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: op @ (Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq),
                right,
            }) => {
                let pair = self.pair([&left, &right], schema)?;
                Ok(match pair {
                    Some([left, right]) => {
                        Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
                    }
                    None => Transformed::no(Expr::BinaryExpr(BinaryExpr::new(left, op, right))),
                })
            }
            Expr::Between(between) => {
                let keys = self.pair([&between.expr, &between.low, &between.high], schema)?;
                Ok(match keys {
                    Some([value, low, high]) => Transformed::yes(Expr::Between(Between::new(
                        Box::new(value),
                        between.negated,
                        Box::new(low),
                        Box::new(high),
                    ))),
                    None => Transformed::no(Expr::Between(between)),
                })
            }
            Expr::AggregateFunction(function) if function.params.distinct && function.func.name() == "array_agg" => {
                self.distinct(function, schema).map(Transformed::yes)
            }
            Expr::AggregateFunction(mut function) => {
                let is_ordered = self.sorts(&mut function.params.order_by, schema)?;
                if let Some(made) = self.extreme(&function, schema)? {
                    return Ok(Transformed::yes(made));
                }
                Ok(Transformed::new_transformed(Expr::AggregateFunction(function), is_ordered))
            }
            Expr::WindowFunction(mut function) => {
                let mut is_ordered = self.sorts(&mut function.params.order_by, schema)?;
                let gives = match function.fun.name() {
                    "min" => Some(Gives::Least),
                    "max" => Some(Gives::Greatest),
                    _ => None,
                };
                if let (Some(gives), [value]) = (gives, function.params.args.as_slice())
                    && let Some(key) = self.key(value, schema)?
                {
                    function.params.args.insert(0, key);
                    function.fun = WindowFunctionDefinition::AggregateUDF(keyed(gives));
                    is_ordered = true;
                }
                Ok(Transformed::new_transformed(Expr::WindowFunction(function), is_ordered))
            }
            Expr::ScalarFunction(ScalarFunction { func, args })
                if matches!(func.name(), "greatest" | "least") && args.len() > 1 =>
            {
                let Some(function) = args
                    .iter()
                    .find_map(|value| self.orders(value, schema).transpose())
                    .transpose()?
                    .and_then(By::function)
                else {
                    return Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })));
                };
                let keep_first = if func.name() == "greatest" { Operator::GtEq } else { Operator::LtEq };
                let mut values = args.into_iter();
                let first = values.next().unwrap_or_default();
                let chosen = values.try_fold(first, |best, value| {
                    let keeps = Expr::BinaryExpr(BinaryExpr::new(
                        Box::new(call(&function, &best)),
                        keep_first,
                        Box::new(call(&function, &value)),
                    ));
                    // What is NULL does not count.
                    when(best.clone().is_null(), value.clone())
                        .when(value.clone().is_null().or(keeps), best)
                        .otherwise(value)
                })?;
                Ok(Transformed::yes(chosen))
            }
            other => Ok(Transformed::no(other)),
        }
    }

    /// What is distinct comes in order, in the one that is asked for or in its own.
    fn distinct(&self, function: AggregateFunction, schema: &DFSchema) -> Result<Expr> {
        let mut params = function.params;
        let [value] = params.args.as_slice() else { return Err(wrong_distinct()) };
        let (descends, nulls_first) = match params.order_by.as_slice() {
            [] => (false, false),
            [sort] if sort.expr == *value => (!sort.asc, sort.nulls_first),
            _ => return Err(wrong_distinct()),
        };
        let key = self.key(value, schema)?.unwrap_or_else(|| value.clone());
        params.args = vec![key, value.clone()];
        params.order_by.clear();
        params.distinct = false;
        let func = keyed(Gives::Array { descends, nulls_first });
        Ok(Expr::AggregateFunction(AggregateFunction { func, params }))
    }

    fn sorts(&self, sorts: &mut [Sort], schema: &DFSchema) -> Result<bool> {
        let mut is_changed = false;
        for sort in sorts {
            if let Some(key) = self.key(&sort.expr, schema)? {
                sort.expr = key;
                is_changed = true;
            }
        }
        Ok(is_changed)
    }

    /// `min` and `max` of what has a key: the first in its order.
    fn extreme(&self, function: &AggregateFunction, schema: &DFSchema) -> Result<Option<Expr>> {
        let ascending = match function.func.name() {
            "min" => true,
            "max" => false,
            _ => return Ok(None),
        };
        let [value] = function.params.args.as_slice() else { return Ok(None) };
        let Some(key) = self.key(value, schema)? else { return Ok(None) };
        let mut params = function.params.clone();
        let is_there = Expr::IsNotNull(Box::new(value.clone()));
        params.filter = Some(Box::new(match params.filter.take() {
            Some(filter) => filter.and(is_there),
            None => is_there,
        }));
        params.order_by = vec![SortExpr::new(key, ascending, false)];
        params.distinct = false;
        params.null_treatment = Some(NullTreatment::RespectNulls);
        Ok(Some(Expr::AggregateFunction(AggregateFunction { func: first_value_udaf(), params })))
    }

    /// Keys of values that are compared with each other, which one of them decides.
    fn pair<const N: usize>(&self, values: [&Expr; N], schema: &DFSchema) -> Result<Option<[Expr; N]>> {
        let mut chosen = None;
        for value in values {
            match self.orders(value, schema)? {
                Some(By::Text(collation, true)) => {
                    chosen = Some(By::Text(collation, true));
                    break;
                }
                Some(by) if chosen.is_none() && !matches!(value, Expr::Literal(..)) => chosen = Some(by),
                _ => {}
            }
        }
        // Literals alone are compared as the database compares texts.
        let is_text = |value: &&Expr| matches!(value, Expr::Literal(literal, _) if literal.data_type().is_string());
        if chosen.is_none() && values.iter().all(is_text) {
            chosen = Some(By::Text(self.collation.clone(), false));
        }
        Ok(chosen.and_then(By::function).map(|function| values.map(|value| call(&function, value))))
    }

    /// What orders as the value does; none where the value does so itself.
    fn key(&self, value: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        let function = self.orders(value, schema)?.and_then(By::function);
        Ok(function.map(|function| call(&function, value)))
    }

    fn orders(&self, value: &Expr, schema: &DFSchema) -> Result<Option<By>> {
        let (_, field) = value.to_field(schema)?;
        Ok(match Kind::of_field(&field) {
            Kind::Text | Kind::Varchar | Kind::Bpchar | Kind::Name | Kind::Unknown if field.data_type().is_string() => {
                if let Some(name) = collate(value) {
                    let collation = Collation::named(name).ok_or_else(|| no_collation(name))?;
                    return Ok(Some(By::Text(collation, true)));
                }
                let own = field.metadata().get(COLLATION_KEY).and_then(|name| Collation::named(name));
                Some(By::Text(own.unwrap_or_else(|| self.collation.clone()), false))
            }
            Kind::Enum => {
                let of = field.metadata().get(PG_TYPE_KEY).and_then(|name| self.enums.get(name));
                of.map(|function| By::Function(Arc::clone(function)))
            }
            Kind::Interval => self.interval.clone().map(By::Function),
            Kind::Jsonb => self.jsonb.clone().map(By::Function),
            _ => None,
        })
    }
}

/// What a value is ordered by.
enum By {
    /// A collation, and whether the statement names it.
    Text(Collation, bool),
    Function(Arc<ScalarUDF>),
}

impl By {
    fn function(self) -> Option<Arc<ScalarUDF>> {
        match self {
            Self::Text(Collation::Bytes, _) => None,
            Self::Text(Collation::Locale(locale), _) => Some(sort_key(&locale)),
            Self::Function(function) => Some(function),
        }
    }
}

fn call(function: &Arc<ScalarUDF>, value: &Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), vec![value.clone()]))
}

/// The name in `value COLLATE "name"`.
fn collate(value: &Expr) -> Option<&str> {
    match value {
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == COLLATE => match args.as_slice() {
            [_, Expr::Literal(ScalarValue::Utf8(Some(name)), _)] => Some(name),
            _ => None,
        },
        Expr::Alias(alias) => collate(&alias.expr),
        _ => None,
    }
}

fn wrong_distinct() -> datafusion::common::DataFusionError {
    let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
    let error = Error::new(Code::InvalidSql, message).with_sqlstate("42P10");
    datafusion::common::DataFusionError::External(Box::new(error))
}

fn no_collation(name: &str) -> datafusion::common::DataFusionError {
    let error = Error::new(Code::InvalidSql, format!("collation \"{name}\" for encoding \"UTF8\" does not exist"))
        .with_sqlstate("42704");
    datafusion::common::DataFusionError::External(Box::new(error))
}
