//! Random statements for the finder: typed SELECTs that Postgres runs, over the corpus's tables or over random ones.
//!
//! What a statement gives depends on the data alone: LIMIT comes with a total order, rows are numbered in one, texts
//! are collected in their own. Statements are trees, so that one that shows a difference can be made smaller until only
//! the difference is left. Pure: a seed and a schema in, SQL out.

mod expression;
mod generate;
mod grammar;
mod schema;
mod shrink;
mod tenants;

pub(crate) use generate::generate;
pub(crate) use schema::{Schema, corpus, random};
pub(crate) use shrink::shrink;
pub(crate) use tenants::{Tenants, tenants};

use std::fmt::Write as _;

/// The types of expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Numeric,
    Float8,
    Text,
    Varchar,
    Date,
    Timestamp,
    Timestamptz,
    Interval,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Bool,
        Self::Int2,
        Self::Int4,
        Self::Int8,
        Self::Numeric,
        Self::Float8,
        Self::Text,
        Self::Varchar,
        Self::Date,
        Self::Timestamp,
        Self::Timestamptz,
        Self::Interval,
    ];

    /// As Postgres's catalogue has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int2 => "int2",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Numeric => "numeric",
            Self::Float8 => "float8",
            Self::Text => "text",
            Self::Varchar => "varchar",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Timestamptz => "timestamptz",
            Self::Interval => "interval",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// How values are compared, as the corpus writes it.
    const fn letter(self, is_noisy: bool) -> char {
        match self {
            Self::Int2 | Self::Int4 | Self::Int8 => 'I',
            Self::Numeric if is_noisy => 'Q',
            Self::Numeric => 'N',
            Self::Float8 => 'F',
            _ => 'T',
        }
    }
}

/// `SplitMix64`, by Sebastiano Vigna.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn between(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(usize::try_from(to - from + 1).unwrap())).unwrap()
    }

    /// True in so many of a hundred cases.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// A statement.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    with: Vec<(String, Query)>,
    body: Body,
    order: Vec<Order>,
    /// LIMIT and OFFSET.
    limit: Option<(i64, i64)>,
}

#[derive(Clone, Debug)]
enum Body {
    Select(Box<Select>),
    Set(&'static str, Box<Body>, Box<Body>),
    Values(Vec<Vec<Expression>>),
}

#[derive(Clone, Debug)]
struct Select {
    distinct: Distinct,
    items: Vec<Expression>,
    from: Option<Source>,
    filter: Option<Expression>,
    group: Option<Group>,
    having: Option<Expression>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Distinct {
    No,
    Yes,
    /// The first so many columns.
    On(usize),
}

#[derive(Clone, Debug)]
struct Group {
    shape: &'static str,
    keys: Vec<Expression>,
}

/// A column of the result, by its place from 0.
#[derive(Clone, Debug)]
struct Order {
    place: usize,
    how: &'static str,
}

#[derive(Clone, Debug)]
enum Source {
    /// A table, a common table expression or a function, with its alias.
    Named(String),
    Derived {
        query: Box<Query>,
        alias: String,
        is_lateral: bool,
    },
    Join {
        join: &'static str,
        left: Box<Source>,
        right: Box<Source>,
        on: On,
    },
}

#[derive(Clone, Debug)]
enum On {
    Nothing,
    Using(String),
    Condition(Expression),
}

#[derive(Clone, Debug)]
struct Expression {
    kind: Kind,
    is_noisy: bool,
    /// A column's value as it is, which may be too large to compute with.
    is_wild: bool,
    pieces: Vec<Piece>,
}

/// A column of a query: its type, whether it may differ by noise, and whether it may be too large to compute with.
type Output = (Kind, bool, bool);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Column(String),
    Child(Expression),
    /// The child at this place once more.
    Again(usize),
    Query(Box<Query>),
}

/// The statement's text.
pub(crate) fn sql(query: &Query) -> String {
    let mut text = String::new();
    write_query(&mut text, query);
    text
}

/// An expression's text.
fn sql_of(expression: &Expression) -> String {
    let mut text = String::new();
    write_expression(&mut text, expression);
    text
}

/// How to compare each column: I integer, N exact numeric, Q quotient or average, F float, T any other.
pub(crate) fn letters(query: &Query) -> String {
    query.body.columns().iter().map(|(kind, is_noisy, _)| kind.letter(*is_noisy)).collect()
}

/// Whether a common table expression stands there that nothing reads.
pub(crate) fn has_idle(query: &Query) -> bool {
    let text = sql(query);
    query.with.iter().any(|(name, _)| text.matches(&format!("{name} ")).count() < 2)
}

const SETS: &[&str] = &["ROLLUP ", "CUBE ", "GROUPING SETS "];

/// Whether the rows come in an order that is given by their values. What may differ by noise must not decide over another column.
pub(crate) fn is_ordered(query: &Query) -> bool {
    let columns = query.body.columns();
    let decides = query.order.split_last().map_or(&query.order[..], |(_, before)| before);
    if decides.iter().any(|order| columns[order.place].1) {
        return false;
    }
    // Intervals that are equal have several spellings.
    let mut columns = columns.iter().enumerate();
    // What Postgres does not sort by in the query that has grouping sets, it does not sort by around it either.
    let text = sql(query);
    !SETS.iter().any(|shape| text.contains(shape))
        && columns
            .all(|(place, (kind, ..))| *kind != Kind::Interval && query.order.iter().any(|order| order.place == place))
}

impl Body {
    /// Grouping sets. Postgres 15 takes a key that is constant, or equal to another, to be so where a set leaves it out, too, and does not
    /// sort by it.
    fn has_sets(&self) -> bool {
        matches!(self, Self::Select(select) if select.group.as_ref().is_some_and(|group| SETS.contains(&group.shape)))
    }

