//! What named queries are asked with most, for whoever compares both sides.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::RawParameters;

/// Sets of parameters that are counted for each query.
const COUNTED_MAX: usize = 64;

/// Counts, by query.
#[derive(Default)]
pub(super) struct Hot(Mutex<HashMap<String, Vec<(u64, RawParameters)>>>);

impl Hot {
    /// Counts one request.
    pub(super) fn count(&self, query: &str, parameters: &RawParameters) {
        let mut queries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !queries.contains_key(query) {
            queries.insert(query.to_owned(), Vec::new());
        }
        let Some(counted) = queries.get_mut(query) else { return };
        if let Some((count, _)) = counted.iter_mut().find(|(_, known)| known == parameters) {
            *count += 1;
        } else if counted.len() < COUNTED_MAX {
            counted.push((1, parameters.clone()));
        } else if let Some(least) = counted.iter_mut().min_by_key(|(count, _)| *count) {
            // What is asked anew takes the place of what is asked least, and inherits its count, so that it can stay (Metwally et al.,
            // "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005).
            *least = (least.0 + 1, parameters.clone());
        }
    }

    /// Puts a set of parameters before all others.
    pub(super) fn raise(&self, query: &str, parameters: &RawParameters) {
        self.count(query, parameters);
        let mut queries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(counted) = queries.get_mut(query) else { return };
        let most = counted.iter().map(|(count, _)| *count).max().unwrap_or(0);
        if let Some((count, _)) = counted.iter_mut().find(|(_, known)| known == parameters) {
            *count = most + 1;
        }
    }

    /// What a query is asked with most.
    pub(super) fn of(&self, query: &str, most: usize) -> Vec<RawParameters> {
        let queries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counted: Vec<&(u64, RawParameters)> = queries.get(query).into_iter().flatten().collect();
        counted.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        counted.into_iter().take(most).map(|(_, parameters)| parameters.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_most_is_known() {
        let hot = Hot::default();
        let with = |value: usize| RawParameters::from_pairs([("x".to_owned(), value.to_string())]);
        for round in 0..50 {
            for _ in 0..3 {
                hot.count("a/b", &with(1_000));
            }
            hot.count("a/b", &with(2_000));
            hot.count("a/b", &with(2_000));
            for rare in 0..10 {
                hot.count("a/b", &with(round * 10 + rare));
            }
        }
        assert_eq!(hot.of("a/b", 2), [with(1_000), with(2_000)]);
        assert_eq!(hot.of("a/c", 2), []);
        hot.raise("a/b", &with(3));
        assert_eq!(hot.of("a/b", 1), [with(3)]);
    }
}
