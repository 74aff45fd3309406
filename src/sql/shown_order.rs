//! What a statement promises of the order of its rows and the digits of its numbers, as far as its columns show it.
//!
//! Owns: [`ShownOrder`], and which statements have quotients. For whoever compares two answers of one statement.

use datafusion::sql::sqlparser::ast::{
    Expr, OrderByKind, Query, Select, SelectItem, SetExpr, Statement, Value, Visit, Visitor,
};

use super::{ReadOnlySql, labels::folded};

/// The order of a statement's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownOrder {
    /// Whether there is an ORDER BY at all; without one, any order is right.
    pub is_ordered: bool,
    /// What it orders by, as far as the columns show it, from the first.
    pub keys: Vec<OrderKey>,
    /// Whether these are all: rows whose keys are equal may then come in any order.
    pub is_whole: bool,
    /// Whether rows are left out at either end, so that which of equal ones are there is anybody's choice.
    pub is_limited: bool,
}

/// A column that rows are ordered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderKey {
    /// By its place, from 0.
    Place(usize),
    /// By its name.
    Name(String),
}

/// Functions whose numerics have as many digits behind the point as whoever computes them likes.
const OF_QUOTIENTS: &[&str] = &[
    "avg",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "variance",
    "var_pop",
    "var_samp",
    "corr",
    "covar_pop",
    "covar_samp",
    "sqrt",
    "exp",
    "ln",
    "log",
    "log10",
    "power",
    "pow",
    "percentile_cont",
    "cbrt",
];

impl ReadOnlySql {
    /// What is promised of the order of its rows.
    #[must_use]
    pub fn shown_order(&self) -> ShownOrder {
        // What cannot be looked at has the strictest of orders.
        let strictest = ShownOrder { is_ordered: true, is_limited: true, ..ShownOrder::default() };
        self.as_written(order_of).unwrap_or(strictest)
    }

    /// Whether numerics of its answer may come from a division, an average or the like, whose digits are not all the same everywhere.
    #[must_use]
    pub fn has_quotients(&self) -> bool {
        // What cannot be looked at is compared as strictly as can be.
        self.as_written(divides).unwrap_or_default()
    }
}

fn order_of(statement: &Statement) -> ShownOrder {
    let Statement::Query(query) = statement else { return ShownOrder::default() };
    let is_limited = query.limit_clause.is_some() || query.fetch.is_some();
    let Some(order) = &query.order_by else { return ShownOrder { is_limited, ..ShownOrder::default() } };
    let OrderByKind::Expressions(expressions) = &order.kind else {
        return ShownOrder { is_ordered: true, is_limited, ..ShownOrder::default() };
    };
    let select = leftmost(query);
    let keys: Vec<OrderKey> = expressions.iter().map_while(|key| place_of(&key.expr, select)).collect();
    let is_whole = keys.len() == expressions.len();
    ShownOrder { is_ordered: true, keys, is_whole, is_limited }
}

fn divides(statement: &Statement) -> bool {
    struct Finder(bool);
    impl Visitor for Finder {
        type Break = ();

        fn pre_visit_expr(&mut self, expression: &Expr) -> std::ops::ControlFlow<()> {
            use datafusion::sql::sqlparser::ast::BinaryOperator;
            let is_quotient = match expression {
                Expr::BinaryOp { op: BinaryOperator::Divide | BinaryOperator::PGExp, .. } => true,
                Expr::Function(function) => {
                    let name = function.name.0.last().map(ToString::to_string).unwrap_or_default().to_lowercase();
                    let name = name.trim_matches('"');
                    OF_QUOTIENTS.contains(&name) || name.starts_with("regr_")
                }
                _ => false,
            };
            self.0 |= is_quotient;
            std::ops::ControlFlow::Continue(())
        }
    }
    let mut finder = Finder(false);
    // It never breaks off.
    let _ = statement.visit(&mut finder);
    finder.0
}