    /// Of the rows.
    fn columns(&self) -> Vec<Output> {
        let output = |item: &Expression| (item.kind, item.is_noisy, item.is_wild);
        match self {
            Self::Select(select) => select.items.iter().map(output).collect(),
            Self::Set(_, left, right) => {
                let both = left.columns().into_iter().zip(right.columns());
                both.map(|((kind, is_noisy, is_wild), (.., also))| (kind, is_noisy, is_wild || also)).collect()
            }
            Self::Values(rows) => rows[0].iter().map(output).collect(),
        }
    }
}

fn list<T>(text: &mut String, values: &[T], write: impl Fn(&mut String, usize, &T)) {
    for (index, value) in values.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { ", " });
        write(text, index, value);
    }
}

fn write_query(text: &mut String, query: &Query) {
    if !query.with.is_empty() {
        text.push_str("WITH ");
        list(text, &query.with, |text, _, (name, query)| {
            let _ = write!(text, "{name} ({}) AS (", column_names(query));
            write_query(text, query);
            text.push(')');
        });
        text.push(' ');
    }
    write_body(text, &query.body);
    if !query.order.is_empty() {
        text.push_str(" ORDER BY ");
        list(text, &query.order, |text, _, order| {
            let _ = write!(text, "{}{}", order.place + 1, order.how);
        });
    }
    if let Some((limit, offset)) = query.limit {
        let _ = write!(text, " LIMIT {limit}");
        if offset > 0 {
            let _ = write!(text, " OFFSET {offset}");
        }
    }
}

fn column_names(query: &Query) -> String {
    let names: Vec<String> = (1..=query.body.columns().len()).map(|place| format!("c{place}")).collect();
    names.join(", ")
}

fn write_body(text: &mut String, body: &Body) {
    match body {
        Body::Select(select) => write_select(text, select),
        Body::Set(operation, left, right) => {
            text.push('(');
            write_body(text, left);
            let _ = write!(text, ") {operation} (");
            write_body(text, right);
            text.push(')');
        }
        Body::Values(rows) => {
            text.push_str("VALUES ");
            list(text, rows, |text, _, row| {
                text.push('(');
                list(text, row, |text, _, value| write_expression(text, value));
                text.push(')');
            });
        }
    }
}

