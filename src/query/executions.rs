//! What runs now, and stopping it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

/// One request that is being answered.
#[derive(Clone, Debug)]
pub struct RunningExecution {
    /// The request's id.
    pub id: Arc<str>,
    /// Who asked.
    pub principal: String,
    /// `dashboard/name`, or none for SQL of their own.
    pub query: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it has run.
    pub elapsed: Duration,
}

/// All requests that are being answered. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Executions(Arc<Mutex<HashMap<u64, Entry>>>);

#[derive(Debug)]
struct Entry {
    /// Of the request: a client may give two the same.
    id: Arc<str>,
    principal: String,
    query: Option<String>,
    started_at: DateTime<Utc>,
    started: Instant,
    stop: CancellationToken,
}

/// While it lives, the request is listed.
#[derive(Debug)]
pub struct Registration {
    executions: Executions,
    token: u64,
    /// Cancelled when somebody asks for a stop.
    pub stop: CancellationToken,
}

impl Executions {
    pub(super) fn register(&self, id: &str, principal: &str, query: Option<String>) -> Registration {
        static TOKENS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let token = TOKENS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let stop = CancellationToken::new();
        let entry = Entry {
            id: id.into(),
            principal: principal.to_owned(),
            query,
            started_at: Utc::now(),
            started: Instant::now(),
            stop: stop.clone(),
        };
        self.lock().insert(token, entry);
        Registration { executions: self.clone(), token, stop }
    }

    /// What runs now, the longest-running first.
    #[must_use]
    pub fn list(&self) -> Vec<RunningExecution> {
        let mut running: Vec<RunningExecution> = self
            .lock()
            .values()
            .map(|entry| RunningExecution {
                id: Arc::clone(&entry.id),
                principal: entry.principal.clone(),
                query: entry.query.clone(),
                started_at: entry.started_at,
                elapsed: entry.started.elapsed(),
            })
            .collect();
        running.sort_by_key(|execution| std::cmp::Reverse(execution.elapsed));
        running
    }

    /// Stops requests of this id; says whether there was one that `may_stop` allows.
    pub fn stop(&self, id: &str, may_stop: impl Fn(&str) -> bool) -> bool {
        let running = self.lock();
        let mut of_id = running.values().filter(|entry| *entry.id == *id && may_stop(&entry.principal)).peekable();
        let is_any = of_id.peek().is_some();
        of_id.for_each(|entry| entry.stop.cancel());
        is_any
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.executions.lock().remove(&self.token);
    }
}
