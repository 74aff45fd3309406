//! What is written down of every query, and changes of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Route;
use crate::error::{Code, Error, Result};

/// Reasons and names are for people; longer ones are not.
const TEXT_BYTES_MAX: usize = 1_000;
/// Tenants that one rule names.
const TENANTS_MAX: usize = 10_000;

/// Which query runs where. One document of the store's journal; the one with the greatest number holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// Of this document.
    pub format: u32,
    /// Its place in the journal; 0 where nobody has changed anything yet.
    pub number: u64,
    /// Unlike any other's.
    pub id: String,
    /// Whether the routes hold, or everything runs on Postgres.
    pub switch: Switch,
    /// For queries of which nothing is said; none for what the configuration says.
    pub default: Option<Rule>,
    /// By `dashboard/name`.
    pub queries: BTreeMap<String, QueryRollout>,
    /// Queries whose answers were seen to be equal on both sides, by `dashboard/name`.
    #[serde(default)]
    pub certified: BTreeMap<String, Certified>,
    /// What was changed last; none where nothing was.
    pub changed: Option<Change>,
}

/// The one switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// Each query has its route.
    Routes,
    /// Everything runs on Postgres.
    Postgres,
}

/// What is said of one query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryRollout {
    /// Where it is to run.
    #[serde(flatten)]
    pub rule: Rule,
    /// Why it runs on Postgres all the same, if it does.
    pub hold: Option<Hold>,
    /// What was changed last of it.
    pub changed: Change,
}

/// Where a query is to run, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// For those who are chosen. For the others it runs on Postgres.
    pub route: Route,
    /// How many of a hundred tenants are chosen; the same ones for every query, and those of 10 are among those of 20.
    pub percent: u8,
    /// Tenants that are chosen whatever the percentage.
    pub tenants: Vec<String>,
    /// Whether the engine may answer although no certificate says that it answers as Postgres does.
    #[serde(default)]
    pub without_certificate: bool,
}

/// What was seen of a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// Of its text and the engine's build, as they were then.
    pub fingerprint: String,
    /// The snapshot that it was asked of.
    pub snapshot: u64,
}

/// Why a query runs on Postgres although its rule says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// In a word.
    pub reason: HoldReason,
    /// For people.
    pub detail: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When somebody was last told.
    pub told_at: DateTime<Utc>,
    /// Who has seen it, and need not be told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Box<Change>>,
}

impl Hold {
    /// From now on.
    #[must_use]
    pub fn new(reason: HoldReason, detail: String, now: DateTime<Utc>) -> Self {
        Self { reason, detail, since: now, told_at: now, acknowledged: None }
    }
}

/// Why a query is held, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// The two sides gave different answers: the engine's is not to be believed, even if Postgres is down.
    Different,
    /// Too many of the engine's answers were errors.
    Errors,
    /// The engine's answers took too long.
    Slow,
}

/// Who changed what, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// When.
    pub at: DateTime<Utc>,
    /// A principal's name; `pilaster` for what happened by itself.
    pub by: String,
    /// In their words.
    pub why: String,
    /// For people: `revenue/mrr: engine for 10 %`.
    pub what: String,
}

/// A change that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A query gets a rule, and is not held any more.
    Query(String, Rule),
    /// A query gets the default again.
    Forget(String),
    /// Queries of which nothing is said get a rule; none for what the configuration says.
    Default(Option<Rule>),
    /// The switch is set.
    Switch(Switch),
    /// A query runs on Postgres until somebody says otherwise. Its rule stays as it is, or is the one that it has by default.
    Hold(String, Hold, Rule),
    /// Somebody has seen that a query is held.
    Acknowledge(String),
    /// Somebody is told again that a query is held.
    Tell(String),
    /// What a certificate found.
    Certify(Findings),
}

