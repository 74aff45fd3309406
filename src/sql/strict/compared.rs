//! Values that are compared: each pair in the type that Postgres's operator for the two takes.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema, Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Between, BinaryExpr, Expr, ExprSchemable, Operator,
        expr::{InList, InSubquery, ScalarFunction},
    },
};

use super::{Strict, kind_of, refused};
use crate::sql::function::{Kind, are_comparable, common_of};

impl Strict<'_> {
    pub(super) fn in_list(
        &self,
        InList { expr, list, negated }: InList,
        schema: &DFSchema,
    ) -> Result<Transformed<Expr>> {
        let mut parts: Vec<Expr> = std::iter::once(*expr).chain(list).collect();
        let mut changed = self.compared(&mut parts, schema)?;
        if let Some(made) = self.one_of(&parts, negated, schema)? {
            return Ok(Transformed::yes(made));
        }
        let value = parts.remove(0);
        // What is made of the row is compared by itself, and so is each item where they are compared in several types.
        let (mut alone, mut list): (Vec<Expr>, Vec<Expr>) = parts.into_iter().partition(is_computed);
        let mut tests = Vec::new();
        list.insert(0, value.clone());
        match self.list_widths(&list, schema)?.as_slice() {
            [] => {}
            [width] => {
                for part in &mut list {
                    changed |= self.cast(part, *width, schema)?;
                }
            }
            _ => alone.extend(list.drain(1..)),
        }
        let first = list.remove(0);
        changed |= !alone.is_empty();
        if !list.is_empty() {
            tests.push(Expr::InList(InList { expr: Box::new(first), list, negated: negated && alone.is_empty() }));
        }
        for item in alone {
            tests.push(self.beside(value.clone(), Operator::Eq, item, schema)?);
        }
        let is_list = matches!(tests.as_slice(), [Expr::InList(_)]);
        let made = any_of(tests).unwrap_or_default();
        let made = if negated && !is_list { Expr::Not(Box::new(made)) } else { made };
        Ok(Transformed::new_transformed(made, changed))
    }

    pub(super) fn between(
        &self,
        Between { expr, negated, low, high }: Between,
        schema: &DFSchema,
    ) -> Result<Transformed<Expr>> {
        let mut parts = [*expr, *low, *high];
        let changed = self.compared(&mut parts, schema)?;
        if self.widths(&parts, schema)?.is_empty() && !are_decimals_of_two_widths(&parts, schema)? {
            let [value, low, high] = parts.map(Box::new);
            let made = Expr::Between(Between::new(value, negated, low, high));
            return Ok(Transformed::new_transformed(made, changed));
        }
        let [value, low, high] = parts;
        let above = self.beside(value.clone(), Operator::GtEq, low, schema)?;
        let within = above.and(self.beside(value, Operator::LtEq, high, schema)?);
        Ok(Transformed::yes(if negated { Expr::Not(Box::new(within)) } else { within }))
    }

    pub(super) fn in_subquery(
        &self,
        InSubquery { mut expr, mut subquery, negated }: InSubquery,
        schema: &DFSchema,
    ) -> Result<Transformed<Expr>> {
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
    pub(super) fn beside(&self, mut left: Expr, op: Operator, mut right: Expr, schema: &DFSchema) -> Result<Expr> {
        if let Some(width) = width_of(kind_of(&left, schema)?, kind_of(&right, schema)?) {
            self.cast(&mut left, width, schema)?;
            self.cast(&mut right, width, schema)?;
        }
        Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
    }

    /// Membership by the library's `=`, where the engine's compares otherwise.
    fn one_of(&self, values: &[Expr], negated: bool, schema: &DFSchema) -> Result<Option<Expr>> {
        let [value, list @ ..] = values else { return Ok(None) };
        let is_own = matches!(kind_of(value, schema)?, Kind::Interval | Kind::Jsonb);
        let Some(equal) = self.functions.get("=").filter(|_| is_own) else { return Ok(None) };
        let tests = list.iter().map(|item| {
            Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(equal), vec![value.clone(), item.clone()]))
        });
        Ok(any_of(tests.collect()).map(|any| if negated { Expr::Not(Box::new(any)) } else { any }))
    }
}

/// Between which the engine finds no common type, but where two of them are compared.
fn are_decimals_of_two_widths(values: &[Expr], schema: &DFSchema) -> Result<bool> {
    let types = values.iter().map(|value| value.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let is_narrow = types.iter().any(|of| matches!(of, DataType::Decimal128(..)));
    let is_wide = types.iter().any(|of| matches!(of, DataType::Decimal256(..)));
    Ok(is_narrow && is_wide)
}

/// One or another of them, no deeper than need be.
fn any_of(mut tests: Vec<Expr>) -> Option<Expr> {
    let half = tests.len() / 2;
    if half == 0 {
        return tests.pop();
    }
    let rest = tests.split_off(half);
    Some(any_of(tests)?.or(any_of(rest)?))
}

/// Whether it is made of a row, as a subquery may be in the end. The engine asks a list what it is without rows, and takes the answer of a
/// `CASE` for all of them; a column may be replaced by one.
fn is_computed(item: &Expr) -> bool {
    let asks = |inner: &Expr| Ok(matches!(inner, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)));
    item.any_column_refs() || item.contains_outer() || item.exists(asks).unwrap_or(true)
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
