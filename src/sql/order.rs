//! Whatever a plan orders or compares by `<` is ordered as Postgres has it: text by its collation, enums by their lists, intervals
//! by how long they are.
//!
//! The engine orders by bytes; so it is given, in place of such a value, a key whose bytes or number order as the value does.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema, DataFusionError, Result, not_impl_err,
        tree_node::{Transformed, TreeNode},
    },
    functions_aggregate::first_last::first_value_udaf,
    logical_expr::{
        Between, BinaryExpr, Distinct, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, SortExpr, WindowFrame,
        WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
        expr::{AggregateFunction, NullTreatment, ScalarFunction, Sort, WindowFunctionParams},
        expr_rewriter::NamePreserver,
        utils::merge_schema,
    },
    scalar::ScalarValue,
};

use super::{
    PG_TYPE_KEY,
    array_key::array_key,
    collation::{COLLATE, COLLATION_KEY, Collation, sort_key},
    enums::{EnumType, rank},
    extremes::extreme,
    float_key::float_key,
    function::Kind,
    keyed::{Gives, keyed},
};
use crate::error::{Code, Error};

/// The orders of a source.
#[derive(Debug)]
pub(super) struct Order {
    collation: Collation,
    enums: HashMap<String, Arc<ScalarUDF>>,
    interval: Option<Arc<ScalarUDF>>,
    jsonb: Option<Arc<ScalarUDF>>,
    array: Arc<ScalarUDF>,
    float: Arc<ScalarUDF>,
}

impl Order {
    /// `functions` has the library's keys.
    pub(super) fn new(collation: Collation, enums: &[EnumType], functions: &HashMap<String, Arc<ScalarUDF>>) -> Self {
        Self {
            collation,
            enums: enums.iter().map(|of| (of.name.clone(), rank(of))).collect(),
            interval: functions.get("pilaster_interval_key").cloned(),
            jsonb: functions.get("pilaster_jsonb_key").cloned(),
            array: Arc::new(array_key()),
            float: Arc::new(float_key()),
        }
    }

