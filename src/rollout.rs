//! Which side answers a named query: decided purely, from what is written down.
//!
//! Owns: [`Route`], the [`Rollout`] that says which query runs where for whom, changes of it, and the decision; whether two answers are the
//! same ([`compare`]).
//! Must not know: HTTP, the store, the engine, Postgres.
//!
//! A query moves in steps, each of which can be taken back at any moment: `postgres`, `shadow` (Postgres answers and the engine is compared),
//! `engine` for some tenants, `engine` for all. One switch sends everything back to Postgres at once and keeps the steps.

mod certificate;
mod compare;
mod decision;
mod state;

pub use certificate::{Case, Certificate, Outcome, QueryFindings};
pub use compare::{Answer, Cell, Promise, Verdict, compare};
pub use decision::{Asks, Because, Decision, Subject};
pub use state::{Certified, Change, Edit, Findings, Hold, HoldReason, QueryRollout, Rollout, Rule, Switch};

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// Where a query runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// Postgres answers.
    Postgres,
    /// Postgres answers, and the engine is compared.
    Shadow,
    /// The engine answers.
    Engine,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The source.
    Postgres,
    /// A snapshot.
    Engine,
}

impl Side {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Engine => "engine",
        }
    }
}

impl Route {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Shadow => "shadow",
            Self::Engine => "engine",
        }
    }

    /// Who answers.
    #[must_use]
    pub const fn side(self) -> Side {
        match self {
            Self::Postgres | Self::Shadow => Side::Postgres,
            Self::Engine => Side::Engine,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Route {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Postgres, Self::Shadow, Self::Engine].into_iter().find(|route| route.name() == text).ok_or_else(|| {
            Error::new(Code::InvalidRequest, format!("{text:?} is no route"))
                .with_hint("the routes are postgres, shadow and engine")
        })
    }
}