/// The SELECT whose names are the columns'.
fn leftmost(query: &Query) -> Option<&Select> {
    let mut body = &*query.body;
    loop {
        match body {
            SetExpr::Select(select) => return Some(select),
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Query(inner) => body = &inner.body,
            _ => return None,
        }
    }
}

fn place_of(key: &Expr, select: Option<&Select>) -> Option<OrderKey> {
    match key {
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => return place_of(inner, select),
        Expr::Value(value) => {
            return match &value.value {
                Value::Number(number, _) => {
                    let place: usize = number.to_string().parse().ok()?;
                    place.checked_sub(1).map(OrderKey::Place)
                }
                _ => None,
            };
        }
        _ => {}
    }
    let items = &select?.projection;
    if let Expr::Identifier(name) = key {
        let is_named = items.iter().any(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => folded(alias) == folded(name),
            SelectItem::UnnamedExpr(Expr::Identifier(column)) => folded(column) == folded(name),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                parts.last().is_some_and(|column| folded(column) == folded(name))
            }
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
            _ => false,
        });
        if is_named {
            return Some(OrderKey::Name(folded(name)));
        }
    }
    let is_listed = |item: &SelectItem| {
        matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. })
    };
    // Behind a star nobody knows the place.
    let known = items.iter().take_while(|item| !is_listed(item));
    known
        .into_iter()
        .position(|item| match item {
            SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => {
                expression == key
            }
            _ => false,
        })
        .map(OrderKey::Place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::StatementLimits;

    fn parse(sql: &str) -> ReadOnlySql {
        ReadOnlySql::parse(sql, StatementLimits { bytes_max: 10_000, tokens_max: 1_000 }).unwrap()
    }

    #[test]
    fn an_order_is_shown_by_its_columns() {
        let check = |sql: &str, expect: &str| {
            let order = parse(sql).shown_order();
            let keys = order.keys.iter().map(|key| match key {
                OrderKey::Place(place) => place.to_string(),
                OrderKey::Name(name) => name.clone(),
            });
            let mut shown = vec![if order.is_ordered { "ordered" } else { "free" }.to_owned()];
            shown.extend(keys);
            shown.extend((order.is_ordered && !order.is_whole).then(|| "…".to_owned()));
            shown.extend(order.is_limited.then(|| "limited".to_owned()));
            assert_eq!(shown.join(" "), expect, "{sql}");
        };
        check("SELECT a FROM t", "free");
        check("SELECT a FROM t LIMIT 3", "free limited");
        check("SELECT a, b AS c FROM t ORDER BY 2, a", "ordered 1 a");
        check("SELECT a, b AS c FROM t ORDER BY c DESC NULLS LAST, b", "ordered c 1");
        check("SELECT t.a, b + 1 FROM t ORDER BY t.a, b + 1, t.b", "ordered 0 1 …");
        check("SELECT a FROM t ORDER BY lower(a), a", "ordered …");
        check("SELECT name FROM t ORDER BY name COLLATE \"C\"", "ordered name");
        check("SELECT * FROM t ORDER BY a", "ordered a");
        check("SELECT *, a + 1 AS b FROM t ORDER BY a + 1", "ordered …");
        check("SELECT a FROM t UNION ALL SELECT b FROM u ORDER BY a FETCH FIRST 2 ROWS ONLY", "ordered a limited");
        check("WITH w AS (SELECT a FROM t ORDER BY a) SELECT a FROM w", "free");
    }

    #[test]
    fn quotients_are_seen() {
        let check = |sql: &str, expect: bool| assert_eq!(parse(sql).has_quotients(), expect, "{sql}");
        check("SELECT sum(a) + 1 AS x FROM t", false);
        check("SELECT a / 2 AS x FROM t", true);
        check("SELECT x FROM (SELECT avg(a) AS x FROM t) u", true);
        check("SELECT round(stddev_pop(a), 2) AS x FROM t", true);
        check("SELECT a AS avg FROM t", false);
    }
}