/// What a certificate found, as far as it changes where queries run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The snapshot.
    pub snapshot: u64,
    /// Queries that were equal, with their fingerprints.
    pub equal: Vec<(String, String)>,
    /// Queries that were not, and are held from now on.
    pub different: Vec<(String, Hold)>,
    /// Whether queries that were equal are held no more.
    pub releases: bool,
    /// What a query that is held and of which nothing is said has for a rule.
    pub default: Rule,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            format: Self::FORMAT,
            number: 0,
            id: String::new(),
            switch: Switch::Routes,
            default: None,
            queries: BTreeMap::new(),
            certified: BTreeMap::new(),
            changed: None,
        }
    }
}

impl Rollout {
    /// The format that this build writes and reads.
    pub const FORMAT: u32 = 1;

    /// Reads a document of the journal.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let corrupt = |what: String| Error::new(Code::CorruptStore, format!("the rollout's state {what}"));
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let format: Format =
            serde_json::from_slice(bytes).map_err(|error| corrupt("is not JSON".into()).with_cause(error))?;
        if format.format != Self::FORMAT {
            return Err(corrupt(format!("has format {}, this build reads {}", format.format, Self::FORMAT))
                .with_hint("all nodes of one store must be of the same version"));
        }
        serde_json::from_slice(bytes).map_err(|error| corrupt(format!("cannot be read: {error}")).with_cause(error))
    }

    /// Holds a query; false where it is held already for a graver reason. The first reason stays: it is what people look for.
    fn hold(&mut self, query: String, hold: Hold, default: Rule, change: &Change) -> bool {
        match self.queries.get_mut(&query) {
            Some(QueryRollout { hold: Some(held), .. })
                if held.reason == HoldReason::Different || hold.reason != HoldReason::Different =>
            {
                return false;
            }
            Some(known) => (known.hold, known.changed) = (Some(hold), change.clone()),
            None => {
                self.queries.insert(query, QueryRollout { rule: default, hold: Some(hold), changed: change.clone() });
            }
        }
        true
    }

    fn certify(&mut self, findings: Findings, change: &Change) {
        for (query, fingerprint) in findings.equal {
            if let Some(known) = self.queries.get_mut(&query).filter(|known| findings.releases && known.hold.is_some())
            {
                (known.hold, known.changed) = (None, change.clone());
            }
            self.certified.insert(query, Certified { fingerprint, snapshot: findings.snapshot });
        }
        for (query, hold) in findings.different {
            self.certified.remove(&query);
            self.hold(query, hold, findings.default.clone(), change);
        }
    }

    /// As a document of the journal.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a rollout is plain data")
    }

    /// The next document: this one with a change. None where the change changes nothing.
    pub fn edited(&self, edit: Edit, by: &str, why: &str, at: DateTime<Utc>) -> Result<Option<Self>> {
        check_text("why", why)?;
        if why.trim().is_empty() {
            return Err(Error::new(Code::InvalidRequest, "nobody says why")
                .with_hint("give the reason in a sentence; whoever looks at this change later will ask"));
        }
        let mut next = self.clone();
        let edit = edit.checked()?;
        let what = edit.what();
        let change = Change { at, by: by.to_owned(), why: why.to_owned(), what };
        match edit {
            Edit::Query(query, rule) => {
                let is_same = self.queries.get(&query).is_some_and(|old| old.rule == rule && old.hold.is_none());
                if is_same {
                    return Ok(None);
                }
                next.queries.insert(query, QueryRollout { rule, hold: None, changed: change.clone() });
            }
            Edit::Forget(query) => {
                if next.queries.remove(&query).is_none() {
                    return Ok(None);
                }
            }
            Edit::Default(rule) => {
                next.default = rule;
                if next.default == self.default {
                    return Ok(None);
                }
            }
            Edit::Switch(switch) => {
                if switch == self.switch {
                    return Ok(None);
                }
                next.switch = switch;
            }
            Edit::Hold(query, hold, default) => {
                if !next.hold(query, hold, default, &change) {
                    return Ok(None);
                }
            }
            Edit::Acknowledge(query) => match next.queries.get_mut(&query).and_then(|said| said.hold.as_mut()) {
                Some(hold) if hold.acknowledged.is_none() => hold.acknowledged = Some(Box::new(change.clone())),
                _ => return Ok(None),
            },
            Edit::Tell(query) => match next.queries.get_mut(&query).and_then(|said| said.hold.as_mut()) {
                Some(hold) if hold.acknowledged.is_none() => hold.told_at = at,
                _ => return Ok(None),
            },
            Edit::Certify(findings) => next.certify(findings, &change),
        }
        next.number = self.number + 1;
        next.id = Uuid::now_v7().to_string();
        next.changed = Some(change);
        Ok(Some(next))
    }
}

