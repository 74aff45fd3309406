//! Whether two answers of one statement are the same answer.
//!
//! Values are compared by their Postgres types: exactly, but for floats, which are equal to 1e-9 of the larger, and the quotients of a
//! statement that has some, whose digits behind the point are not as many everywhere. Rows count in their order only under ORDER BY, and
//! those that it leaves equal in any; without one, answers are bags of rows. What cannot be told from an accident of ties is not comparable,
//! which is not equal.

mod number;

use std::collections::HashMap;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    output::{postgres_type_name, texts},
    sql::{OrderKey, ReadOnlySql, ShownOrder},
};

use number::Closeness;

/// Differing cells that are told.
const CELLS_MAX: usize = 5;
/// Rows of one bag that are matched with one another, where their exact columns do not tell them apart.
const MATCHED_MAX: usize = 2_000;

/// A whole answer, its values as Postgres spells them.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Name and Postgres type of each column.
    pub columns: Vec<(String, String)>,
    /// The rows; none for NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// What a statement promises of its answer.
#[derive(Clone, Debug)]
pub struct Promise {
    /// Of its rows.
    pub order: ShownOrder,
    /// Of its numerics.
    pub has_quotients: bool,
}

/// What the comparison found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The same answer.
    Equal,
    /// Another answer.
    Different {
        /// In a sentence.
        why: String,
        /// The first cells that differ.
        cells: Vec<Cell>,
    },
    /// Nobody can tell.
    NotComparable {
        /// In a sentence, with the mend.
        why: String,
    },
}

/// A cell that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The row, from 1, in Postgres's answer.
    pub row: usize,
    /// What the statement orders by, in that row.
    pub key: Vec<(String, Option<String>)>,
    /// The column.
    pub column: String,
    /// There; none for NULL.
    pub postgres: Option<String>,
    /// Here; none for NULL.
    pub engine: Option<String>,
}

impl Answer {
    /// Reads batches.
    ///
    /// # Errors
    /// `internal` when a batch has not the types of the schema.
    pub fn new<'a>(schema: &SchemaRef, batches: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Self> {
        let columns = schema.fields().iter();
        let columns = columns.map(|field| (field.name().clone(), postgres_type_name(field).into_owned())).collect();
        let mut rows = Vec::new();
        for batch in batches {
            rows.extend(texts(schema, batch)?);
        }
        Ok(Self { columns, rows })
    }
}

impl From<&ReadOnlySql> for Promise {
    fn from(sql: &ReadOnlySql) -> Self {
        Self { order: sql.shown_order(), has_quotients: sql.has_quotients() }
    }
}

/// Compares Postgres's answer with the engine's.
#[must_use]
pub fn compare(postgres: &Answer, engine: &Answer, promise: &Promise) -> Verdict {
    if postgres.columns != engine.columns {
        return different(told_columns(&postgres.columns, &engine.columns));
    }
    if postgres.rows.len() != engine.rows.len() {
        return different(format!("Postgres has {} rows, the engine {}", postgres.rows.len(), engine.rows.len()));
    }
    if promise.order.is_limited && !promise.order.is_ordered {
        let is_same = Comparison::new(postgres, engine, promise).bag(0..postgres.rows.len()).is_none();
        return match is_same {
            true => Verdict::Equal,
            false => {
                not_comparable("LIMIT without ORDER BY may give any rows", "order by what makes a row the only one")
            }
        };
    }
    Comparison::new(postgres, engine, promise).verdict()
}

struct Comparison<'a> {
    postgres: &'a Answer,
    engine: &'a Answer,
    order: &'a ShownOrder,
    keys: Vec<usize>,
    /// For each column, how close its values must be.
    closeness: Vec<Closeness>,
}

