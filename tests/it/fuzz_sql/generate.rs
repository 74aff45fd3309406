//! Makes a statement of random parts.

use super::{
    Body, Distinct, Expression, Group, Kind, On, Order, Output, Piece, Query, Random, Schema, Select, Source,
    schema::Column,
};

/// More rows than this no join makes.
pub(super) const ROWS_MAX: usize = 4_000;
pub(super) const ORDERS: [&str; 6] = ["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST", " ASC"];

/// A random statement over the schema's tables; the same for the same seed.
pub(crate) fn generate(seed: u64, schema: &Schema) -> Query {
    let mut generator = Generator {
        random: Random::new(seed),
        schema,
        names: 0,
        named: Vec::new(),
        outer: None,
        has_loose_window: false,
    };
    generator.query(2, &Wish { is_top: true, ..Wish::default() }).0
}

/// A column that an expression may read.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) text: String,
    pub(super) kind: Kind,
    pub(super) is_noisy: bool,
    pub(super) is_wild: bool,
    /// No other row of its table has the same.
    pub(super) is_unique: bool,
    /// A query made it, and Postgres may put what it was made of in its place.
    pub(super) is_made: bool,
}

/// What the rows of a FROM clause have.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) variables: Vec<Variable>,
    /// What orders the rows so that only equal ones may change places.
    pub(super) total: Option<Vec<String>>,
    /// Whether that tells each row from all others.
    pub(super) is_keyed: bool,
    pub(super) row_count: usize,
}

/// Where an expression stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) scope: &'a Scope,
    /// Behind GROUP BY, what it is by.
    pub(super) keys: Option<&'a [Expression]>,
    pub(super) has_windows: bool,
    pub(super) has_queries: bool,
}

impl<'a> Place<'a> {
    pub(super) const fn row(scope: &'a Scope) -> Self {
        Self { scope, keys: None, has_windows: false, has_queries: false }
    }
}

/// What a query is to be like.
#[derive(Clone, Debug, Default)]
struct Wish {
    is_top: bool,
    /// Types of the columns; any if there are none.
    kinds: Vec<Kind>,
    /// Whether no column may differ by noise, or have two spellings of one value.
    is_clean: bool,
}

pub(super) struct Generator<'a> {
    pub(super) random: Random,
    pub(super) schema: &'a Schema,
    pub(super) names: usize,
    /// Common table expressions: name and columns.
    pub(super) named: Vec<(String, Vec<Output>, usize)>,
    /// What a correlated subquery may read.
    pub(super) outer: Option<Scope>,
    /// Whether the SELECT has a window that equal rows have no order in. Those of two windows would not meet in the same rows.
    pub(super) has_loose_window: bool,
}

