//! Which tables a statement names, and which of them it limits to `$tenant` by itself.
//!
//! Owns: [`TableUse`]. What cannot be seen to be limited is taken for not limited; nothing here makes a statement safe, it only sees that
//! one is. Must not know: which tables there are.

use std::{
    collections::{BTreeSet, HashMap},
    ops::{ControlFlow, Range},
};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, JoinConstraint, JoinOperator, ObjectName, Query, Select, SetExpr, TableFactor,
    TableWithJoins, Value, Visit, Visitor,
};

use super::{ReadOnlySql, labels::folded};

/// A place where a statement reads a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableUse {
    /// As it was written; none where the table is named alone.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
    /// Whether no row of another tenant takes part: each row's tenant is compared with `$tenant`, by itself or through a table that is
    /// limited.
    pub is_bound: bool,
}

impl ReadOnlySql {
    /// Every place where the statement names a table that is not one of its own. `tenant_column` says of a table (schema and name) which
    /// column holds its tenant, if one does.
    pub fn tables_used(&self, tenant_column: impl Fn(Option<&str>, &str) -> Option<String>) -> Vec<TableUse> {
        let tenant = self.names().iter().position(|name| name == "tenant").map(|index| format!("${}", index + 1));
        let mut finder = Finder {
            tenant_column: &tenant_column,
            tenant,
            uses: Vec::new(),
            own: Vec::new(),
            within: HashMap::new(),
            named: Vec::new(),
        };
        // It never breaks off.
        let _ = self.statement().visit(&mut finder);
        let Finder { mut uses, named, .. } = finder;
        // A place that no SELECT accounts for is not limited.
        for (schema, table) in &named {
            let places = named.iter().filter(|named| (&named.0, &named.1) == (schema, table)).count();
            let seen = uses.iter().filter(|used| (&used.schema, &used.table) == (schema, table)).count();
            if seen < places {
                uses.push(TableUse { schema: schema.clone(), table: table.clone(), is_bound: false });
            }
        }
        uses.sort();
        uses.dedup();
        uses
    }
}

struct Finder<'a, F> {
    tenant_column: &'a F,
    /// `$1`, or whatever its number is.
    tenant: Option<String>,
    uses: Vec<TableUse>,
    /// For each query that is being looked at, the names of WITH queries that are seen in it.
    own: Vec<BTreeSet<String>>,
    /// The same, for each WITH query that is still to come, by where it is.
    within: HashMap<usize, BTreeSet<String>>,
    /// Every name where a table can stand.
    named: Vec<(Option<String>, String)>,
}