impl<'a> Comparison<'a> {
    fn new(postgres: &'a Answer, engine: &'a Answer, promise: &'a Promise) -> Self {
        let place = |key: &OrderKey| match key {
            OrderKey::Place(place) => (*place < postgres.columns.len()).then_some(*place),
            OrderKey::Name(name) => postgres.columns.iter().position(|(column, _)| column == name),
        };
        let keys = promise.order.keys.iter().map_while(place).collect();
        let closeness = (0..postgres.columns.len())
            .map(|index| {
                let values = postgres.rows.iter().chain(&engine.rows).filter_map(|row| row.get(index)?.as_deref());
                Closeness::of(&postgres.columns[index].1, promise.has_quotients, values)
            })
            .collect();
        Self { postgres, engine, order: &promise.order, keys, closeness }
    }

    fn verdict(&self) -> Verdict {
        let count = self.postgres.rows.len();
        if !self.order.is_ordered {
            return self.bag(0..count).unwrap_or(Verdict::Equal);
        }
        if (0..count).all(|row| self.is_same_row(row, row)) {
            return Verdict::Equal;
        }
        // Under an order, rows that it leaves equal are a bag each, and the bags follow one another.
        let is_whole = self.order.is_whole && self.keys.len() == self.order.keys.len();
        let mut start = 0;
        while start < count {
            let has_key = |row: &usize| self.has_keys_of(&self.postgres.rows[*row], start);
            let end = (start..count).find(|row| !has_key(row)).unwrap_or(count);
            if let Some(wrong) = (start..end).find(|row| !self.has_keys_of(&self.engine.rows[*row], start)) {
                // A row may be at the wrong place, missing, or another.
                return match self.bag(0..count) {
                    None => different(format!("the rows are the same, and from row {} on in another order", wrong + 1)),
                    Some(verdict) => verdict,
                };
            }
            if let Some(verdict) = self.bag(start..end) {
                let is_cut = self.order.is_limited && (end == count || start == 0) && end - start > 0;
                return match (&verdict, is_cut && self.may_be_cut(start..end)) {
                    (Verdict::Different { .. }, true) => not_comparable(
                        "rows at the LIMIT are equal by the order, so that any of them may be there",
                        "order by what makes a row the only one",
                    ),
                    _ => verdict,
                };
            }
            let is_another_order = (start..end).any(|row| !self.is_same_row(row, row));
            if is_another_order && !is_whole {
                return not_comparable(
                    &format!(
                        "rows {} to {end} are the same in another order, and the columns do not show what they are ordered by",
                        start + 1
                    ),
                    "select what the statement orders by, or order by what makes a row the only one",
                );
            }
            start = end;
        }
        Verdict::Equal
    }

    /// Whether a LIMIT may have taken others of these rows, which have one key, than were taken there: not if a row of a bag of its own has
    /// the same values but for numbers, since then a number is wrong.
    fn may_be_cut(&self, rows: std::ops::Range<usize>) -> bool {
        let exact = |row: &Vec<Option<String>>| -> Vec<Option<String>> {
            row.iter()
                .zip(&self.closeness)
                .filter(|(_, close)| close.is_exact())
                .map(|(value, _)| value.clone())
                .collect()
        };
        let mut theirs: Vec<_> = self.postgres.rows[rows.clone()].iter().map(exact).collect();
        let mut ours: Vec<_> = self.engine.rows[rows].iter().map(exact).collect();
        theirs.sort();
        ours.sort();
        theirs != ours
    }

    fn has_keys_of(&self, row: &[Option<String>], of: usize) -> bool {
        self.keys.iter().all(|key| self.is_same(*key, row[*key].as_deref(), self.postgres.rows[of][*key].as_deref()))
    }

    fn is_same_row(&self, theirs: usize, ours: usize) -> bool {
        let (theirs, ours) = (&self.postgres.rows[theirs], &self.engine.rows[ours]);
        (0..self.closeness.len()).all(|column| self.is_same(column, theirs[column].as_deref(), ours[column].as_deref()))
    }

