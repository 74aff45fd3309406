//! The predicates of `jsonpath`: comparisons, and what puts them together.

use std::cmp::Ordering;

use super::{
    json_path::{Comparison, Predicate, Steps},
    json_path_run::{Run, Runner, Stop},
    json_value::{Json, compare_numbers},
};
use crate::error::Result;

/// A truth value; nothing where it is unknown.
pub(super) type Truth = Option<bool>;

impl<'j> Runner<'_, 'j> {
    /// Whether a predicate is true of an item.
    pub(super) fn truth(&mut self, predicate: &Predicate, item: &Json<'j>) -> Run<Truth> {
        self.enter()?;
        let result = self.judge(predicate, item);
        self.depth -= 1;
        result
    }

    fn judge(&mut self, predicate: &Predicate, item: &Json<'j>) -> Run<Truth> {
        Ok(match predicate {
            Predicate::And(left, right) => match self.truth(left, item)? {
                Some(false) => Some(false),
                first => match self.truth(right, item)? {
                    Some(true) => first,
                    second => second,
                },
            },
            Predicate::Or(left, right) => match self.truth(left, item)? {
                Some(true) => Some(true),
                first => match self.truth(right, item)? {
                    Some(false) => first,
                    second => second,
                },
            },
            Predicate::Not(operand) => self.truth(operand, item)?.map(|truth| !truth),
            Predicate::IsUnknown(operand) => Some(self.truth(operand, item)?.is_none()),
            Predicate::Exists(steps) => {
                let before = std::mem::replace(&mut self.is_loud, false);
                let result = self.exists(steps, item);
                self.is_loud = before;
                known(result)?
            }
            Predicate::Compare(comparison, left, right) => {
                let Some(left) = self.operand(left, item)? else { return Ok(None) };
                let Some(right) = self.operand(right, item)? else { return Ok(None) };
                let pairs = left.iter().flat_map(|left| right.iter().map(move |right| (left, right)));
                self.any(pairs.map(|(left, right)| Ok(compare(*comparison, left, right))))?
            }
            Predicate::StartsWith(whole, initial) => {
                let Some(whole) = self.operand(whole, item)? else { return Ok(None) };
                let mut initials = Vec::new();
                self.run(initial, item, &mut Some(&mut initials))?;
                let pairs = whole.iter().flat_map(|whole| initials.iter().map(move |initial| (whole, initial)));
                self.any(pairs.map(|pair| match pair {
                    (Json::String(whole), Json::String(initial)) => Ok(Some(whole.starts_with(initial.as_ref()))),
                    _ => Ok(None),
                }))?
            }
            Predicate::Matches(steps, regex) => {
                let Some(items) = self.operand(steps, item)? else { return Ok(None) };
                self.any(items.iter().map(|item| match item {
                    Json::String(text) => regex.is_match(text).map(Some),
                    _ => Ok(None),
                }))?
            }
        })
    }

    /// The items of an operand, whose errors make the truth unknown.
    fn operand(&mut self, steps: &Steps, item: &Json<'j>) -> Run<Option<Vec<Json<'j>>>> {
        let before = std::mem::replace(&mut self.is_loud, false);
        let result = self.unwrapped(steps, item);
        self.is_loud = before;
        known(result)
    }

    /// Whether it is true of any; in the strict mode, unless it is unknown of one.
    fn any(&self, truths: impl Iterator<Item = Result<Truth>>) -> Run<Truth> {
        let mut all = Some(false);
        for truth in truths {
            self.work()?;
            match truth? {
                None if self.is_strict => return Ok(None),
                None => all = None,
                Some(true) if !self.is_strict => return Ok(Some(true)),
                Some(true) => all = Some(true),
                Some(false) => {}
            }
        }
        Ok(all)
    }
}

fn known<T>(result: Run<T>) -> Run<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Stop::Silent) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Scalars of one type compare; null is different from all else, and neither less nor more.
fn compare(comparison: Comparison, left: &Json<'_>, right: &Json<'_>) -> Truth {
    let order = match (left, right) {
        (Json::Null, Json::Null) => Ordering::Equal,
        (Json::Bool(left), Json::Bool(right)) => left.cmp(right),
        (Json::Number(left), Json::Number(right)) => compare_numbers(left, right),
        (Json::String(left), Json::String(right)) => left.cmp(right),
        (Json::Null, _) | (_, Json::Null) => return Some(comparison == Comparison::NotEqual),
        _ => return None,
    };
    Some(match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    })
}
