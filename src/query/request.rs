//! What is asked, and what is answered.

use std::{sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};

use super::RawParameters;
use crate::{
    access::Principal,
    audit::{AuditLog, Record, Replay},
    cache::{AnswerSource, BatchStream, Entry, Key, Mode, Tier},
    engine::Engine,
    rollout::{Route, Side},
    sql::fingerprint,
    store::SnapshotVersion,
};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its id, unique among those that run; also the execution's.
    pub id: Arc<str>,
    /// Who asks.
    pub principal: Principal,
    /// What for.
    pub target: Target,
    /// With which values.
    pub parameters: RawParameters,
    /// From which snapshot.
    pub snapshot: Pin,
    /// An IANA name.
    pub time_zone: String,
    /// What of the cache may be used.
    pub mode: Mode,
}

impl Request {
    /// What an audit keeps of it.
    #[must_use]
    pub fn record(&self, audit: &AuditLog) -> Record {
        let record = Record::new("query", &self.principal);
        let (record, sql) = match &self.target {
            Target::Named { dashboard, name } => (record.about(&format!("{dashboard}/{name}")), None),
            Target::AdHoc(text) => (record.of_sql(&fingerprint(text)), Some(Arc::clone(text))),
        };
        match audit.keeps_replays() {
            true => {
                let mut parameters = self.parameters.to_json();
                // Those that a token has fixed, of which the request knows nothing.
                parameters.extend(self.principal.grant().into_iter().flat_map(|grant| grant.parameters.clone()));
                record.with_replay(Replay { sql, parameters, time_zone: self.time_zone.clone() })
            }
            false => record,
        }
    }
}

/// What a request is for.
#[derive(Clone, Debug)]
pub enum Target {
    /// A file of the library.
    Named {
        /// The folder.
        dashboard: String,
        /// The file, without `.sql`.
        name: String,
    },
    /// SQL of the analyst's own.
    AdHoc(Arc<str>),
}

/// Which snapshot a request is answered from.
#[derive(Clone, Debug)]
pub enum Pin {
    /// The newest that is served.
    Newest,
    /// This version.
    Version(SnapshotVersion),
    /// The one that other queries of the same request were answered from.
    Engine(Engine),
}

/// The answer.
pub struct Reply {
    /// The rows.
    pub body: Body,
    /// Where they come from.
    pub provenance: Provenance,
    /// What identifies the result; none where two runs may differ.
    pub key: Option<Key>,
}

/// The rows of a reply.
pub enum Body {
    /// All of them, shared with the cache.
    Entry(Arc<Entry>),
    /// As they are computed. Dropping it stops the work.
    Stream {
        /// The columns of every batch.
        schema: SchemaRef,
        /// The rows.
        batches: BatchStream,
    },
}

/// Where a reply comes from. Never part of the body, so that equal results are equal bytes.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// Where it was to run.
    pub route: Route,
    /// Who answered.
    pub side: Side,
    /// Whether that was the other side than the route's, which could not.
    pub is_fallback: bool,
    /// How old it is, where neither side can answer and this is what was answered before.
    pub stale: Option<Duration>,
    /// The snapshot and its instant, where the engine answered.
    pub snapshot: Option<(SnapshotVersion, DateTime<Utc>)>,
    /// How long the reply may be kept from now, where it is Postgres's.
    pub time_to_live: Option<Duration>,
    /// What the cache did.
    pub cache: CacheOutcome,
    /// From the request to the first row or the whole entry.
    pub elapsed: Duration,
}

/// What the cache did for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    /// It had the result in memory.
    Memory,
    /// It had the result in Redis.
    Redis,
    /// Somebody else's computation, under way already, made it.
    Collapsed,
    /// It was computed, and is kept now.
    Stored,
    /// It was computed, and is not kept: too large, or different each time.
    Bypassed,
}

impl CacheOutcome {
    /// For metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Collapsed => "collapsed",
            Self::Stored => "miss",
            Self::Bypassed => "bypass",
        }
    }
}

impl From<AnswerSource> for CacheOutcome {
    fn from(source: AnswerSource) -> Self {
        match source {
            AnswerSource::Hit(Tier::Memory) => Self::Memory,
            AnswerSource::Hit(Tier::Redis) => Self::Redis,
            AnswerSource::Joined => Self::Collapsed,
            AnswerSource::Filled => Self::Stored,
        }
    }
}