    fn is_same(&self, column: usize, theirs: Option<&str>, ours: Option<&str>) -> bool {
        match (theirs, ours) {
            (None, None) => true,
            (Some(theirs), Some(ours)) => theirs == ours || self.closeness[column].are_close(theirs, ours),
            _ => false,
        }
    }

    /// Whether these rows of one are those of the other, in any order; what is wrong, if something is.
    fn bag(&self, rows: std::ops::Range<usize>) -> Option<Verdict> {
        // By what must be exactly equal, in which they can be looked up.
        let exact = |row: &'a [Option<String>]| -> Vec<Option<&'a str>> {
            let values = row.iter().zip(&self.closeness).filter(|(_, close)| close.is_exact());
            values.map(|(value, _)| value.as_deref()).collect()
        };
        let mut ours: HashMap<Vec<Option<&str>>, Vec<usize>> = HashMap::new();
        for row in rows.clone() {
            ours.entry(exact(&self.engine.rows[row])).or_default().push(row);
        }
        let mut left: Vec<usize> = Vec::new();
        for row in rows.clone() {
            let Some(candidates) = ours.get_mut(exact(&self.postgres.rows[row]).as_slice()) else {
                left.push(row);
                continue;
            };
            // In the same order as far as they go: most are where they should be.
            let found = candidates.iter().take(MATCHED_MAX).position(|candidate| self.is_same_row(row, *candidate));
            match found {
                Some(place) => drop(candidates.remove(place)),
                None => left.push(row),
            }
        }
        let first = *left.first()?;
        let mut unmatched: Vec<usize> = ours.into_values().flatten().collect();
        unmatched.sort_unstable();
        // The row that shares most with it is the one that it should have been.
        let nearest = unmatched.iter().take(MATCHED_MAX).max_by_key(|candidate| {
            let (theirs, ours) = (&self.postgres.rows[first], &self.engine.rows[**candidate]);
            let same = (0..self.closeness.len())
                .filter(|column| self.is_same(*column, theirs[*column].as_deref(), ours[*column].as_deref()));
            (same.count(), usize::MAX - candidate.abs_diff(first))
        });
        let cells = nearest.map(|nearest| self.cells(first, *nearest)).unwrap_or_default();
        let why = match left.len() {
            1 => format!("row {} of Postgres's answer is not in the engine's", first + 1),
            count => format!(
                "{count} rows of Postgres's answer are not in the engine's, the first of them row {}",
                first + 1
            ),
        };
        Some(Verdict::Different { why, cells })
    }

    fn cells(&self, theirs: usize, ours: usize) -> Vec<Cell> {
        let (postgres, engine) = (&self.postgres.rows[theirs], &self.engine.rows[ours]);
        let name = |column: usize| self.postgres.columns[column].0.clone();
        (0..self.closeness.len())
            .filter(|column| !self.is_same(*column, postgres[*column].as_deref(), engine[*column].as_deref()))
            .take(CELLS_MAX)
            .map(|column| Cell {
                row: theirs + 1,
                key: self.keys.iter().map(|key| (name(*key), postgres[*key].clone())).collect(),
                column: name(column),
                postgres: postgres[column].clone(),
                engine: engine[column].clone(),
            })
            .collect()
    }
}

fn different(why: String) -> Verdict {
    Verdict::Different { why, cells: Vec::new() }
}

fn not_comparable(why: &str, mend: &str) -> Verdict {
    Verdict::NotComparable { why: format!("{why}; {mend}") }
}

fn told_columns(postgres: &[(String, String)], engine: &[(String, String)]) -> String {
    if postgres.len() != engine.len() {
        return format!("Postgres has {} columns, the engine {}", postgres.len(), engine.len());
    }
    let differing = postgres.iter().zip(engine).enumerate().find(|(_, (theirs, ours))| theirs != ours);
    differing.map_or_else(String::new, |(index, (theirs, ours))| {
        format!("column {} is {} {} on Postgres and {} {} on the engine", index + 1, theirs.0, theirs.1, ours.0, ours.1)
    })
}

#[cfg(test)]
mod tests;