impl<F: Fn(Option<&str>, &str) -> Option<String>> Visitor for Finder<'_, F> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let outside = self.within.remove(&place(query)).or_else(|| self.own.last().cloned());
        let mut own = outside.unwrap_or_default();
        if let Some(with) = &query.with {
            let names = || with.cte_tables.iter().map(|table| folded(&table.alias.name));
            if with.recursive {
                own.extend(names());
            }
            // Each sees those before it; under its own name it finds the table of that name.
            for (table, name) in with.cte_tables.iter().zip(names()) {
                self.within.insert(place(&table.query), own.clone());
                own.insert(name);
            }
        }
        self.own.push(own);
        self.body(&query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.own.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: None, .. } = factor {
            let (schema, table) = parts(name);
            if !self.is_own(schema.as_deref(), &table) {
                self.named.push((schema, table));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Where a query is, as long as its statement is looked at.
fn place(query: &Query) -> usize {
    std::ptr::from_ref(query).addr()
}

impl<F: Fn(Option<&str>, &str) -> Option<String>> Finder<'_, F> {
    /// Whether a name means a WITH query here, and no table.
    fn is_own(&self, schema: Option<&str>, name: &str) -> bool {
        schema.is_none() && self.own.last().is_some_and(|own| own.contains(name))
    }

    /// Queries within are visited by themselves.
    fn body(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            _ => {}
        }
    }

    fn select(&mut self, select: &Select) {
        let mut scope = Scope::default();
        for from in &select.from {
            self.joined(from, &mut scope);
        }
        let all = 0..scope.relations.len();
        if let Some(condition) = &select.selection {
            scope.add(condition, all.clone(), self.tenant.as_deref());
        }
        // Until nothing more is limited through what is.
        loop {
            let bound = all.clone().find(|index| !scope.relations[*index].is_bound && self.is_bound(&scope, *index));
            match bound {
                Some(index) => scope.relations[index].is_bound = true,
                None => break,
            }
        }
        self.uses.extend(scope.relations.into_iter().filter_map(|relation| {
            let (schema, table) = relation.table?;
            Some(TableUse { schema, table, is_bound: relation.is_bound })
        }));
    }

    fn joined<'s>(&self, from: &'s TableWithJoins, scope: &mut Scope<'s>) {
        let first = scope.relations.len();
        self.factor(&from.relation, scope);
        for join in &from.joins {
            let before = scope.relations.len();
            self.factor(&join.relation, scope);
            let after = scope.relations.len();
            // On which side a condition decides whether a row takes part, and not only whether it finds its like.
            let (constraint, limited) = match &join.join_operator {
                JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (constraint, first..after),
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (constraint, before..after),
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (constraint, first..before),
                _ => continue,
            };
            if let JoinConstraint::On(condition) = constraint {
                scope.add(condition, limited, self.tenant.as_deref());
            }
        }
    }

    fn factor<'s>(&self, factor: &'s TableFactor, scope: &mut Scope<'s>) {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let (schema, table) = parts(name);
                let is_own = self.is_own(schema.as_deref(), &table);
                let tenant_column = (self.tenant_column)(schema.as_deref(), &table).filter(|_| !is_own);
                // Columns that an alias renames are not looked into.
                let renames = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
                let name = alias.as_ref().map_or_else(|| table.clone(), |alias| folded(&alias.name));
                let tenant_column = tenant_column.filter(|_| !renames);
                let table = (!is_own).then_some((schema, table));
                scope.relations.push(Relation { name, table, tenant_column, is_bound: false });
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.joined(table_with_joins, scope),
            other => {
                let alias = match other {
                    TableFactor::Derived { alias, .. } | TableFactor::Table { alias, .. } => alias.as_ref(),
                    _ => None,
                };
                let name = alias.map(|alias| folded(&alias.name)).unwrap_or_default();
                scope.relations.push(Relation { name, table: None, tenant_column: None, is_bound: false });
            }
        }
    }

    fn is_bound(&self, scope: &Scope<'_>, index: usize) -> bool {
        let limits = |(left, right): (&Expr, &Expr)| {
            scope.is_tenant_of(left, index)
                && (self.is_parameter(right)
                    || (0..scope.relations.len()).any(|other| {
                        other != index && scope.relations[other].is_bound && scope.is_tenant_of(right, other)
                    }))
        };
        scope.conditions.iter().filter(|(_, limited)| limited.contains(&index)).any(|(condition, _)| {
            let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { return false };
            limits((left, right)) || limits((right, left))
        })
    }

    fn is_parameter(&self, expression: &Expr) -> bool {
        is_parameter(expression, self.tenant.as_deref())
    }
}

fn is_parameter(expression: &Expr, tenant: Option<&str>) -> bool {
    match expression {
        Expr::Value(value) => matches!(&value.value, Value::Placeholder(written) if Some(written.as_str()) == tenant),
        Expr::Nested(inner) => is_parameter(inner, tenant),
        _ => false,
    }
}

/// `$tenant IS NULL`
fn is_absent(expression: &Expr, tenant: Option<&str>) -> bool {
    match expression {
        Expr::IsNull(inner) => is_parameter(inner, tenant),
        Expr::Nested(inner) => is_absent(inner, tenant),
        _ => false,
    }
}

