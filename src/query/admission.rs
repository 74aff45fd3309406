//! How many queries run, and how many may wait for their turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Code, Error, Result};

/// Bounds on what runs at once.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Queries that run.
    pub running_max: usize,
    /// Queries that wait.
    pub waiting_max: usize,
    /// How long one waits.
    pub wait_max: Duration,
}

pub(super) struct Admission {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    limits: AdmissionLimits,
}

/// Counts one who waits, until dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        let permits = Arc::new(Semaphore::new(limits.running_max.clamp(1, Semaphore::MAX_PERMITS)));
        Self { permits, waiting: AtomicUsize::new(0), limits }
    }

    /// Waits for a permit, first come first served, no longer than a place in the queue lasts and no later than `deadline`.
    pub(super) async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.limits.waiting_max {
            return Err(full("every place in the queue is taken"));
        }
        let until = deadline.min(Instant::now() + self.limits.wait_max);
        let permit = tokio::time::timeout_at(until.into(), Arc::clone(&self.permits).acquire_owned()).await;
        drop(place);
        match permit {
            Ok(permit) => Ok(permit.expect("the semaphore is never closed")),
            Err(_) if Instant::now() >= deadline => Err(super::too_late()),
            Err(_) => Err(full("no query finished in time for this one to start")),
        }
    }
}

fn full(why: &str) -> Error {
    Error::new(Code::ServerFull, format!("the server is busy: {why}"))
        .with_retry_after(Duration::from_secs(1))
        .with_hint("ask again in a moment; engine.queries_max and engine.queue_max are the limits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(waiting_max: usize, wait_ms: u64) -> AdmissionLimits {
        AdmissionLimits { running_max: 1, waiting_max, wait_max: Duration::from_millis(wait_ms) }
    }

    #[tokio::test]
    async fn one_runs_one_waits_and_the_third_is_refused() {
        let admission = Arc::new(Admission::new(limits(1, 10_000)));
        let deadline = Instant::now() + Duration::from_secs(60);
        let running = admission.enter(deadline).await.unwrap();
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.enter(deadline).await }
        });
        while admission.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(admission.enter(deadline).await.unwrap_err().code(), Code::ServerFull);
        drop(running);
        assert!(waiting.await.unwrap().is_ok());
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_place_or_the_deadline() {
        let admission = Admission::new(limits(8, 20));
        let far = Instant::now() + Duration::from_secs(60);
        let _running = admission.enter(far).await.unwrap();
        assert_eq!(admission.enter(far).await.unwrap_err().code(), Code::ServerFull);
        let near = Instant::now() + Duration::from_millis(5);
        assert_eq!(admission.enter(near).await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }
}
