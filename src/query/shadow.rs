//! Live requests on the other side too, after their reply, and whether that would have been the same reply.
//!
//! Owns: the queue, which is bounded and drops; the worker; what is known of each query. Must not know: what follows, which `rollout` says.
//!
//! A live source moves on, so that a different answer proves nothing by itself. It is proof where the source is seen to be exactly where it was
//! when the snapshot was taken: then no transaction has written since. Otherwise the answer is unproven, and what was asked is asked again for
//! the next certificate, as of one instant.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::Utc;
use tokio::sync::mpsc;

use super::{
    NamedQuery, RawParameters, Service,
    certify::{OnEngine, collect},
    postgres_route::Asking,
};
use crate::{
    access::Scope,
    cache::Entry,
    engine::Engine,
    error::{Error, Result},
    rollout::{Answer, Cell, Promise, Side, Verdict, compare},
    telemetry,
};

/// How much of live traffic is asked again.
#[derive(Clone, Copy, Debug)]
pub struct ShadowOptions {
    /// Of a hundred requests whose route is `shadow`.
    pub percent: u8,
    /// Of a hundred that the engine answers: these ask Postgres.
    pub engine_percent: u8,
    /// How many wait; more are dropped, and counted.
    pub queue_max: usize,
}

/// A request that has been answered.
pub(super) struct Job {
    pub(super) query: Arc<NamedQuery>,
    pub(super) parameters: RawParameters,
    pub(super) scope: Scope,
    pub(super) time_zone: String,
    pub(super) answered_by: Side,
    /// None where it was not kept: Postgres is asked again.
    pub(super) answer: Option<Arc<Entry>>,
    pub(super) elapsed: Duration,
    /// That answered, or is to answer.
    pub(super) engine: Engine,
}

pub(super) struct Shadows {
    pub(super) options: ShadowOptions,
    sender: mpsc::Sender<Job>,
    /// Until the worker takes it.
    receiver: Mutex<Option<mpsc::Receiver<Job>>>,
    turn: AtomicU64,
    known: Mutex<BTreeMap<String, ShadowCounts>>,
}

/// What is known of a query on this node, since it started. No values of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShadowCounts {
    /// Answers that were the same.
    pub equal: u64,
    /// Answers that were proven to be others.
    pub different: u64,
    /// Answers that were others while the source had moved on, or that cannot be compared.
    pub unproven: u64,
    /// Requests that the other side did not answer.
    pub failed: u64,
    /// Of both sides, in milliseconds, over all of them.
    pub postgres_ms: f64,
    /// As above.
    pub engine_ms: f64,
}

enum Outcome {
    Equal,
    Different(String),
    Unproven,
    Failed(Error),
}

impl Shadows {
    pub(super) fn new(options: ShadowOptions) -> Self {
        let (sender, receiver) = mpsc::channel(options.queue_max.max(1));
        Self { options, sender, receiver: Mutex::new(Some(receiver)), turn: AtomicU64::new(0), known: Mutex::default() }
    }

    /// Whether it is this request's turn, of so many in a hundred: evenly, and not by chance.
    pub(super) fn is_chosen(&self, percent: u8) -> bool {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let percent = u64::from(percent.min(100));
        percent > 0 && (turn + 1) * percent / 100 > turn * percent / 100
    }

    /// Queues it, unless the queue is full.
    pub(super) fn offer(&self, job: Job) {
        if let Err(error) = self.sender.try_send(job) {
            let (mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) = error;
            telemetry::shadow_judged(&job.query.dashboard, &job.query.name, "dropped");
        }
    }

    pub(super) fn counts(&self, query: &str) -> ShadowCounts {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(query).cloned().unwrap_or_default()
    }
}