/// What one SELECT reads, and on what conditions.
#[derive(Default)]
struct Scope<'a> {
    relations: Vec<Relation>,
    /// Conditions that all hold, each with the relations whose rows it decides on.
    conditions: Vec<(&'a Expr, Range<usize>)>,
}

struct Relation {
    name: String,
    /// None for subqueries and functions.
    table: Option<(Option<String>, String)>,
    tenant_column: Option<String>,
    is_bound: bool,
}

impl<'a> Scope<'a> {
    /// Conditions for whoever sees all tenants, of whom there is no `$tenant`, count for nothing: a tenant has one.
    fn add(&mut self, condition: &'a Expr, limited: Range<usize>, tenant: Option<&str>) {
        match condition {
            Expr::Nested(inner) => self.add(inner, limited, tenant),
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } if is_absent(left, tenant) => {
                self.add(right, limited, tenant);
            }
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } if is_absent(right, tenant) => {
                self.add(left, limited, tenant);
            }
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.add(left, limited.clone(), tenant);
                self.add(right, limited, tenant);
            }
            other => self.conditions.push((other, limited)),
        }
    }

    fn is_tenant_of(&self, expression: &Expr, index: usize) -> bool {
        let relation = &self.relations[index];
        let Some(column) = &relation.tenant_column else { return false };
        match expression {
            Expr::Nested(inner) => self.is_tenant_of(inner, index),
            Expr::Identifier(name) => self.relations.len() == 1 && folded(name) == *column,
            Expr::CompoundIdentifier(names) => match names.as_slice() {
                [of, name] => {
                    let is_only = self.relations.iter().filter(|other| other.name == relation.name).count() == 1;
                    is_only && folded(of) == relation.name && folded(name) == *column
                }
                _ => false,
            },
            _ => false,
        }
    }
}