impl Generator<'_> {
    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    /// A query, and about how many rows it gives.
    fn query(&mut self, depth: usize, wish: &Wish) -> (Query, usize) {
        let mut with = Vec::new();
        if wish.is_top && self.random.chance(15) {
            for _ in 0..=self.random.below(2) {
                let (query, rows) = self.query(1, &Wish::default());
                let name = self.name("w");
                self.named.push((name.clone(), query.body.columns(), rows));
                with.push((name, query));
            }
        }
        let (mut body, mut rows) = self.body(depth, wish);
        let columns = body.columns();
        let is_clean =
            columns.iter().all(|(kind, is_noisy, _)| !is_noisy && *kind != Kind::Interval) && !body.has_sets();
        let mut order = Vec::new();
        let is_limited = is_clean && self.random.chance(if wish.is_top { 25 } else { 10 });
        let mut first = 0;
        if let Body::Select(select) = &mut body
            && is_clean
            && select.distinct == Distinct::No
            && self.random.chance(6)
        {
            first = 1 + self.random.below(columns.len());
            select.distinct = Distinct::On(first);
        }
        if is_limited || first > 0 || (wish.is_top && self.random.chance(75)) {
            let mut places: Vec<usize> = (0..columns.len()).collect();
            for place in (first + 1..places.len()).rev() {
                places.swap(place, first + self.random.below(place - first + 1));
            }
            // What may differ by noise must not decide.
            places[first..].sort_by_key(|place| columns[*place].1);
            order =
                places.into_iter().map(|place| Order { place, how: ORDERS[self.random.below(ORDERS.len())] }).collect();
        }
        let mut limit = None;
        if is_limited {
            let offset = if self.random.chance(25) { self.random.between(1, 3) } else { 0 };
            limit = Some((self.random.between(0, 12), offset));
            rows = rows.min(12);
        }
        (Query { with, body, order, limit }, rows)
    }

    fn body(&mut self, depth: usize, wish: &Wish) -> (Body, usize) {
        if self.random.chance(10) && depth > 0 {
            let kinds = match wish.kinds.is_empty() {
                true => (0..=self.random.below(3)).map(|_| self.kind(None, true)).collect(),
                false => wish.kinds.clone(),
            };
            let sides = Wish { is_top: false, is_clean: true, kinds };
            let (left, left_rows) = self.select(depth - 1, &sides);
            let (right, right_rows) = self.select(depth - 1, &sides);
            let is_interval = sides.kinds.contains(&Kind::Interval);
            let operations = ["UNION ALL", "UNION", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"];
            let operation = if is_interval { operations[0] } else { *self.random.pick(&operations) };
            return (Body::Set(operation, Box::new(left), Box::new(right)), left_rows + right_rows);
        }
        if self.random.chance(3) {
            let kinds = match wish.kinds.is_empty() {
                true => (0..=self.random.below(3)).map(|_| self.kind(None, wish.is_clean)).collect(),
                false => wish.kinds.clone(),
            };
            let nothing = Scope::default();
            let count = 1 + self.random.below(4);
            let mut row = || kinds.iter().map(|kind| self.expression(Place::row(&nothing), *kind, 1)).collect();
            return (Body::Values((0..count).map(|_| row()).collect()), count);
        }
        self.select(depth, wish)
    }

    fn select(&mut self, depth: usize, wish: &Wish) -> (Body, usize) {
        let (from, scope) = match self.random.chance(3) {
            true => (None, Scope { row_count: 1, ..Scope::default() }),
            false => {
                let (source, scope) = self.source(depth);
                (Some(source), scope)
            }
        };
        let row = Place { has_queries: depth > 0, ..Place::row(&scope) };
        let filter = (from.is_some() && self.random.chance(40)).then(|| self.expression(row, Kind::Bool, 2));
        let mut select = Select { distinct: Distinct::No, items: Vec::new(), from, filter, group: None, having: None };
        let mut row_count = scope.row_count;
        if self.random.chance(35) && !scope.variables.is_empty() {
            // Aggregates of columns of the query around it alone would be that one's.
            let outer = self.outer.take();
            row_count = self.group(&mut select, &scope, wish);
            self.outer = outer;
        } else {
            let has_windows = self.random.chance(30) && !scope.variables.is_empty();
            let place = Place { has_windows, ..row };
            let had_loose_window = std::mem::take(&mut self.has_loose_window);
            select.items = self.items(place, wish);
            self.has_loose_window = had_loose_window;
            let is_distinct = select.items.iter().all(|item| !item.is_noisy && item.kind != Kind::Interval);
            if is_distinct && self.random.chance(12) {
                select.distinct = Distinct::Yes;
            }
        }
        (Body::Select(Box::new(select)), row_count)
    }

    fn items(&mut self, place: Place<'_>, wish: &Wish) -> Vec<Expression> {
        if !wish.kinds.is_empty() {
            return wish.kinds.iter().map(|kind| self.item(place, *kind, true)).collect();
        }
        let count = 1 + self.random.below(4);
        let mut item = || {
            let kind = self.kind(Some(place.scope), wish.is_clean);
            self.item(place, kind, wish.is_clean)
        };
        (0..count).map(|_| item()).collect()
    }

    /// GROUP BY, and what may stand above it; about how many rows it leaves.
    fn group(&mut self, select: &mut Select, scope: &Scope, wish: &Wish) -> usize {
        let mut shape = match self.random.below(10) {
            0 | 1 => "positions",
            2 => "ROLLUP ",
            3 => "CUBE ",
            4 => "GROUPING SETS ",
            _ => "",
        };
        if !wish.kinds.is_empty() && shape == "positions" {
            shape = "";
        }
        let count = *self.random.pick(&[0, 1, 1, 1, 2, 2, 3]);
        // With sets Postgres itself mixes up expressions that it can make simpler, and columns that are one below.
        let is_simple = matches!(shape, "ROLLUP " | "CUBE " | "GROUPING SETS ");
        let mut keys: Vec<Expression> = (0..count).filter_map(|_| self.key(scope, is_simple)).collect();
        keys.dedup_by_key(|key| super::sql_of(key));
        let place = Place { scope, keys: Some(&keys), has_windows: false, has_queries: false };
        let mut items = Vec::new();
        if wish.kinds.is_empty() {
            let shown = if shape == "positions" { keys.len() } else { self.random.below(keys.len() + 1) };
            items.extend(keys.iter().take(shown).cloned());
        }
        if !shape.is_empty() && shape != "positions" && !keys.is_empty() && wish.kinds.is_empty() {
            let key = self.random.pick(&keys).clone();
            let pieces = vec![Piece::Text("grouping(".into()), Piece::Child(key), Piece::Text(")".into())];
            items.push(Expression { kind: Kind::Int4, is_noisy: false, is_wild: false, pieces });
        }
        items.extend(self.items(place, wish));
        select.items = items;
        select.having = self.random.chance(20).then(|| self.expression(place, Kind::Bool, 2));
        let row_count = if keys.is_empty() { 1 } else { scope.row_count.min(100) };
        select.group = Some(Group { shape, keys });
        row_count
    }

    fn key(&mut self, scope: &Scope, is_simple: bool) -> Option<Expression> {
        let mut scope = scope.clone();
        scope.variables.retain(|variable| !(is_simple && variable.is_made));
        for _ in 0..10 {
            let kind = self.kind(Some(&scope), true);
            // Postgres takes `a OR b` for another value within `a OR b OR c`.
            let depth = usize::from(!is_simple && kind != Kind::Bool && self.random.chance(30));
            let key = self.tamed(Place::row(&scope), kind, depth);
            if kind != Kind::Interval && key.has_column() {
                return Some(key);
            }
        }
        None
    }

    /// A type, mostly one that the rows have.
    pub(super) fn kind(&mut self, scope: Option<&Scope>, is_clean: bool) -> Kind {
        loop {
            let kind = match scope {
                Some(scope) if !scope.variables.is_empty() && self.random.chance(70) => {
                    self.random.pick(&scope.variables).kind
                }
                _ => *self.random.pick(&Kind::ALL),
            };
            if !(is_clean && kind == Kind::Interval) {
                return kind;
            }
        }
    }

    fn source(&mut self, depth: usize) -> (Source, Scope) {
        let (mut source, mut scope) = self.atom(depth);
        for _ in 0..*self.random.pick(&[0, 0, 0, 1, 1, 1, 2]) {
            let is_lateral = depth > 0 && self.random.chance(6) && scope.row_count <= 100;
            if is_lateral {
                self.outer = Some(scope.clone());
            }
            let (right, other) = if is_lateral { self.derived(0, true) } else { self.atom(depth) };
            self.outer = None;
            let product = scope.row_count * other.row_count;
            let using = match (&source, &right) {
                (Source::Named(_), Source::Named(_)) => "id",
                _ => "",
            };
            let has_id = |scope: &Scope| scope.variables.iter().any(|variable| variable.text.ends_with(".id"));
            let condition = self.equality(&scope, &other);
            let (join, on) = if is_lateral || (product <= 400 && self.random.chance(15)) {
                ("CROSS JOIN", On::Nothing)
            } else if using == "id" && has_id(&scope) && has_id(&other) && self.random.chance(40) {
                (*self.random.pick(&["JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"]), On::Using("id".into()))
            } else if let Some(condition) = condition {
                (*self.random.pick(&["JOIN", "JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"]), On::Condition(condition))
            } else {
                continue;
            };
            scope.variables.extend(other.variables);
            scope.total = scope.total.zip(other.total).map(|(left, right)| [left, right].concat());
            scope.is_keyed &= other.is_keyed;
            scope.row_count = match &on {
                On::Nothing => product,
                _ => (product / 4).min(ROWS_MAX).max(scope.row_count),
            };
            let on = match on {
                On::Condition(condition) if !join.starts_with("FULL") && self.random.chance(15) => {
                    let more = self.tamed(Place::row(&scope), Kind::Bool, 1);
                    let pieces = vec![
                        Piece::Text("(".into()),
                        Piece::Child(condition),
                        Piece::Text(" AND ".into()),
                        Piece::Child(more),
                        Piece::Text(")".into()),
                    ];
                    On::Condition(Expression { kind: Kind::Bool, is_noisy: false, is_wild: false, pieces })
                }
                on => on,
            };
            scope.variables.iter_mut().for_each(|variable| variable.is_unique = false);
            source = Source::Join { join, left: Box::new(source), right: Box::new(right), on };
        }
        (source, scope)
    }

    /// One thing to read from.
    pub(super) fn atom(&mut self, depth: usize) -> (Source, Scope) {
        if !self.named.is_empty() && self.random.chance(40) {
            let (name, columns, row_count) = self.random.pick(&self.named).clone();
            let alias = self.name("t");
            return (Source::Named(format!("{name} AS {alias}")), scope_of(&alias, &columns, row_count));
        }
        if depth > 0 && self.random.chance(18) {
            return self.derived(depth - 1, false);
        }
        if self.random.chance(4) {
            let alias = self.name("t");
            let end = self.random.between(0, 9);
            let named = format!("generate_series(1, {end}) AS {alias} (c1)");
            return (Source::Named(named), scope_of(&alias, &[(Kind::Int4, false, false)], 9));
        }
        let table = self.random.pick(&self.schema.tables);
        let alias = self.name("t");
        let keys: Vec<String> = table
            .columns
            .iter()
            .filter(|column| column.is_key)
            .map(|column| format!("{alias}.{}", column.name))
            .collect();
        let variable = |column: &Column| Variable {
            text: format!("{alias}.{}", column.name),
            kind: column.kind,
            is_noisy: false,
            is_wild: column.is_wild,
            is_unique: column.is_key && keys.len() == 1,
            is_made: false,
        };
        let variables = table.columns.iter().map(variable).collect();
        let scope = Scope { variables, total: Some(keys.clone()), is_keyed: true, row_count: table.row_count };
        (Source::Named(format!("{} AS {alias}", table.name)), scope)
    }

    fn derived(&mut self, depth: usize, is_lateral: bool) -> (Source, Scope) {
        let (query, row_count) = self.query(depth, &Wish::default());
        let alias = self.name("t");
        let scope = scope_of(&alias, &query.body.columns(), row_count);
        (Source::Derived { query: Box::new(query), alias, is_lateral }, scope)
    }
}

fn scope_of(alias: &str, columns: &[Output], row_count: usize) -> Scope {
    let variables: Vec<Variable> = columns
        .iter()
        .zip(1..)
        .map(|((kind, is_noisy, is_wild), place)| Variable {
            text: format!("{alias}.c{place}"),
            kind: *kind,
            is_noisy: *is_noisy,
            is_wild: *is_wild,
            is_unique: false,
            is_made: true,
        })
        .collect();
    let is_total = columns.len() <= 5 && columns.iter().all(|(kind, is_noisy, _)| !is_noisy && *kind != Kind::Interval);
    let total = is_total.then(|| variables.iter().map(|variable| variable.text.clone()).collect());
    Scope { variables, total, is_keyed: false, row_count }
}
