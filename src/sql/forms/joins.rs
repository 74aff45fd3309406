//! Columns that a join merges, `FULL JOIN … USING (id)`: neither side's, but the one of both that is there.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, ObjectName, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor,
};

use super::{make::function, own};
use crate::{
    error::{Code, Error, Result},
    sql::labels::folded,
};

/// A merged column, and what it stands for.
struct Merged {
    name: String,
    sides: Vec<Expr>,
}

/// The merged columns of `select`, where the engine would take the left side's, and whether there are some of outer joins.
fn merged_of(select: &Select) -> Result<(Vec<Merged>, bool)> {
    let (mut merged, mut plain): (Vec<Merged>, Vec<Merged>) = (Vec::new(), Vec::new());
    for table in &select.from {
        for (place, join) in table.joins.iter().enumerate() {
            let (names, takes_left) = match &join.join_operator {
                JoinOperator::FullOuter(JoinConstraint::Using(names)) => (names, true),
                JoinOperator::Right(JoinConstraint::Using(names))
                | JoinOperator::RightOuter(JoinConstraint::Using(names)) => (names, false),
                JoinOperator::Join(JoinConstraint::Using(names))
                | JoinOperator::Inner(JoinConstraint::Using(names))
                | JoinOperator::Left(JoinConstraint::Using(names))
                | JoinOperator::LeftOuter(JoinConstraint::Using(names)) => {
                    // Either side's will do; behind another join the engine finds it, or asks.
                    if let (Some(left), 0) = (alias(&table.relation), place) {
                        plain.extend(names.iter().filter_map(last).map(|column| Merged {
                            name: folded(&column),
                            sides: vec![Expr::CompoundIdentifier(vec![left.clone(), column])],
                        }));
                    }
                    continue;
                }
                JoinOperator::FullOuter(JoinConstraint::Natural)
                | JoinOperator::Right(JoinConstraint::Natural)
                | JoinOperator::RightOuter(JoinConstraint::Natural) => {
                    return Err(refused("an outer join that is NATURAL"));
                }
                _ => continue,
            };
            let (Some(left), Some(right), 0) = (alias(&table.relation), alias(&join.relation), place) else {
                return Err(refused("an outer join with USING behind another join"));
            };
            for name in names {
                let Some(column) = last(name) else { continue };
                let of = |table: &Ident| Expr::CompoundIdentifier(vec![table.clone(), column.clone()]);
                let sides = if takes_left { vec![of(&left), of(&right)] } else { vec![of(&right)] };
                merged.push(Merged { name: folded(&column), sides });
            }
        }
    }
    let is_outer = !merged.is_empty();
    merged.append(&mut plain);
    Ok((merged, is_outer))
}

/// Writes them out in the order of a query, where its list has none of the name.
pub(super) fn settle_order(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = &*query.body else { return Ok(()) };
    let Some(OrderByKind::Expressions(sorts)) = query.order_by.as_mut().map(|order| &mut order.kind) else {
        return Ok(());
    };
    let (merged, _) = merged_of(select)?;
    let is_named = |name: &Ident| {
        select.projection.iter().any(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => folded(alias) == folded(name),
            SelectItem::UnnamedExpr(Expr::Identifier(item)) => folded(item) == folded(name),
            _ => false,
        })
    };
    for sort in sorts {
        if !matches!(&sort.expr, Expr::Identifier(name) if is_named(name)) {
            own::change(&mut sort.expr, |inner| write_out(inner, &merged));
        }
    }
    Ok(())
}

/// Writes them out in the rest.
pub(super) fn settle(select: &mut Select) -> Result<()> {
    let (merged, is_outer) = merged_of(select)?;
    if merged.is_empty() {
        return Ok(());
    }
    for item in &mut select.projection {
        match item {
            SelectItem::Wildcard(_) if is_outer => return Err(refused("SELECT * of an outer join with USING")),
            SelectItem::UnnamedExpr(Expr::Identifier(name))
                if merged.iter().any(|column| column.name == folded(name)) =>
            {
                let alias = name.clone();
                *item = SelectItem::ExprWithAlias { expr: Expr::Identifier(alias.clone()), alias };
            }
            _ => {}
        }
    }
    for item in &mut select.projection {
        own::change(item, |inner| write_out(inner, &merged));
    }
    for condition in select.selection.iter_mut().chain(&mut select.having) {
        own::change(condition, |inner| write_out(inner, &merged));
    }
    own::change(&mut select.group_by, |inner| write_out(inner, &merged));
    Ok(())
}

fn write_out(expression: &mut Expr, merged: &[Merged]) {
    if let Expr::Identifier(name) = expression
        && let Some(column) = merged.iter().find(|column| column.name == folded(name))
    {
        *expression = match column.sides.as_slice() {
            [one] => one.clone(),
            sides => function("coalesce", sides.to_vec()),
        };
    }
}

fn alias(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, alias: None, .. } => last(name),
        _ => None,
    }
}

fn last(name: &ObjectName) -> Option<Ident> {
    name.0.last()?.as_ident().cloned()
}

fn refused(what: &str) -> Error {
    Error::new(Code::UnsupportedSql, format!("{what} is not supported"))
        .with_sqlstate("0A000")
        .with_hint("write the condition with ON, and the column as COALESCE(a.id, b.id)")
}