fn parts(name: &ObjectName) -> (Option<String>, String) {
    let mut names: Vec<String> =
        name.0.iter().map(|part| part.as_ident().map_or_else(|| part.to_string(), folded)).collect();
    let table = names.pop().unwrap_or_default();
    (names.pop(), table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::StatementLimits;

    /// Tables `a` and `b` are of the tenant in `tenant_id`; `s` is known and nobody's.
    fn check(sql: &str, expect: &str) {
        let sql = ReadOnlySql::parse(sql, StatementLimits { bytes_max: 10_000, tokens_max: 1_000 }).unwrap();
        let column = |schema: Option<&str>, table: &str| {
            (schema.is_none_or(|schema| schema == "public") && matches!(table, "a" | "b"))
                .then(|| "tenant_id".to_owned())
        };
        let uses = sql.tables_used(column);
        let shown: Vec<String> =
            uses.iter().map(|used| format!("{}{}", used.table, if used.is_bound { "+" } else { "-" })).collect();
        assert_eq!(shown.join(" "), expect, "{}", sql.text());
    }

    #[test]
    fn a_table_is_bound_where_its_tenant_is_compared() {
        check("SELECT 1 AS x", "");
        check("SELECT x FROM a WHERE tenant_id = $tenant", "a+");
        check("SELECT x FROM a WHERE $tenant = a.tenant_id AND x > 1", "a+");
        check("SELECT x FROM a WHERE (y = 1 AND (tenant_id = $tenant))", "a+");
        check("SELECT x FROM public.A AS t WHERE t.tenant_id = $tenant", "a+");
        check("SELECT x FROM a JOIN s ON s.id = a.s_id WHERE a.tenant_id = $tenant", "a+ s-");
        check(
            "SELECT x FROM a JOIN b ON b.tenant_id = a.tenant_id AND b.id = a.b_id WHERE a.tenant_id = $tenant",
            "a+ b+",
        );
        check(
            "SELECT x FROM a LEFT JOIN b ON b.tenant_id = $tenant AND b.id = a.b_id WHERE a.tenant_id = $tenant",
            "a+ b+",
        );
        check("SELECT x FROM a, b WHERE a.tenant_id = $tenant AND b.tenant_id = $tenant", "a+ b+");
        check("SELECT x FROM s RIGHT JOIN a ON a.id = s.id WHERE a.tenant_id = $tenant", "a+ s-");
        check("WITH w AS (SELECT x FROM a WHERE tenant_id = $tenant) SELECT x FROM w", "a+");
        check("SELECT x FROM a WHERE tenant_id = $tenant UNION ALL SELECT x FROM b WHERE tenant_id = $tenant", "a+ b+");
        check(
            "SELECT (SELECT max(x) FROM b WHERE b.tenant_id = $tenant) AS x FROM a WHERE a.tenant_id = $tenant",
            "a+ b+",
        );
        check("SELECT x FROM a WHERE ($tenant IS NULL OR a.tenant_id = $tenant) AND x > 1", "a+");
        check("SELECT x FROM a WHERE a.tenant_id = $tenant OR ($tenant IS NULL)", "a+");
        check("WITH a AS (SELECT 1 AS x) SELECT x FROM a", "");
        check("WITH a AS (SELECT x FROM a WHERE tenant_id = $tenant) SELECT x FROM a", "a+");
        check("WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM r WHERE x < 3) SELECT x FROM r", "");
        check("SELECT x FROM generate_series(1, 3) AS g (x)", "");
    }

    #[test]
    fn what_is_not_seen_to_be_bound_is_not() {
        check("SELECT x FROM a", "a-");
        check("SELECT x FROM a WHERE tenant_id = $other", "a-");
        check("SELECT x FROM a WHERE tenant_id = $tenant OR true", "a-");
        check("SELECT x FROM a WHERE $other IS NULL OR tenant_id = $tenant", "a-");
        check("SELECT x FROM a WHERE tenant_id IS NULL OR tenant_id = $tenant", "a-");
        check("SELECT x FROM a WHERE $tenant IS NOT NULL OR tenant_id = $tenant", "a-");
        check("SELECT x FROM a WHERE NOT tenant_id = $tenant", "a-");
        check("SELECT x FROM a WHERE tenant_id >= $tenant", "a-");
        check("SELECT x FROM a WHERE tenant_id + 0 = $tenant", "a-");
        check("SELECT x FROM a WHERE id = $tenant", "a-");
        check("SELECT x FROM a AS t (tenant_id, x) WHERE tenant_id = $tenant", "a-");
        check("SELECT x FROM a, b WHERE tenant_id = $tenant", "a- b-");
        check("SELECT x FROM a JOIN b USING (tenant_id) WHERE a.tenant_id = $tenant", "a+ b-");
        check("SELECT x FROM a LEFT JOIN b ON a.tenant_id = $tenant", "a- b-");
        check("SELECT x FROM a FULL JOIN b ON a.tenant_id = $tenant AND b.tenant_id = $tenant", "a- b-");
        check("SELECT x FROM a JOIN a AS t ON t.tenant_id = $tenant", "a- a+");
        check("SELECT x FROM a WHERE a.tenant_id = $tenant UNION ALL SELECT x FROM a", "a- a+");
        check("SELECT x FROM a WHERE tenant_id = $tenant AND EXISTS (SELECT 1 FROM b WHERE b.id = a.id)", "a+ b-");
        check("SELECT x FROM a WHERE tenant_id = $tenant AND x IN (TABLE b)", "a+ b-");
        check("WITH s AS (SELECT x FROM s) SELECT x FROM s", "s-");
        check("SELECT x FROM s WHERE EXISTS (WITH s AS (SELECT 1 AS x) SELECT x FROM s)", "s-");
        check("WITH w AS (SELECT x FROM v), v AS (SELECT 1 AS x) SELECT w.x FROM w, v", "v-");
        check("WITH w AS (WITH s AS (SELECT 1 AS x) SELECT x FROM s) SELECT w.x FROM w, s", "s-");
        check("SELECT x FROM other.a WHERE tenant_id = $tenant", "a-");
    }
}