impl Rule {
    /// The same for everybody.
    #[must_use]
    pub fn of(route: Route) -> Self {
        Self { route, percent: 100, tenants: Vec::new(), without_certificate: false }
    }

    fn checked(mut self) -> Result<Self> {
        if self.percent > 100 {
            return Err(Error::new(Code::InvalidRequest, format!("percent is {}, more than 100", self.percent))
                .with_hint("give 0 to 100"));
        }
        if self.tenants.len() > TENANTS_MAX {
            let message = format!("a rule names {} tenants, {TENANTS_MAX} are allowed", self.tenants.len());
            return Err(Error::new(Code::InvalidRequest, message).with_hint("use percent, which grows with them"));
        }
        for tenant in &self.tenants {
            check_text("a tenant", tenant)?;
        }
        self.tenants.sort();
        self.tenants.dedup();
        Ok(self)
    }
}

impl Edit {
    fn checked(self) -> Result<Self> {
        Ok(match self {
            Self::Query(query, rule) => Self::Query(query, rule.checked()?),
            Self::Default(Some(rule)) => Self::Default(Some(rule.checked()?)),
            other => other,
        })
    }

    fn what(&self) -> String {
        match self {
            Self::Query(query, rule) => format!("{query}: {rule}"),
            Self::Forget(query) => format!("{query}: the default"),
            Self::Default(Some(rule)) => format!("the default: {rule}"),
            Self::Default(None) => "the default: as configured".to_owned(),
            Self::Switch(Switch::Postgres) => "everything runs on Postgres".to_owned(),
            Self::Switch(Switch::Routes) => "each query has its route again".to_owned(),
            Self::Hold(query, hold, _) => format!("{query}: held at postgres, {}", hold.reason),
            Self::Acknowledge(query) => format!("{query}: somebody has seen why it is held"),
            Self::Tell(query) => format!("{query}: told again why it is held"),
            Self::Certify(findings) => {
                let (equal, different) = (findings.equal.len(), findings.different.len());
                format!(
                    "the certificate of snapshot {}: {equal} queries equal, {different} different",
                    findings.snapshot
                )
            }
        }
    }
}

impl Switch {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routes => "routes",
            Self::Postgres => "postgres",
        }
    }
}

impl std::str::FromStr for Switch {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Routes, Self::Postgres].into_iter().find(|switch| switch.name() == text).ok_or_else(|| {
            Error::new(Code::InvalidRequest, format!("{text:?} is no position of the switch"))
                .with_hint("it is at postgres, where everything runs there, or at routes")
        })
    }
}

impl HoldReason {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Different => "different",
            Self::Errors => "errors",
            Self::Slow => "slow",
        }
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.route)?;
        if self.percent < 100 {
            write!(formatter, " for {} %", self.percent)?;
            if !self.tenants.is_empty() {
                write!(formatter, " and {} named tenants", self.tenants.len())?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for HoldReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Different => "the two sides gave different answers",
            Self::Errors => "too many errors",
            Self::Slow => "too slow",
        })
    }
}

fn check_text(what: &str, text: &str) -> Result<()> {
    if text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidRequest,
        format!("{what} is longer than {TEXT_BYTES_MAX} bytes, or has control characters"),
    )
    .with_hint("say it in a sentence"))
}

#[cfg(test)]
mod tests;
