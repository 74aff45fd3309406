//! What was found when every named query ran on both sides, as of one instant of the source.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Cell, Verdict};
use crate::error::{Code, Error, Result};

/// The findings about one snapshot. One document of the store for each version; made before the version is published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Of this document.
    pub format: u32,
    /// The version that was about to be published.
    pub snapshot: u64,
    /// The run that made it: where a version was not published after all, another run may make it again.
    pub run_id: String,
    /// The instant of the source.
    pub as_of: DateTime<Utc>,
    /// When it was made.
    pub at: DateTime<Utc>,
    /// How long that took, with the source's transaction open.
    pub elapsed_ms: u64,
    /// By query, in the order of their names.
    pub queries: Vec<QueryFindings>,
}

/// The findings about one query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryFindings {
    /// `dashboard/name`
    pub query: String,
    /// Of its SQL and of the engine's build: another text, or another engine, is another query.
    pub fingerprint: String,
    /// All in all.
    pub outcome: Outcome,
    /// In a sentence, where it is not equal.
    pub why: Option<String>,
    /// Each way in which it was asked.
    pub cases: Vec<Case>,
}

/// What is known of a query, all in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every answer was the same.
    Equal,
    /// An answer was another.
    Different,
    /// Nobody can tell.
    NotComparable,
    /// Postgres did not finish in time.
    TooSlow,
    /// It was not asked: time was up, or a side failed.
    NotCertified,
}

/// One way in which a query was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Whose rows; none for all.
    pub tenant: Option<String>,
    /// With which parameters.
    pub parameters: Map<String, Value>,
    /// Equal, or what is wrong.
    pub outcome: Outcome,
    /// In a sentence, where it is not equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The first cells that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
    /// Rows of Postgres's answer.
    pub rows: u64,
    /// To its last row, on Postgres.
    pub postgres_ms: f64,
    /// To its last row, on the engine, without the cache.
    pub engine_ms: f64,
}

impl Certificate {
    /// The format that this build writes and reads.
    pub const FORMAT: u32 = 1;

    /// Reads a document of the store.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let certificate: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::new(Code::CorruptStore, "a certificate cannot be read").with_cause(error))?;
        match certificate.format {
            Self::FORMAT => Ok(certificate),
            other => Err(Error::new(Code::CorruptStore, format!("a certificate has format {other}"))),
        }
    }

    /// As a document of the store.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a certificate is plain data")
    }

    /// How many queries had this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.queries.iter().filter(|query| query.outcome == outcome).count()
    }
}

impl QueryFindings {
    /// The findings of these cases. One wrong answer is a wrong query; what nobody knows is not equal.
    #[must_use]
    pub fn of(query: String, fingerprint: String, cases: Vec<Case>) -> Self {
        const GRAVEST_FIRST: [Outcome; 4] =
            [Outcome::Different, Outcome::NotComparable, Outcome::TooSlow, Outcome::NotCertified];
        let gravest = GRAVEST_FIRST.iter().find_map(|outcome| cases.iter().find(|case| case.outcome == *outcome));
        let (outcome, why) = match gravest {
            Some(case) => (case.outcome, case.why.clone()),
            None if cases.is_empty() => {
                (Outcome::NotCertified, Some("there is nothing to ask it with: add -- @sample to its file".to_owned()))
            }
            None => (Outcome::Equal, None),
        };
        Self { query, fingerprint, outcome, why, cases }
    }
}

impl Case {
    /// With what the comparison found.
    pub(crate) fn judged(mut self, verdict: Verdict) -> Self {
        match verdict {
            Verdict::Equal => self.outcome = Outcome::Equal,
            Verdict::Different { why, cells } => {
                (self.outcome, self.why, self.cells) = (Outcome::Different, Some(why), cells);
            }
            Verdict::NotComparable { why } => (self.outcome, self.why) = (Outcome::NotComparable, Some(why)),
        }
        self
    }
}

impl Outcome {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Different => "different",
            Self::NotComparable => "not comparable",
            Self::TooSlow => "too slow on Postgres",
            Self::NotCertified => "not certified",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_answer_is_a_wrong_query() {
        let case = |outcome| Case {
            tenant: None,
            parameters: Map::new(),
            outcome,
            why: None,
            cells: Vec::new(),
            rows: 0,
            postgres_ms: 1.0,
            engine_ms: 1.0,
        };
        let check = |outcomes: &[Outcome], expect: Outcome| {
            let cases = outcomes.iter().map(|outcome| case(*outcome)).collect();
            assert_eq!(QueryFindings::of("a/b".into(), String::new(), cases).outcome, expect, "{outcomes:?}");
        };
        check(&[Outcome::Equal, Outcome::Equal], Outcome::Equal);
        check(&[Outcome::Equal, Outcome::TooSlow, Outcome::Different], Outcome::Different);
        check(&[Outcome::Equal, Outcome::NotCertified], Outcome::NotCertified);
        check(&[Outcome::TooSlow, Outcome::NotComparable], Outcome::NotComparable);
        check(&[], Outcome::NotCertified);
    }
}
