//! What stays different from Postgres, as data: `docs/sql.md`, `pilaster check` and the hints of errors are made of this table.
//!
//! Whoever finds a difference adds it, with a record in `tests/slt` that shows it; whoever mends one removes both.

mod hint;
mod json;
mod names;
mod numbers;
mod relations;
mod sign;
mod statements;
mod text;
mod times;
mod types;
mod windows;

pub use hint::{ENGINE_FUNCTIONS, function_names, hint_for_missing, hint_for_statement};

use self::sign::{Sign, Tokens};
use super::{ReadOnlySql, library};

/// One thing that Postgres has and the engine has otherwise, or has not.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Its name in the corpus, `# differs: key`. In words, joined by hyphens; never renamed.
    pub key: &'static str,
    /// Where it stands in the documentation.
    pub theme: Theme,
    /// What is written. Code is between backticks, here and below.
    pub construct: &'static str,
    /// What Postgres does.
    pub postgres: &'static str,
    /// What the engine does.
    pub engine: &'static str,
    /// What to write instead, or what to know.
    pub mend: &'static str,
    /// What a query that has it comes to.
    pub effect: Effect,
    /// How a statement shows it; empty where only the data does.
    pub(in crate::sql) seen_by: &'static [Sign],
}

/// What a difference does to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// There is an answer, which may be another.
    Different,
    /// There is an error.
    Unsupported,
}

/// What a difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// The grammar of `SELECT`.
    Statements,
    /// Types that have no values here.
    Types,
    /// Numbers.
    Numbers,
    /// Text, collations and patterns.
    Text,
    /// Dates, times, intervals and time zones.
    Times,
    /// JSON and arrays.
    Json,
}

/// A place in a statement that shows a difference.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Which.
    pub difference: &'static Difference,
    /// Where, in characters from 1, as Postgres counts.
    pub position: usize,
}

/// What nothing in a statement shows.
const NOTHING: &[Sign] = &[];

const PARTS: [&[Difference]; 9] = [
    statements::DIFFERENCES,
    relations::DIFFERENCES,
    windows::DIFFERENCES,
    names::DIFFERENCES,
    types::DIFFERENCES,
    numbers::DIFFERENCES,
    text::DIFFERENCES,
    times::DIFFERENCES,
    json::DIFFERENCES,
];
const COUNT: usize = {
    let (mut part, mut count) = (0, 0);
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
};

/// All that is known to differ.
pub const DIFFERENCES: &[Difference] = &{
    let mut all = [PARTS[0][0]; COUNT];
    let (mut part, mut place) = (0, 0);
    while part < PARTS.len() {
        let mut index = 0;
        while index < PARTS[part].len() {
            all[place] = PARTS[part][index];
            index += 1;
            place += 1;
        }
        part += 1;
    }
    all
};

impl Difference {
    /// Whether a statement shows it by itself.
    #[must_use]
    pub const fn is_visible(&self) -> bool {
        !self.seen_by.is_empty()
    }

    /// The functions whose calls show it.
    pub fn functions(&self) -> impl Iterator<Item = &'static str> {
        self.seen_by.iter().flat_map(Sign::functions).copied()
    }
}

impl Theme {
    /// Every theme, in the order of the documentation.
    pub const ALL: [Self; 6] = [Self::Statements, Self::Types, Self::Numbers, Self::Text, Self::Times, Self::Json];

    /// As a heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Statements => "Statements",
            Self::Types => "Types",
            Self::Numbers => "Numbers",
            Self::Text => "Text, collations and patterns",
            Self::Times => "Dates, times and intervals",
            Self::Json => "JSON and arrays",
        }
    }
}

/// Where `sql`, as it was written, shows a difference, in the order of the text.
#[must_use]
pub fn find(sql: &ReadOnlySql) -> Vec<Found> {
    find_in(sql.text())
}

/// The same of a statement that may not parse.
#[must_use]
pub fn find_in(text: &str) -> Vec<Found> {
    let Some(tokens) = Tokens::of(text) else { return Vec::new() };
    let mut found = Vec::new();
    for index in 0..tokens.count() {
        let here =
            DIFFERENCES.iter().filter(|difference| difference.seen_by.iter().any(|sign| sign.is_at(&tokens, index)));
        found.extend(here.map(|difference| Found { difference, position: tokens.position(index) }));
    }
    found
}

/// The signatures of the library, as `lpad(text, int4, text) -> text`. An operator has its symbol for a name, and a cast its target
/// behind `::`.
pub fn signatures() -> impl Iterator<Item = &'static str> {
    library::entries().map(|entry| entry.signature)
}

#[cfg(test)]
mod tests;
