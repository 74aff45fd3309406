//! How each query has done on the engine of late, and when that is not good enough.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::rollout::HoldReason;

/// Answers of a query that are looked at.
const LOOKED_AT_MAX: usize = 2_000;

/// When the engine's answers are not good enough.
#[derive(Clone, Copy, Debug)]
pub struct TripLimits {
    /// How far back it is looked.
    pub window: Duration,
    /// Fewer answers say nothing.
    pub answers_min: usize,
    /// Errors of the engine's own, in a hundred; 100 for any number.
    pub error_percent: u8,
    /// Of the time to the first row; zero for any.
    pub p95: Duration,
}

/// What queries did of late.
pub(super) struct Windows {
    limits: TripLimits,
    queries: Mutex<HashMap<String, VecDeque<Done>>>,
}

#[derive(Clone, Copy)]
struct Done {
    at: Instant,
    elapsed: Duration,
    failed: bool,
}

impl Windows {
    pub(super) fn new(limits: TripLimits) -> Self {
        Self { limits, queries: Mutex::default() }
    }

    /// Notes an answer; says why the query is not good enough, if it is not. What it did is forgotten with that.
    pub(super) fn note(
        &self,
        query: &str,
        at: Instant,
        elapsed: Duration,
        failed: bool,
    ) -> Option<(HoldReason, String)> {
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        if !queries.contains_key(query) {
            queries.insert(query.to_owned(), VecDeque::new());
        }
        let done = queries.get_mut(query)?;
        while done.front().is_some_and(|first| at.duration_since(first.at) > self.limits.window)
            || done.len() >= LOOKED_AT_MAX
        {
            done.pop_front();
        }
        done.push_back(Done { at, elapsed, failed });
        let verdict = self.judge(done);
        if verdict.is_some() {
            done.clear();
        }
        verdict
    }

    fn judge(&self, done: &VecDeque<Done>) -> Option<(HoldReason, String)> {
        let limits = self.limits;
        if done.len() < limits.answers_min.max(1) {
            return None;
        }
        let errors = done.iter().filter(|done| done.failed).count();
        if errors * 100 > usize::from(limits.error_percent) * done.len() {
            return Some((
                HoldReason::Errors,
                format!("{errors} of {} answers in {:?} were errors", done.len(), limits.window),
            ));
        }
        if limits.p95.is_zero() {
            return None;
        }
        let slow = done.iter().filter(|done| done.elapsed > limits.p95).count();
        let is_slow = slow * 20 > done.len();
        is_slow.then(|| {
            (
                HoldReason::Slow,
                format!("{slow} of {} answers in {:?} took over {:?}", done.len(), limits.window, limits.p95),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_trips_by_its_errors_and_its_time() {
        let limits = TripLimits {
            window: Duration::from_secs(60),
            answers_min: 20,
            error_percent: 10,
            p95: Duration::from_millis(500),
        };
        let start = Instant::now();
        // Each answer: how many seconds after the start, how many milliseconds it took, whether it failed.
        let check = |answers: &[(u64, u64, bool)], expect: Option<HoldReason>| {
            let windows = Windows::new(limits);
            let tripped = answers.iter().find_map(|(at, took, failed)| {
                windows.note("a/b", start + Duration::from_secs(*at), Duration::from_millis(*took), *failed)
            });
            assert_eq!(tripped.as_ref().map(|(reason, _)| *reason), expect, "{tripped:?}");
        };
        let of = |count: usize, each: (u64, u64, bool)| vec![each; count];
        check(&of(100, (1, 10, false)), None);
        check(&of(19, (1, 10, true)), None);
        check(&of(20, (1, 10, true)), Some(HoldReason::Errors));
        check(&[of(18, (1, 10, false)), of(2, (1, 10, true))].concat(), None);
        check(&[of(18, (1, 10, false)), of(3, (1, 10, true))].concat(), Some(HoldReason::Errors));
        check(&[of(19, (1, 10, false)), of(2, (1, 900, false))].concat(), Some(HoldReason::Slow));
        check(&[of(40, (1, 10, false)), of(2, (1, 900, false))].concat(), None);
        // What was long ago does not count.
        check(&[of(10, (1, 10, true)), of(15, (100, 10, false))].concat(), None);
    }
}
