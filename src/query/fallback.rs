//! The other side where one cannot answer, what was answered before where neither can, and what is said where there is nothing.

use std::time::{Duration, Instant};

use super::{
    Reply, Service,
    answering::{Asked, Resolved, Statement, Way},
    request::{Body, CacheOutcome, Provenance},
};
use crate::{
    access::Scope,
    cache::{Key, Mode},
    error::{Code, Error},
    rollout::{Because, Side},
    telemetry,
};

/// An answer that was given.
#[derive(Clone)]
pub(super) struct Last {
    key: Key,
    at: Instant,
    provenance: Provenance,
}

impl Service {
    /// The other side, where it was this one that failed and not the request, and where it may answer.
    pub(super) async fn other_way(&self, asked: &Asked, failed: Side, error: &Error) -> Option<Way> {
        if !is_fault_of(failed, error.code()) {
            return None;
        }
        let is_named = matches!(asked.statement, Statement::Named(..));
        let other = match failed {
            Side::Engine if is_named && self.has_postgres() && asked.decision.because != Because::Asked => {
                Side::Postgres
            }
            Side::Postgres if asked.decision.allows_engine() => Side::Engine,
            _ => return None,
        };
        let (query, request_id) = (asked.label().map(|query| query.path()), &asked.request.id);
        let way = self.way(asked, other).await;
        telemetry::fell_back(failed.name(), error.code(), way.is_ok());
        match way {
            Ok(way) => {
                tracing::warn!(%request_id, query, from = failed.name(), to = other.name(), error = %error.chain(), "fell back");
                Some(way)
            }
            Err(also) => {
                tracing::warn!(%request_id, query, from = failed.name(), to = other.name(), error = %error.chain(),
                    also = %also.chain(), "cannot fall back");
                None
            }
        }
    }

    /// Remembers what was answered, where that may be of use.
    pub(super) fn remember(&self, resolved: &Resolved, reply: &Reply) {
        let Some(rollouts) = self.0.rollouts.as_ref().filter(|rollouts| !rollouts.parts.stale_max.is_zero()) else {
            return;
        };
        let (Some(key), Body::Entry(_), Some(asked)) = (resolved.cache_key(), &reply.body, identity(&resolved.asked))
        else {
            return;
        };
        rollouts.last.insert(asked, Last { key, at: Instant::now(), provenance: reply.provenance.clone() });
    }

    /// What was answered before, if it is kept still and young enough.
    pub(super) async fn stale(&self, asked: &Asked, error: &Error) -> Option<Reply> {
        let rollouts = self.0.rollouts.as_ref()?;
        let stale_max = rollouts.parts.stale_max;
        if stale_max.is_zero()
            || error.code().kind() != crate::error::ErrorKind::Unavailable
            || asked.request.mode == Mode::Refresh
        {
            return None;
        }
        let last = rollouts.last.get(&identity(asked)?).filter(|last| last.at.elapsed() <= stale_max)?;
        let entry = self.0.cache.get(&last.key).await?;
        telemetry::answered_stale();
        tracing::warn!(request_id = %asked.request.id, error = %error.chain(), age = ?last.at.elapsed(), "answered with what was answered before");
        let provenance = Provenance {
            stale: Some(last.at.elapsed()),
            time_to_live: None,
            cache: CacheOutcome::Memory,
            elapsed: asked.started.elapsed(),
            ..last.provenance
        };
        Some(Reply { body: Body::Entry(entry), provenance, key: None })
    }
}

/// What neither side could answer.
pub(super) fn neither(first: (Side, &Error), second: &Error) -> Error {
    let (side, error) = first;
    let other = if side == Side::Engine { Side::Postgres } else { Side::Engine };
    Error::new(Code::Unavailable, "neither PostgreSQL nor the engine can answer now")
        .with_detail(format!("{}: {}; {}: {}", side.name(), error.code(), other.name(), second.code()))
        .with_hint("ask again in a moment; rollout.stale_max allows older replies meanwhile")
        .with_retry_after(Duration::from_secs(5))
        .with_cause(Error::new(second.code(), format!("{}; {}", error.chain(), second.chain())))
}

/// By what a question is known, whatever the snapshot and the moment; none for SQL of their own.
fn identity(asked: &Asked) -> Option<[u8; 32]> {
    let Statement::Named(query, parameters) = &asked.statement else { return None };
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &[u8]| {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    };
    add(query.fingerprint.as_bytes());
    add(query.path().as_bytes());
    add(serde_json::Value::Object(parameters.to_json()).to_string().as_bytes());
    add(asked.request.time_zone.as_bytes());
    match asked.request.principal.scope() {
        Scope::All => add(b"all"),
        Scope::Tenant(tenant) => {
            add(b"tenant");
            add(tenant.as_str().as_bytes());
        }
    }
    Some(*hasher.finalize().as_bytes())
}

/// Whether an error is that of the side that gave it, so that the other may well answer.
///
/// Of the engine: itself, its memory or its snapshot, and that it does not speak enough of Postgres. Where Postgres is busy, or a tenant may not
/// be routed there, it is not at fault. A value that is wrong is wrong on either side, and where time is up it is up.
pub(super) fn is_fault_of(side: Side, code: Code) -> bool {
    match (side, code) {
        (_, Code::Internal | Code::Unavailable) => true,
        (Side::Postgres, _) => false,
        (Side::Engine, code) => matches!(
            code,
            Code::CorruptStore
                | Code::SnapshotPending
                | Code::SnapshotNotFound
                | Code::UnsupportedSql
                | Code::InvalidSql
                | Code::OutOfMemory
        ),
    }
}