    /// The plan with the keys in it.
    pub(super) fn apply(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(|node| self.node(node))?.data)
    }

    fn node(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let schema = match &node {
            LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) => return Ok(Transformed::no(node)),
            LogicalPlan::Sort(sort) => Arc::clone(sort.input.schema()),
            _ => Arc::new(merge_schema(&node.inputs())),
        };
        let node = self.distinct_on(node)?;
        let is_sort = matches!(node, LogicalPlan::Sort(_));
        let is_values = matches!(node, LogicalPlan::Values(_));
        let names = NamePreserver::new(&node);
        node.map_expressions(|expression| {
            if is_sort {
                let within = expression.transform_up(|inner| self.expression(inner, &schema))?;
                return Ok(match self.sort_key(&within.data, &schema)? {
                    Some(key) => Transformed::yes(key),
                    None => within,
                });
            }
            let name = names.save(&expression);
            let made = expression.transform_up(|inner| self.expression(inner, &schema))?;
            // Values have no names.
            let is_named = made.transformed && !is_values;
            Ok(if is_named { made.update_data(|made| name.restore(made)) } else { made })
        })
    }

    /// The expressions that rows are distinct by must be those that they are sorted by first.
    fn distinct_on(&self, node: LogicalPlan) -> Result<LogicalPlan> {
        let LogicalPlan::Distinct(Distinct::On(mut distinct)) = node else { return Ok(node) };
        let schema = Arc::clone(distinct.input.schema());
        for (place, sort) in distinct.sort_expr.iter_mut().flatten().enumerate() {
            if let Some(key) = self.sort_key(&sort.expr, &schema)? {
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
                let keys = self.pair([&between.expr, &between.low], schema)?;
                let higher = self.pair([&between.expr, &between.high], schema)?;
                if keys.is_none() && higher.is_none() {
                    return Ok(Transformed::no(Expr::Between(between)));
                }
                let Between { expr, negated, low, high } = between;
                let [first, low] = keys.unwrap_or_else(|| [(*expr).clone(), *low]);
                let [second, high] = higher.unwrap_or([*expr, *high]);
                // Each side has a collation of its own, and one end may be NULL where the other decides.
                let within = first.gt_eq(low).and(second.lt_eq(high));
                Ok(Transformed::yes(if negated { Expr::Not(Box::new(within)) } else { within }))
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
                is_ordered |= by_peers(&mut function.params, schema)?;
                for value in &mut function.params.partition_by {
                    if let Some(key) = self.zeros_alike(value, schema)? {
                        *value = key;
                        is_ordered = true;
                    }
                }
                let gives = match function.fun.name() {
                    "min" => Some(Gives::Least),
                    "max" => Some(Gives::Greatest),
                    _ => None,
                };
                if let (Some(gives), [value]) = (gives, function.params.args.as_slice())
                    && let Some(key) = self.extreme_key(value, schema)?
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
                let by = args.iter().find_map(|value| self.orders(value, schema).transpose()).transpose()?;
                let functions = by.map_or_else(Vec::new, |by| by.functions(&self.array));
                if functions.is_empty() {
                    return Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })));
                }
                let chosen = extreme(func.name() == "greatest");
                let pairs = args.into_iter().flat_map(|value| [keyed_by(&functions, &value), value]).collect();
                Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(chosen), pairs))))
            }
            Expr::ScalarFunction(mut function) if orders_texts(function.func.name()) => {
                let is_keyed = self.texts_in_arrays(&mut function.args, schema)?;
                Ok(Transformed::new_transformed(Expr::ScalarFunction(function), is_keyed))
            }
            other => Ok(Transformed::no(other)),
        }
    }

    /// The library compares elements by their bytes; where a collation orders them, keys stand for them.
    fn texts_in_arrays(&self, values: &mut [Expr], schema: &DFSchema) -> Result<bool> {
        let Collation::Locale(locale) = &self.collation else { return Ok(false) };
        let is_of_texts = |value: &Expr| {
            let (_, field) = value.to_field(schema)?;
            Ok::<_, DataFusionError>(matches!(
                Kind::of_field(&field),
                Kind::Array(element) if matches!(element.kind(), Kind::Text | Kind::Varchar | Kind::Name | Kind::Unknown)
            ))
        };
        if !values.iter().map(is_of_texts).collect::<Result<Vec<_>>>()?.contains(&true) {
            return Ok(false);
        }
        let function = sort_key(locale);
        for value in values {
            *value = call(&function, value);
        }
        Ok(true)
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
            if let Some(key) = self.sort_key(&sort.expr, schema)? {
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
        let Some(key) = self.extreme_key(value, schema)? else { return Ok(None) };
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

    /// The key that `min` and `max` look at. The engine's own forget what is said of a `char(n)`, which is its own key where bytes order it.
    fn extreme_key(&self, value: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        let key = self.key(value, schema)?;
        if key.is_none() && Kind::of_field(&value.to_field(schema)?.1) == Kind::Bpchar {
            return Ok(Some(value.clone()));
        }
        Ok(key)
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
        let functions = chosen.map_or_else(Vec::new, |by| by.functions(&self.array));
        Ok((!functions.is_empty()).then(|| values.map(|value| keyed_by(&functions, value))))
    }

    /// What orders as the value does; none where the value does so itself.
    fn key(&self, value: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        let functions = self.orders(value, schema)?.map_or_else(Vec::new, |by| by.functions(&self.array));
        Ok(match (functions.is_empty(), value) {
            (false, _) => Some(keyed_by(&functions, value)),
            // A mark that has been looked at makes two orders of one.
            (true, Expr::ScalarFunction(ScalarFunction { func, args })) if func.name() == COLLATE => {
                args.first().cloned()
            }
            (true, _) => None,
        })
    }

    /// The same where rows are put in order, not only compared.
    fn sort_key(&self, value: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        Ok(match self.key(value, schema)? {
            None => self.zeros_alike(value, schema)?,
            key => key,
        })
    }

    /// A float whose zeros have one sign.
    fn zeros_alike(&self, value: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        let is_float = matches!(value.get_type(schema)?, DataType::Float32 | DataType::Float64);
        Ok(is_float.then(|| call(&self.float, value)))
    }

    fn named(&self, name: &str) -> Result<Collation> {
        match name {
            "default" => Ok(self.collation.clone()),
            name => Collation::named(name).ok_or_else(|| no_collation(name)),
        }
    }

    fn orders(&self, value: &Expr, schema: &DFSchema) -> Result<Option<By>> {
        let (_, field) = value.to_field(schema)?;
        Ok(match Kind::of_field(&field) {
            Kind::Text | Kind::Varchar | Kind::Bpchar | Kind::Name | Kind::Unknown if field.data_type().is_string() => {
                if let Some(name) = collate(value) {
                    return Ok(Some(By::Text(self.named(name)?, true)));
                }
                let own = field.metadata().get(COLLATION_KEY).map(|name| self.named(name)).transpose()?;
                Some(By::Text(own.unwrap_or_else(|| self.collation.clone()), false))
            }
            Kind::Array(element) => Some(By::Array(match element.kind() {
                Kind::Text | Kind::Varchar | Kind::Name => Some(self.collation.clone()),
                _ => None,
            })),
            Kind::Enum => {
                let of = field.metadata().get(PG_TYPE_KEY).and_then(|name| self.enums.get(name));
                of.map(|function| By::Function(Arc::clone(function)))
            }
            Kind::Json => return Err(no_order("json")),
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
    /// The elements, texts by a collation.
    Array(Option<Collation>),
    Function(Arc<ScalarUDF>),
}

impl By {
    /// From the value outwards.
    fn functions(self, array: &Arc<ScalarUDF>) -> Vec<Arc<ScalarUDF>> {
        match self {
            Self::Text(Collation::Bytes, _) => Vec::new(),
            Self::Text(Collation::Locale(locale), _) => vec![sort_key(&locale)],
            Self::Array(Some(Collation::Locale(locale))) => vec![sort_key(&locale), Arc::clone(array)],
            Self::Array(_) => vec![Arc::clone(array)],
            Self::Function(function) => vec![function],
        }
    }
}

/// Counts by rows that are equal where the engine can only add to a value: rows up to the current one and its peers are the same either way.
fn by_peers(window: &mut WindowFunctionParams, schema: &DFSchema) -> Result<bool> {
    let frame = &window.window_frame;
    if frame.units != WindowFrameUnits::Range {
        return Ok(false);
    }
    let mut is_fixed = false;
    for sort in &window.order_by {
        is_fixed |=
            matches!(sort.expr.get_type(schema)?, DataType::Time64(_) | DataType::BinaryView | DataType::Binary);
    }
    if !is_fixed {
        return Ok(false);
    }
    let is_open = |bound: &WindowFrameBound| bound.is_unbounded() || matches!(bound, WindowFrameBound::CurrentRow);
    if !is_open(&frame.start_bound) || !is_open(&frame.end_bound) {
        return not_impl_err!("RANGE with an offset of a time or of bytes");
    }
    window.window_frame =
        WindowFrame::new_bounds(WindowFrameUnits::Groups, frame.start_bound.clone(), frame.end_bound.clone());
    Ok(true)
}

fn keyed_by(functions: &[Arc<ScalarUDF>], value: &Expr) -> Expr {
    functions.iter().fold(value.clone(), |value, function| call(function, &value))
}

fn call(function: &Arc<ScalarUDF>, value: &Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), vec![value.clone()]))
}

/// Whether the library's function of this name orders texts that stand in arrays.
fn orders_texts(name: &str) -> bool {
    let is_order = |name: &str| matches!(name, "lt" | "le" | "gt" | "ge");
    matches!(name, "<" | "<=" | ">" | ">=")
        || name.strip_prefix("pilaster_any_").or_else(|| name.strip_prefix("pilaster_all_")).is_some_and(is_order)
}

/// The name in `value COLLATE "name"`.
fn collate(value: &Expr) -> Option<&str> {
    match value {
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == COLLATE => match args.as_slice() {
            [_, Expr::Literal(ScalarValue::Utf8(Some(name)), _)] => Some(name),
            _ => None,
        },
        // What a function makes of a text has its collation.
        Expr::ScalarFunction(ScalarFunction { args, .. }) => args.iter().find_map(collate),
        Expr::Alias(alias) => collate(&alias.expr),
        _ => None,
    }
}

fn wrong_distinct() -> DataFusionError {
    let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
    let error = Error::new(Code::InvalidSql, message).with_sqlstate("42P10");
    DataFusionError::External(Box::new(error))
}

fn no_order(name: &str) -> DataFusionError {
    let message = format!("could not identify an ordering operator for type {name}");
    let hint = "cast it to jsonb, which has an order, or to text";
    DataFusionError::External(Box::new(Error::new(Code::InvalidSql, message).with_sqlstate("42883").with_hint(hint)))
}

fn no_collation(name: &str) -> DataFusionError {
    let error = Error::new(Code::InvalidSql, format!("collation \"{name}\" for encoding \"UTF8\" does not exist"))
        .with_sqlstate("42704");
    DataFusionError::External(Box::new(error))
}
