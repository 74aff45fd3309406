//! Values that are equal and do not look the same, `24:00:00` and `1 day`, `1` and `1.0` in `jsonb`: rows are grouped, made distinct,
//! counted and joined by keys of theirs. The engine does so by the bytes.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    common::{
        Column, DFSchema, DataFusionError, Result, not_impl_err,
        tree_node::{Transformed, TreeNode},
    },
    functions_aggregate::first_last::first_value_udaf,
    logical_expr::{
        Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator,
        ScalarUDF,
        expr::{AggregateFunction, NullTreatment, ScalarFunction},
        expr_rewriter::NamePreserver,
        utils::merge_schema,
    },
};

use super::{dependencies::unique, function::Kind};
use crate::error::{Code, Error};

/// The keys of the library.
pub(super) struct Alike<'a> {
    pub(super) functions: &'a HashMap<String, Arc<ScalarUDF>>,
}

impl Alike<'_> {
    /// The plan with keys where rows are compared.
    pub(super) fn apply(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let mut made = 0;
        Ok(plan.transform_up_with_subqueries(|node| self.node(node, &mut made))?.data)
    }

    fn node(&self, node: LogicalPlan, made: &mut usize) -> Result<Transformed<LogicalPlan>> {
        let node = self.expressions(node)?;
        match &node.data {
            LogicalPlan::Aggregate(aggregate) => {
                let grouped = self.grouped(aggregate, made)?;
                Ok(grouped.map_or(node, Transformed::yes))
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
                let keys = self.keys(&columns, input.schema())?;
                if keys.iter().all(Option::is_none) {
                    return Ok(node);
                }
                let aggregate = Aggregate::try_new(Arc::clone(input), columns, Vec::new())?;
                let grouped = self.grouped(&aggregate, made)?;
                Ok(grouped.map_or(node, Transformed::yes))
            }
            LogicalPlan::Join(join) => {
                let joined = self.joined(join)?;
                Ok(joined.map_or(node, |join| Transformed::yes(LogicalPlan::Join(join))))
            }
            _ => Ok(node),
        }
    }

    /// Where an expression compares rows.
    fn expressions(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let schema = match &node {
            LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) => return Ok(Transformed::no(node)),
            LogicalPlan::Sort(sort) => Arc::clone(sort.input.schema()),
            _ => Arc::new(merge_schema(&node.inputs())),
        };
        // Values have no names.
        let is_values = matches!(node, LogicalPlan::Values(_));
        let names = NamePreserver::new(&node);
        node.map_expressions(|expression| {
            let name = names.save(&expression);
            let made = expression.transform_up(|inner| self.expression(inner, &schema))?;
            Ok(if made.transformed && !is_values { made.update_data(|made| name.restore(made)) } else { made })
        })
    }

    fn expression(&self, expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        match expression {
            Expr::AggregateFunction(mut call) if call.params.distinct && call.func.name() == "count" => {
                let changed = self.replaced(&mut call.params.args, schema)?;
                Ok(Transformed::new_transformed(Expr::AggregateFunction(call), changed))
            }
            Expr::AggregateFunction(call) if call.params.distinct && call.func.name() == "pilaster_exact_sum" => {
                for value in &call.params.args {
                    if self.key(value, schema)?.is_some() {
                        return not_impl_err!("sum(DISTINCT interval)");
                    }
                }
                Ok(Transformed::no(Expr::AggregateFunction(call)))
            }
            Expr::WindowFunction(mut call) => {
                let changed = self.replaced(&mut call.params.partition_by, schema)?;
                Ok(Transformed::new_transformed(Expr::WindowFunction(call), changed))
            }
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: op @ (Operator::IsDistinctFrom | Operator::IsNotDistinctFrom),
                right,
            }) => {
                let mut sides = [*left, *right];
                let changed = self.replaced(&mut sides, schema)?;
                let [left, right] = sides.map(Box::new);
                Ok(Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr::new(left, op, right)), changed))
            }
            other => Ok(Transformed::no(other)),
        }
    }

    /// Values as their keys, where each has one.
    fn replaced(&self, values: &mut [Expr], schema: &DFSchema) -> Result<bool> {
        let mut changed = false;
        for value in values {
            if let Some(key) = self.key(value, schema)? {
                *value = key;
                changed = true;
            }
        }
        Ok(changed)
    }

    fn keys(&self, values: &[Expr], schema: &DFSchema) -> Result<Vec<Option<Expr>>> {
        values.iter().map(|value| self.key(value, schema)).collect()
    }

    fn key(&self, value: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        let name = match value.to_field(schema) {
            Ok((_, field)) => match Kind::of_field(&field) {
                Kind::Interval => "pilaster_interval_key",
                Kind::Jsonb => "pilaster_jsonb_key",
                Kind::Json => return Err(no_equality("json")),
                _ => return Ok(None),
            },
            // Such as a set of groupings, which is not one value.
            Err(_) => return Ok(None),
        };
        let Some(function) = self.functions.get(name) else { return Ok(None) };
        let value = value.clone().unalias();
        Ok(Some(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), vec![value]))))
    }

    /// Groups by the keys; the value of a group is that of its first row.
    fn grouped(&self, aggregate: &Aggregate, made: &mut usize) -> Result<Option<LogicalPlan>> {
        let schema = aggregate.input.schema();
        // The columns are of each group once.
        let all = unique(&aggregate.group_expr);
        let follows = following(&all, schema);
        let keys = all.iter().zip(&follows).map(|(group, follows)| {
            // It has no key of its own, and as many values as what it follows from. Others are known by their keys all the same: what the
            // engine says of an aggregate's columns is not always so; see `dependencies`.
            let is_json = group.to_field(schema).is_ok_and(|(_, field)| Kind::of_field(&field) == Kind::Json);
            match is_json && *follows {
                true => Ok(Key::Follows),
                false => Ok(self.key(group, schema)?.map_or(Key::Itself, Key::Is)),
            }
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        if keys.iter().all(|key| matches!(key, Key::Itself)) {
            return Ok(None);
        }
        let mut groups = Vec::new();
        let mut values = Vec::new();
        let mut columns = Vec::new();
        for ((group, key), (relation, field)) in all.iter().zip(keys).zip(aggregate.schema.iter()) {
            if matches!(key, Key::Itself) {
                groups.push((*group).clone());
                columns.push(Expr::Column(Column::new(relation.cloned(), field.name())));
                continue;
            }
            *made += 1;
            let name = format!("\u{1f}alike {made}");
            let first = Expr::AggregateFunction(AggregateFunction::new_udf(
                first_value_udaf(),
                vec![(*group).clone().unalias()],
                false,
                None,
                Vec::new(),
                Some(NullTreatment::RespectNulls),
            ));
            if let Key::Is(key) = key {
                groups.push(key.alias(format!("{name} key")));
            }
            values.push(first.alias(name.clone()));
            columns.push(Expr::Column(Column::new_unqualified(name)).alias_qualified(relation.cloned(), field.name()));
        }
        let rest = aggregate.schema.columns().into_iter().skip(all.len()).map(Expr::Column);
        columns.extend(rest);
        values.extend(aggregate.aggr_expr.iter().cloned());
        let plan = LogicalPlanBuilder::new_from_arc(Arc::clone(&aggregate.input)).aggregate(groups, values)?;
        plan.project(columns)?.build().map(Some)
    }

    /// Sides of a join, such as one that `INTERSECT` is made of.
    fn joined(&self, join: &Join) -> Result<Option<Join>> {
        let mut join = join.clone();
        let mut changed = false;
        for (left, right) in &mut join.on {
            let keys = [self.key(left, join.left.schema())?, self.key(right, join.right.schema())?];
            if let [Some(left_key), Some(right_key)] = keys {
                (*left, *right) = (left_key, right_key);
                changed = true;
            }
        }
        Ok(changed.then_some(join))
    }
}

/// What a group is known by.
enum Key {
    Itself,
    Is(Expr),
    Follows,
}

/// Which groups are columns that follow from others among them, such as those of a table whose primary key is there.
fn following(groups: &[&Expr], schema: &DFSchema) -> Vec<bool> {
    let place = |group: &Expr| match group {
        Expr::Column(column) => schema.maybe_index_of_column(column),
        _ => None,
    };
    let places: Vec<Option<usize>> = groups.iter().copied().map(place).collect();
    let is_there = |source: &usize| places.contains(&Some(*source));
    let mut follows = vec![false; groups.len()];
    for dependence in schema.functional_dependencies().iter() {
        if !dependence.source_indices.iter().all(is_there) {
            continue;
        }
        for (place, follows) in places.iter().zip(&mut follows) {
            let Some(place) = place else { continue };
            *follows |= dependence.target_indices.contains(place) && !dependence.source_indices.contains(place);
        }
    }
    follows
}

fn no_equality(name: &str) -> DataFusionError {
    let message = format!("could not identify an equality operator for type {name}");
    let hint = "cast it to jsonb, which has one, or to text";
    DataFusionError::External(Box::new(Error::new(Code::InvalidSql, message).with_sqlstate("42883").with_hint(hint)))
}