impl Service {
    /// Asks the other side what is queued, one after the other, until the process ends. Once for each service.
    pub async fn keep_shadowing(&self) {
        let Some(rollouts) = &self.0.rollouts else { return };
        let taken = rollouts.shadows.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut receiver) = taken else { return };
        while let Some(job) = receiver.recv().await {
            let (outcome, took) = self.judge(&job).await;
            self.note_shadow(&job, outcome, took).await;
        }
    }

    async fn note_shadow(&self, job: &Job, outcome: Outcome, took: Duration) {
        let Some(rollouts) = &self.0.rollouts else { return };
        let path = job.query.path();
        let (postgres, engine) = match job.answered_by {
            Side::Postgres => (job.elapsed, took),
            Side::Engine => (took, job.elapsed),
        };
        let name = match &outcome {
            Outcome::Equal => "equal",
            Outcome::Different(_) => "different",
            Outcome::Unproven => "unproven",
            Outcome::Failed(_) => "failed",
        };
        telemetry::shadow_judged(&job.query.dashboard, &job.query.name, name);
        {
            let mut known = rollouts.shadows.known.lock().unwrap_or_else(PoisonError::into_inner);
            let counts = known.entry(path.clone()).or_default();
            counts.postgres_ms += postgres.as_secs_f64() * 1e3;
            counts.engine_ms += engine.as_secs_f64() * 1e3;
            *match &outcome {
                Outcome::Equal => &mut counts.equal,
                Outcome::Different(_) => &mut counts.different,
                Outcome::Unproven => &mut counts.unproven,
                Outcome::Failed(_) => &mut counts.failed,
            } += 1;
        }
        match outcome {
            Outcome::Equal => {}
            Outcome::Unproven => self.0.hot.raise(&path, &job.parameters),
            Outcome::Failed(error) => {
                tracing::warn!(query = path, error = %error.chain(), "the other side did not answer a shadowed request");
            }
            Outcome::Different(why) => {
                self.trip(&path, crate::rollout::HoldReason::Different, format!("a live request: {why}")).await;
            }
        }
    }

    /// Asks the other side, and compares.
    async fn judge(&self, job: &Job) -> (Outcome, Duration) {
        let started = Instant::now();
        let judged = match job.answered_by {
            Side::Postgres => self.judge_engine(job).await,
            Side::Engine => self.judge_postgres(job).await,
        };
        let took = started.elapsed();
        match judged {
            Ok((outcome, took)) => (outcome, took),
            Err(error) => (Outcome::Failed(error), took),
        }
    }

    async fn judge_engine(&self, job: &Job) -> Result<(Outcome, Duration)> {
        let started = Instant::now();
        let deadline = started + job.query.timeout.unwrap_or(self.0.limits.timeout);
        let ours =
            self.on_engine(&job.query, &job.parameters, &job.scope, &job.time_zone, &job.engine, deadline).await?;
        let took = started.elapsed();
        let OnEngine::Answer(Some(ours)) = ours else { return Ok((Outcome::Unproven, took)) };
        let promise = Promise::from(&job.query.sql);
        if let Some(answer) = &job.answer
            && compare(&Answer::new(answer.schema(), answer.batches())?, &ours, &promise) == Verdict::Equal
        {
            return Ok((Outcome::Equal, took));
        }
        // The reply may have been kept for a while; what counts is what Postgres says now, if now is the snapshot's instant still.
        Ok((self.settle(job, &ours, &promise, deadline).await?, took))
    }

    async fn judge_postgres(&self, job: &Job) -> Result<(Outcome, Duration)> {
        let started = Instant::now();
        let deadline = started + job.query.timeout.unwrap_or(self.0.limits.timeout);
        let Some(answer) = &job.answer else { return Err(Error::internal("a streamed answer was to be compared")) };
        let ours = Answer::new(answer.schema(), answer.batches())?;
        let promise = Promise::from(&job.query.sql);
        let outcome = self.settle(job, &ours, &promise, deadline).await?;
        Ok((outcome, started.elapsed()))
    }

    /// Asks Postgres, and where it is.
    async fn settle(&self, job: &Job, ours: &Answer, promise: &Promise, deadline: Instant) -> Result<Outcome> {
        let route = self.rollouts()?.postgres();
        let question =
            route.question(&job.query, &job.parameters, &job.scope, &job.time_zone, Utc::now(), deadline).await?;
        let asked = route.ask(&question, Asking { snapshot: None, wants_position: true }, deadline).await?;
        let Some(batches) = collect(asked.filling.batches).await? else { return Ok(Outcome::Unproven) };
        let theirs = Answer::new(&asked.filling.schema, &batches)?;
        let verdict = compare(&theirs, ours, promise);
        let is_where_it_was = asked.position.is_some() && asked.position == job.engine.manifest().source.transactions;
        Ok(match verdict {
            Verdict::Equal => Outcome::Equal,
            Verdict::Different { why, cells } if is_where_it_was => Outcome::Different(told(&why, &cells)),
            Verdict::Different { .. } | Verdict::NotComparable { .. } => Outcome::Unproven,
        })
    }
}

/// Which cell, and no value of it: what a tenant sees is not for the rollout's document.
fn told(why: &str, cells: &[Cell]) -> String {
    match cells.first() {
        Some(cell) => format!("{why}, in column {} of row {}", cell.column, cell.row),
        None => why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_hundred_are_chosen() {
        let options = ShadowOptions { percent: 0, engine_percent: 0, queue_max: 1 };
        for percent in [0, 1, 7, 50, 99, 100] {
            let shadows = Shadows::new(options);
            let chosen = (0..1_000).filter(|_| shadows.is_chosen(percent)).count();
            assert_eq!(chosen, usize::from(percent) * 10, "{percent}");
        }
    }
}
