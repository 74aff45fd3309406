//! Makes the expressions of a statement, and the subqueries in them.

use std::sync::LazyLock;

use super::{
    Body, Distinct, Expression, Kind, Order, Piece, Query, Select,
    generate::{Generator, ORDERS, Place, ROWS_MAX, Scope, Variable},
    grammar::{AGGREGATES, Form, Part, SCALARS, WINDOWS, read},
    schema::literal,
};

static SCALAR_FORMS: LazyLock<Vec<Form>> = LazyLock::new(|| read(SCALARS));
static AGGREGATE_FORMS: LazyLock<Vec<Form>> = LazyLock::new(|| read(AGGREGATES));
static WINDOW_FORMS: LazyLock<Vec<Form>> = LazyLock::new(|| read(WINDOWS));

impl Generator<'_> {
    /// A column of a result.
    pub(super) fn item(&mut self, place: Place<'_>, kind: Kind, is_clean: bool) -> Expression {
        if !is_clean && matches!(kind, Kind::Numeric | Kind::Float8) && self.random.chance(35) {
            let noisy = place.scope.variables.iter().filter(|variable| variable.is_noisy && variable.kind == kind);
            let noisy: Vec<&Variable> = noisy.collect();
            if !noisy.is_empty() && place.keys.is_none() {
                let pieces = vec![Piece::Column(self.random.pick(&noisy).text.clone())];
                return Expression { kind, is_noisy: true, is_wild: false, pieces };
            }
            let (forms, inner) = match (place.keys, place.has_windows) {
                (Some(_), _) if self.random.chance(80) => (&AGGREGATE_FORMS, Place::row(place.scope)),
                (None, true) => (&WINDOW_FORMS, Place::row(place.scope)),
                _ => (&SCALAR_FORMS, place),
            };
            if let Some(made) = self.form(forms, inner, kind, 1, true) {
                return made;
            }
        }
        let depth = self.random.below(4);
        self.expression(place, kind, depth)
    }

    /// An expression that is not noisy. Wild columns are as they are where nothing is computed with them.
    pub(super) fn expression(&mut self, place: Place<'_>, kind: Kind, depth: usize) -> Expression {
        let wild = place.scope.variables.iter().filter(|variable| variable.kind == kind && variable.is_wild);
        let wild: Vec<&Variable> = wild.collect();
        if depth == 0 && place.keys.is_none() && !wild.is_empty() && self.random.chance(40) {
            let pieces = vec![Piece::Column(self.random.pick(&wild).text.clone())];
            return Expression { kind, is_noisy: false, is_wild: true, pieces };
        }
        self.tamed(place, kind, depth)
    }

    /// An expression whose value one can compute with.
    pub(super) fn tamed(&mut self, place: Place<'_>, kind: Kind, depth: usize) -> Expression {
        let has_leaf = place.scope.variables.iter().any(|variable| variable.kind == kind && !variable.is_noisy);
        if depth == 0 || self.random.chance(if has_leaf { 35 } else { 15 }) {
            return self.leaf(place, kind);
        }
        if place.has_windows && self.random.chance(35) {
            let made = self.form(&WINDOW_FORMS, Place::row(place.scope), kind, depth - 1, false);
            if let Some(made) = made {
                return made;
            }
        }
        if place.has_queries && self.random.chance(if kind == Kind::Bool { 22 } else { 4 }) {
            return self.subquery(place, kind);
        }
        let made = self.form(&SCALAR_FORMS, place, kind, depth - 1, false);
        made.unwrap_or_else(|| self.leaf(place, kind))
    }

    fn leaf(&mut self, place: Place<'_>, kind: Kind) -> Expression {
        if let Some(keys) = place.keys {
            let same: Vec<&Expression> = keys.iter().filter(|key| key.kind == kind).collect();
            if !same.is_empty() && self.random.chance(50) {
                return (*self.random.pick(&same)).clone();
            }
            let made = self.form(&AGGREGATE_FORMS, Place::row(place.scope), kind, 1, false);
            if let Some(mut made) = made.filter(|_| self.random.chance(85)) {
                if self.random.chance(20) && !super::sql_of(&made).starts_with(['(', 'r', 'a']) {
                    let condition = self.tamed(Place::row(place.scope), Kind::Bool, 1);
                    made.pieces.extend([
                        Piece::Text(" FILTER (WHERE ".into()),
                        Piece::Child(condition),
                        Piece::Text(")".into()),
                    ]);
                }
                return made;
            }
            return self.constant(kind);
        }
        let outer = self.outer.as_ref().filter(|_| self.random.chance(25));
        let fits = |scope: &Scope| -> Vec<Variable> {
            let variables = scope.variables.iter();
            variables.filter(|variable| variable.kind == kind && !variable.is_noisy).cloned().collect()
        };
        let mut variables = outer.map(fits).unwrap_or_default();
        if variables.is_empty() {
            variables = fits(place.scope);
        }
        if variables.is_empty() || self.random.chance(15) {
            return self.constant(kind);
        }
        let variable = self.random.pick(&variables).clone();
        let (before, behind) = match kind {
            _ if !variable.is_wild => ("", ""),
            Kind::Int2 => ("(", " % 100::int2)"),
            Kind::Int4 | Kind::Numeric => ("(", " % 1000)"),
            Kind::Int8 => ("(", " % 100000)"),
            Kind::Float8 => ("greatest(least(", ", 1000), -1000)"),
            _ => ("", ""),
        };
        let pieces = vec![Piece::Text(before.into()), Piece::Column(variable.text), Piece::Text(behind.into())];
        Expression { kind, is_noisy: false, is_wild: false, pieces }
    }

    fn constant(&mut self, kind: Kind) -> Expression {
        match self.random.chance(6) {
            true => Expression::null(kind),
            false => Expression::leaf(kind, literal(&mut self.random, kind)),
        }
    }

    fn form(
        &mut self,
        forms: &[Form],
        place: Place<'_>,
        kind: Kind,
        depth: usize,
        is_noisy: bool,
    ) -> Option<Expression> {
        let is_total = self.total(place).is_some();
        let needs_total = |form: &Form| form.parts.iter().any(|part| matches!(part, Part::Window("total" | "rows")));
        let fits = |form: &&Form| form.kind == kind && form.is_noisy == is_noisy && (is_total || !needs_total(form));
        let fitting: Vec<&Form> = forms.iter().filter(fits).collect();
        if fitting.is_empty() {
            return None;
        }
        // Rather one that columns can be put into: constants show little.
        let variables = &place.scope.variables;
        let has = |kind: Kind| variables.iter().any(|variable| variable.kind == kind);
        let reads = |form: &Form| form.parts.iter().any(|part| matches!(part, Part::Of(kind) if has(*kind)));
        let mut form = *self.random.pick(&fitting);
        for _ in 0..4 {
            if !reads(form) {
                form = *self.random.pick(&fitting);
            }
        }
        let mut pieces = Vec::new();
        for part in &form.parts {
            match part {
                Part::Text(text) => pieces.push(Piece::Text(text.clone())),
                Part::Of(kind) => pieces.push(Piece::Child(self.tamed(place, *kind, depth))),
                Part::Again(index) => pieces.push(Piece::Again(*index)),
                Part::Number(from, to) => pieces.push(Piece::Text(self.random.between(*from, *to).to_string())),
                Part::Word(words) => pieces.push(Piece::Text(self.random.pick(words).clone())),
                Part::Window(window) => self.window(&mut pieces, place, window),
            }
        }
        Some(Expression { kind, is_noisy, is_wild: false, pieces })
    }

    /// What orders the rows, where a window may ask for it.
    fn total(&self, place: Place<'_>) -> Option<Vec<String>> {
        place.scope.total.clone().filter(|_| place.scope.is_keyed || !self.has_loose_window)
    }

    /// What stands behind OVER.
    fn window(&mut self, pieces: &mut Vec<Piece>, place: Place<'_>, window: &str) {
        let mut push = |text: &str| pieces.push(Piece::Text(text.to_owned()));
        push("(");
        if self.random.chance(50) {
            push("PARTITION BY ");
            let kind = self.kind(Some(place.scope), true);
            pieces.push(Piece::Child(self.tamed(place, kind, 0)));
            pieces.push(Piece::Text(" ".into()));
        }
        let total = self.total(place);
        let (is_range, is_rows) = match window {
            "any" if self.random.chance(40) => return pieces.push(Piece::Text(")".into())),
            "frame" if self.random.chance(25) || total.is_none() => (self.random.chance(60), false),
            "rows" | "frame" => (false, true),
            _ => (false, false),
        };
        pieces.push(Piece::Text("ORDER BY ".into()));
        if is_range {
            let kind = *self.random.pick(&[Kind::Int4, Kind::Date, Kind::Timestamp]);
            pieces.push(Piece::Child(self.tamed(place, kind, 1)));
            let step = if kind == Kind::Int4 { "2" } else { "INTERVAL '40 days'" };
            let end = if self.random.chance(50) { "CURRENT ROW".to_owned() } else { format!("{step} FOLLOWING") };
            return pieces.push(Piece::Text(format!(" RANGE BETWEEN {step} PRECEDING AND {end})")));
        }
        let kind = self.kind(Some(place.scope), true);
        if !is_rows || self.random.chance(50) {
            pieces.push(Piece::Child(self.tamed(place, kind, 1)));
            pieces.push(Piece::Text((*self.random.pick(&ORDERS)).to_owned()));
        } else {
            pieces.push(Piece::Text("1".into()));
        }
        if matches!(window, "total" | "rows") || is_rows {
            self.has_loose_window |= !place.scope.is_keyed;
            for key in total.unwrap_or_default() {
                pieces.push(Piece::Text(", ".into()));
                pieces.push(Piece::Column(key));
            }
        }
        if is_rows {
            let starts = ["UNBOUNDED PRECEDING", "1 PRECEDING", "CURRENT ROW", "3 PRECEDING"];
            let ends = ["CURRENT ROW", "1 FOLLOWING", "UNBOUNDED FOLLOWING", "2 FOLLOWING"];
            let unit = *self.random.pick(&["ROWS", "ROWS", "ROWS", "GROUPS"]);
            let (start, end) = (self.random.pick(&starts), self.random.pick(&ends));
            pieces.push(Piece::Text(format!(" {unit} BETWEEN {start} AND {end}")));
        }
        pieces.push(Piece::Text(")".into()));
    }

    /// A subquery that gives a value of this type; it may read the columns around it.
    fn subquery(&mut self, place: Place<'_>, kind: Kind) -> Expression {
        let had = self.outer.take();
        let (from, scope) = self.atom(0);
        if place.keys.is_none() && self.random.chance(60) && scope.row_count * place.scope.row_count < 200_000 {
            self.outer = Some(place.scope.clone());
        }
        let mut filter = self.random.chance(60).then(|| self.tamed(Place::row(&scope), Kind::Bool, 1));
        if let Some(condition) = self.outer.clone().and_then(|outer| self.equality(&scope, &outer)) {
            filter = Some(condition);
        }
        self.outer = None;
        let select = |item| Select {
            distinct: Distinct::No,
            items: vec![item],
            from: Some(from),
            filter,
            group: None,
            having: None,
        };
        let query = |select, order, limit| {
            Piece::Query(Box::new(Query { with: Vec::new(), body: Body::Select(Box::new(select)), order, limit }))
        };
        let mut pieces = Vec::new();
        if kind == Kind::Bool && self.random.chance(85) {
            let inner = self.kind(Some(&scope), true);
            let item = self.tamed(Place::row(&scope), inner, 0);
            match self.random.below(3) {
                0 => pieces.push(Piece::Text((*self.random.pick(&["EXISTS (", "(NOT EXISTS ("])).to_owned())),
                1 => {
                    let word = *self.random.pick(&[" IN (", " NOT IN ("]);
                    pieces.extend([
                        Piece::Text("(".into()),
                        Piece::Child(self.tamed(place, inner, 0)),
                        Piece::Text(word.into()),
                    ]);
                }
                _ => {
                    let operator = *self.random.pick(&["=", "<>", "<", ">="]);
                    let word = *self.random.pick(&["ANY", "ALL"]);
                    let left = self.tamed(place, inner, 0);
                    pieces.extend([
                        Piece::Text("(".into()),
                        Piece::Child(left),
                        Piece::Text(format!(" {operator} {word} (")),
                    ]);
                }
            }
            let opened: usize = pieces
                .iter()
                .map(|piece| if let Piece::Text(text) = piece { text.matches('(').count() } else { 0 })
                .sum();
            pieces.push(query(select(item), Vec::new(), None));
            pieces.push(Piece::Text(")".repeat(opened)));
        } else {
            let sorted = self.random.chance(20) && kind != Kind::Interval;
            let aggregate = match sorted {
                true => None,
                false => self.form(&AGGREGATE_FORMS, Place::row(&scope), kind, 0, false),
            };
            let is_one = aggregate.is_some();
            let item = aggregate.unwrap_or_else(|| self.tamed(Place::row(&scope), kind, 0));
            let order = if is_one { Vec::new() } else { vec![Order { place: 0, how: "" }] };
            // Of equal values it does not matter which one it is.
            let limit = if is_one { None } else { Some((1, 0)) };
            pieces.extend([Piece::Text("(".into()), query(select(item), order, limit), Piece::Text(")".into())]);
        }
        self.outer = had;
        Expression { kind, is_noisy: false, is_wild: false, pieces }
    }

    /// `left.x = right.y`, of columns of one type.
    pub(super) fn equality(&mut self, left: &Scope, right: &Scope) -> Option<Expression> {
        let is_joined =
            |left: &Variable, right: &Variable| left.kind == right.kind && !left.is_noisy && !right.is_noisy;
        let pairs = left.variables.iter().flat_map(|one| right.variables.iter().map(move |other| (one, other)));
        let is_few = left.row_count * right.row_count <= ROWS_MAX;
        let pairs: Vec<_> = pairs
            .filter(|(one, other)| is_joined(one, other) && (is_few || one.is_unique || other.is_unique))
            .collect();
        let (one, other) = if pairs.is_empty() { None } else { Some(*self.random.pick(&pairs)) }?;
        let pieces = vec![
            Piece::Text("(".into()),
            Piece::Column(one.text.clone()),
            Piece::Text(" = ".into()),
            Piece::Column(other.text.clone()),
            Piece::Text(")".into()),
        ];
        Some(Expression { kind: Kind::Bool, is_noisy: false, is_wild: false, pieces })
    }
}