fn write_select(text: &mut String, select: &Select) {
    text.push_str("SELECT ");
    match select.distinct {
        Distinct::No => {}
        Distinct::Yes => text.push_str("DISTINCT "),
        Distinct::On(count) => {
            let places: Vec<String> = (1..=count).map(|place| place.to_string()).collect();
            let _ = write!(text, "DISTINCT ON ({}) ", places.join(", "));
        }
    }
    list(text, &select.items, |text, index, item| {
        write_expression(text, item);
        let _ = write!(text, " AS c{}", index + 1);
    });
    if let Some(from) = &select.from {
        text.push_str(" FROM ");
        write_source(text, from);
    }
    let clause = |text: &mut String, word: &str, condition: &Option<Expression>| {
        if let Some(condition) = condition {
            let _ = write!(text, " {word} ");
            write_expression(text, condition);
        }
    };
    clause(text, "WHERE", &select.filter);
    if let Some(group) = &select.group {
        write_group(text, group);
    }
    clause(text, "HAVING", &select.having);
}

fn write_group(text: &mut String, group: &Group) {
    if group.keys.is_empty() {
        return;
    }
    text.push_str(" GROUP BY ");
    if group.shape == "positions" {
        return list(text, &group.keys, |text, index, _| text.push_str(&(index + 1).to_string()));
    }
    text.push_str(group.shape);
    if !group.shape.is_empty() {
        text.push('(');
    }
    let is_sets = group.shape == "GROUPING SETS ";
    list(text, &group.keys, |text, _, key| {
        text.push_str(if is_sets { "(" } else { "" });
        write_expression(text, key);
        text.push_str(if is_sets { ")" } else { "" });
    });
    text.push_str(if is_sets {
        ", ())"
    } else if group.shape.is_empty() {
        ""
    } else {
        ")"
    });
}

fn write_source(text: &mut String, source: &Source) {
    match source {
        Source::Named(named) => text.push_str(named),
        Source::Derived { query, alias, is_lateral } => {
            text.push_str(if *is_lateral { "LATERAL (" } else { "(" });
            write_query(text, query);
            let _ = write!(text, ") AS {alias} ({})", column_names(query));
        }
        Source::Join { join, left, right, on } => {
            write_source(text, left);
            let _ = write!(text, " {join} ");
            let is_nested = matches!(**right, Source::Join { .. });
            text.push_str(if is_nested { "(" } else { "" });
            write_source(text, right);
            text.push_str(if is_nested { ")" } else { "" });
            match on {
                On::Nothing => {}
                On::Using(name) => drop(write!(text, " USING ({name})")),
                On::Condition(condition) => {
                    text.push_str(" ON ");
                    write_expression(text, condition);
                }
            }
        }
    }
}

fn write_expression(text: &mut String, expression: &Expression) {
    let children: Vec<&Expression> = expression.children().collect();
    for piece in &expression.pieces {
        match piece {
            Piece::Text(piece) | Piece::Column(piece) => text.push_str(piece),
            Piece::Child(child) => write_expression(text, child),
            Piece::Again(index) => write_expression(text, children[*index]),
            Piece::Query(query) => write_query(text, query),
        }
    }
}

impl Expression {
    fn children(&self) -> impl Iterator<Item = &Self> {
        self.pieces.iter().filter_map(|piece| if let Piece::Child(child) = piece { Some(child) } else { None })
    }

    fn leaf(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, is_noisy: false, is_wild: false, pieces: vec![Piece::Text(text.into())] }
    }

    fn null(kind: Kind) -> Self {
        Self::leaf(kind, format!("NULL::{}", kind.name()))
    }

    /// Whether a column is in it.
    fn has_column(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Column(_))) || self.children().any(Self::has_column)
    }
}

#[test]
fn statements_come_from_their_seeds_and_become_smaller() {
    for seed in 0..200 {
        for schema in [corpus(), random(seed)] {
            let query = generate(seed, &schema);
            let text = sql(&query);
            assert_eq!(text, sql(&generate(seed, &schema)), "{seed}");
            assert_eq!(letters(&query).len(), query.body.columns().len(), "{text}");
            assert!(shrink(&query).iter().all(|smaller| sql(smaller).len() < text.len()), "{text}");
        }
    }
}
