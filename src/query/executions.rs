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
pub struct Executions(Arc<Mutex<HashMap<Arc<str>, Entry>>>);

#[derive(Debug)]
struct Entry {
    principal: String,
    query: Option<String>,
    started_at: DateTime<Utc>,
    started: Instant,
    stop: CancellationToken,
    /// Of this registration: a second request with the same id must not be unregistered by the first.
    token: u64,
}

/// While it lives, the request is listed.
#[derive(Debug)]
pub struct Registration {
    executions: Executions,
    id: Arc<str>,
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
            principal: principal.to_owned(),
            query,
            started_at: Utc::now(),
            started: Instant::now(),
            stop: stop.clone(),
            token,
        };
        let id: Arc<str> = id.into();
        self.lock().insert(Arc::clone(&id), entry);
        Registration { executions: self.clone(), id, token, stop }
    }

    /// What runs now, the longest-running first.
    #[must_use]
    pub fn list(&self) -> Vec<RunningExecution> {
        let mut running: Vec<RunningExecution> = self
            .lock()
            .iter()
            .map(|(id, entry)| RunningExecution {
                id: Arc::clone(id),
                principal: entry.principal.clone(),
                query: entry.query.clone(),
                started_at: entry.started_at,
                elapsed: entry.started.elapsed(),
            })
            .collect();
        running.sort_by_key(|execution| std::cmp::Reverse(execution.elapsed));
        running
    }

    /// Stops a request; says whether there was one that `may_stop` allows.
    pub fn stop(&self, id: &str, may_stop: impl FnOnce(&str) -> bool) -> bool {
        let running = self.lock();
        match running.get(id) {
            Some(entry) if may_stop(&entry.principal) => {
                entry.stop.cancel();
                true
            }
            _ => false,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut running = self.executions.lock();
        if running.get(&self.id).is_some_and(|entry| entry.token == self.token) {
            running.remove(&self.id);
        }
    }
}
