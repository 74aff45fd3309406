//! From a request to its reply: which side it is for, by what its result is known, and the other side where that one cannot.

use std::{sync::Arc, time::Instant};

use chrono::Utc;
use futures::{FutureExt, StreamExt};

use super::{
    Bound, NamedQuery, RawParameters, Registration, Reserved, Service, cancelled,
    fallback::{is_fault_of, neither},
    key, not_for_tenants,
    postgres_route::{Asking, Question},
    request::{Body, CacheOutcome, Pin, Provenance, Reply, Request, Target},
    shadow::Job,
    too_late,
};
use crate::{
    access::{Role, Scope},
    cache::{Answer, BatchStream, Filling, Key, Mode},
    engine::{PlanContext, Prepared, Sight},
    error::{Code, Error, Result},
    rollout::{Because, Decision, Route, Side},
    sql::ReadOnlySql,
    telemetry,
};

/// A request that is understood: typed, planned where the engine answers, and identified.
pub struct Resolved {
    pub(super) asked: Asked,
    pub(super) way: Way,
    /// The side that could not answer, and what it said.
    failed: Option<(Side, Error)>,
}

/// What is asked, whoever answers.
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) started: Instant,
    deadline: Instant,
    pub(super) statement: Statement,
    pub(super) decision: Decision,
}

pub(super) enum Statement {
    /// With its parameters, those that a token fixes among them.
    Named(Arc<NamedQuery>, RawParameters),
    AdHoc(Arc<ReadOnlySql>),
}

pub(super) enum Way {
    Engine { prepared: Arc<Prepared>, bound: Bound, key: Option<Key> },
    Postgres(Arc<Question>),
}

impl Service {
    /// Answers a request.
    pub async fn run(&self, request: Request) -> Result<Reply> {
        let resolved = self.resolve(request).await?;
        self.answer(resolved).await
    }

    /// Answers a named query on one side, whatever its route, and on no other: for whoever measures.
    pub async fn run_on(&self, side: Side, request: Request) -> Result<Reply> {
        let mut asked = self.asked(request)?;
        let route = if side == Side::Engine { Route::Engine } else { Route::Postgres };
        asked.decision = Decision { route, because: Because::Asked };
        let way = self.way(&asked, side).await?;
        self.try_answer(&Resolved { asked, way, failed: None }).await
    }

    /// Understands a request without running it: finds the query, decides who answers it, types its parameters, plans it, and says by which
    /// key its result is known. Equal keys are equal results, so a client that holds a body of this key need not be sent another.
    pub async fn resolve(&self, request: Request) -> Result<Resolved> {
        let asked = self.asked(request)?;
        let side = asked.decision.route.side();
        let error = match self.way(&asked, side).await {
            Ok(way) => return Ok(Resolved { asked, way, failed: None }),
            Err(error) => error,
        };
        self.note(&asked, side, Some(&error));
        match self.other_way(&asked, side, &error).await {
            Some(way) => Ok(Resolved { asked, way, failed: Some((side, error)) }),
            None => Err(error),
        }
    }

    /// Answers what [`Self::resolve`] understood: from the cache, or by running it; once on the other side where this one fails; and where
    /// neither can, with what was answered before, if that is allowed.
    pub async fn answer(&self, resolved: Resolved) -> Result<Reply> {
        let mut resolved = resolved;
        let mut outcome = self.try_answer(&resolved).await;
        let mut side = resolved.way.side();
        if resolved.failed.is_none() {
            self.note(&resolved.asked, side, outcome.as_ref().err());
        }
        if let Err(error) = &outcome
            && resolved.failed.is_none()
            && let Some(way) = self.other_way(&resolved.asked, side, error).await
        {
            let failed = Some((side, error.clone()));
            side = way.side();
            resolved = Resolved { asked: resolved.asked, way, failed };
            outcome = self.try_answer(&resolved).await;
        }
        // What the second says of the request itself is what there is to say; else neither could.
        if let (Err(second), Some((first, error))) = (&outcome, &resolved.failed)
            && is_fault_of(side, second.code())
        {
            outcome = Err(neither((*first, error), second));
        }
        if let Ok(reply) = &outcome {
            self.remember(&resolved, reply);
            self.shadow(&resolved, reply);
        }
        if let Err(error) = &outcome
            && let Some(reply) = self.stale(&resolved.asked, error).await
        {
            outcome = Ok(reply);
        }
        resolved.asked.count(side, &outcome);
        outcome
    }

    /// Notes how the engine did, and sends the query back to Postgres where that was not good enough.
    fn note(&self, asked: &Asked, side: Side, error: Option<&Error>) {
        let (Some(rollouts), Side::Engine, Some(query)) = (&self.0.rollouts, side, asked.label()) else { return };
        if asked.decision.because == Because::Asked {
            return;
        }
        let failed = error.is_some_and(|error| is_fault_of(side, error.code()));
        let path = query.path();
        if let Some((reason, detail)) = rollouts.windows.note(&path, Instant::now(), asked.started.elapsed(), failed) {
            let service = self.clone();
            tokio::spawn(async move { service.trip(&path, reason, detail).await });
        }
    }

    /// Has the other side asked too, if it is this request's turn.
    fn shadow(&self, resolved: &Resolved, reply: &Reply) {
        let (Some(rollouts), Statement::Named(query, parameters)) = (&self.0.rollouts, &resolved.asked.statement)
        else {
            return;
        };
        let (asked, side, options) = (&resolved.asked, resolved.way.side(), rollouts.shadows.options);
        let percent = match asked.decision.route {
            Route::Shadow => options.percent,
            Route::Engine => options.engine_percent,
            Route::Postgres => 0,
        };
        let answer = match (&reply.body, side) {
            (Body::Entry(answer), _) => Some(Arc::clone(answer)),
            // Postgres is asked again; what the engine has streamed is gone.
            (Body::Stream { .. }, Side::Postgres) => None,
            (Body::Stream { .. }, Side::Engine) => return,
        };
        if resolved.failed.is_some() || percent == 0 {
            return;
        }
        let engine = match &resolved.way {
            Way::Engine { prepared, .. } => Some(prepared.engine().clone()),
            Way::Postgres(_) => self.newest(),
        };
        let Some(engine) = engine else { return };
        if asked.decision.because != Because::Asked && rollouts.shadows.is_chosen(percent) {
            rollouts.shadows.offer(Job {
                query: Arc::clone(query),
                parameters: parameters.clone(),
                scope: asked.request.principal.scope().clone(),
                time_zone: asked.request.time_zone.clone(),
                answered_by: side,
                answer,
                elapsed: reply.provenance.elapsed,
                engine,
            });
        }
    }

    fn asked(&self, request: Request) -> Result<Asked> {
        let started = Instant::now();
        let statement = match &request.target {
            Target::Named { dashboard, name } => {
                request.principal.require(Role::Dashboard)?;
                request.principal.require_query(dashboard, name)?;
                let query = self.0.library.get(dashboard, name)?;
                let parameters = match request.principal.grant() {
                    Some(grant) => request.parameters.fixed(&grant.parameters, &query)?,
                    None => request.parameters.clone(),
                };
                if self.has_postgres() {
                    self.0.hot.count(&query.path(), &parameters);
                }
                Statement::Named(query, parameters)
            }
            Target::AdHoc(text) => {
                request.principal.require(Role::Analyst)?;
                if request.principal.grant().is_some() {
                    return Err(Error::new(Code::PermissionDenied, "a token for a dashboard runs no SQL of its own"));
                }
                Statement::AdHoc(self.statement(text)?)
            }
        };
        let decision = match &statement {
            // A snapshot that somebody names is the engine's, as is SQL of their own: the source is not there for that.
            _ if matches!(request.snapshot, Pin::Version(_)) => {
                Decision { route: Route::Engine, because: Because::Asked }
            }
            Statement::AdHoc(_) => Decision { route: Route::Engine, because: Because::Only },
            Statement::Named(query, _) => self.decide(query, &request.principal),
        };
        let timeout = match &statement {
            Statement::Named(query, _) => query.timeout,
            Statement::AdHoc(_) => None,
        };
        let deadline = started + timeout.unwrap_or(self.0.limits.timeout);
        Ok(Asked { request, started, deadline, statement, decision })
    }

    /// What it takes to have one side answer.
    pub(super) async fn way(&self, asked: &Asked, side: Side) -> Result<Way> {
        match (side, &asked.statement, &self.0.rollouts) {
            (Side::Postgres, Statement::Named(query, parameters), Some(rollouts)) => {
                let (scope, zone) = (asked.request.principal.scope(), &asked.request.time_zone);
                let question =
                    rollouts.postgres().question(query, parameters, scope, zone, Utc::now(), asked.deadline).await?;
                Ok(Way::Postgres(Arc::new(question)))
            }
            (Side::Postgres, ..) => {
                Err(Error::internal("a request was routed to PostgreSQL, to which there is no way"))
            }
            (Side::Engine, ..) => self.way_to_engine(asked).await,
        }
    }

    async fn way_to_engine(&self, asked: &Asked) -> Result<Way> {
        let request = &asked.request;
        let engine = self.engine(&request.snapshot).await?;
        let scope = request.principal.scope();
        let reserved =
            Reserved { scope, tenant_type: self.0.tenant_type, now: engine.as_of(), time_zone: &request.time_zone };
        let (sql, bound): (&ReadOnlySql, Bound) = match &asked.statement {
            Statement::Named(query, parameters) => (&query.sql, parameters.bind_named(query, &query.sql, &reserved)?),
            Statement::AdHoc(sql) => (sql, request.parameters.bind_ad_hoc(sql, &reserved)?),
        };
        let context = PlanContext { time_zone: request.time_zone.clone(), sight: Sight::from(scope) };
        let prepared = self.prepare(&engine, sql, &bound, context, asked.deadline).await;
        let prepared = prepared.map_err(|error| match &asked.statement {
            Statement::Named(query, _) if *scope != Scope::All => not_for_tenants(error, query),
            _ => error,
        })?;
        let key = key::of(&prepared, sql, &bound, scope, &request.time_zone);
        Ok(Way::Engine { prepared, bound, key })
    }

    async fn try_answer(&self, resolved: &Resolved) -> Result<Reply> {
        let asked = &resolved.asked;
        let key = resolved.cache_key();
        // The fast path allocates nothing and registers nothing: there is nothing to stop.
        if let (Some(key), Mode::Default) = (&key, asked.request.mode)
            && let Some(entry) = self.0.cache.get(key).await
        {
            let provenance = resolved.provenance(CacheOutcome::Memory);
            return Ok(Reply { body: Body::Entry(entry), provenance, key: resolved.key().copied() });
        }

        let request = &asked.request;
        let label = asked.label().map(|query| query.path());
        let registration = self.0.executions.register(&request.id, request.principal.name(), label);
        let (cache_key, mode) = match key {
            Some(key) => (key, request.mode),
            None => (Key::new(*blake3::hash(request.id.as_bytes()).as_bytes()), Mode::Bypass),
        };
        let fill = {
            let service = self.clone();
            let (deadline, scope) = (asked.deadline, request.principal.scope().clone());
            let time_zone = request.time_zone.clone();
            let way = resolved.way.clone();
            move || async move { service.fill(&way, &scope, &time_zone, deadline).await }
        };
        let answered = async {
            match self.0.cache.get_or_fill(cache_key, mode, fill).await? {
                Answer::Stream(filling) => begun(filling).await.map(Answer::Stream),
                entry => Ok(entry),
            }
        };
        let answer = tokio::select! {
            biased;
            () = registration.stop.cancelled() => return Err(cancelled()),
            answer = tokio::time::timeout_at(asked.deadline.into(), answered) => {
                answer.unwrap_or_else(|_| Err(too_late()))?
            }
        };
        let (body, cache) = match answer {
            Answer::Entry { entry, source } => (Body::Entry(entry), CacheOutcome::from(source)),
            Answer::Stream(Filling { schema, batches }) => {
                (Body::Stream { schema, batches: stoppable(batches, registration) }, CacheOutcome::Bypassed)
            }
        };
        Ok(Reply { body, provenance: resolved.provenance(cache), key: resolved.key().copied() })
    }

    /// Runs it, under a permit of its side that is held until the last batch.
    async fn fill(&self, way: &Way, scope: &Scope, time_zone: &str, deadline: Instant) -> Result<Filling> {
        let (prepared, bound) = match way {
            Way::Engine { prepared, bound, .. } => (prepared, bound),
            Way::Postgres(question) => {
                let rollouts = self.0.rollouts.as_ref();
                let rollouts = rollouts.ok_or_else(|| Error::internal("there is no way to PostgreSQL"))?;
                let asked = rollouts.postgres().ask(question, Asking::default(), deadline).boxed().await?;
                return Ok(asked.filling);
            }
        };
        let permit = self.0.admission.enter(deadline).await?;
        let values = bound.0.iter().map(|(kind, value)| kind.to_scalar(value, time_zone)).collect();
        let execution = prepared.execute(values, scope, deadline).await?;
        let batches = execution.batches.map(move |batch| {
            let _held = &permit;
            batch
        });
        Ok(Filling { schema: execution.schema, batches: batches.boxed() })
    }
}

impl Resolved {
    /// What identifies the result; none where two runs may differ, as on Postgres, whose tables change.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match &self.way {
            Way::Engine { key, .. } => key.as_ref(),
            Way::Postgres(_) => None,
        }
    }

    /// What the reply is kept under.
    pub(super) fn cache_key(&self) -> Option<Key> {
        match &self.way {
            Way::Engine { key, .. } => *key,
            Way::Postgres(question) => question.key,
        }
    }

    /// The named query that it is for.
    #[must_use]
    pub fn label(&self) -> Option<&Arc<NamedQuery>> {
        self.asked.label()
    }

    /// Where its reply comes from.
    #[must_use]
    pub fn provenance(&self, cache: CacheOutcome) -> Provenance {
        let (snapshot, time_to_live) = match &self.way {
            Way::Engine { prepared, .. } => (Some((prepared.engine().version(), prepared.engine().as_of())), None),
            Way::Postgres(question) => {
                let left = |until: Instant| until.saturating_duration_since(Instant::now());
                (None, question.fresh_until.map(left))
            }
        };
        Provenance {
            route: self.asked.decision.route,
            side: self.way.side(),
            is_fallback: self.failed.is_some(),
            stale: None,
            snapshot,
            time_to_live,
            cache,
            elapsed: self.asked.started.elapsed(),
        }
    }
}

impl Asked {
    pub(super) fn label(&self) -> Option<&Arc<NamedQuery>> {
        match &self.statement {
            Statement::Named(query, _) => Some(query),
            Statement::AdHoc(_) => None,
        }
    }

    fn count(&self, side: Side, outcome: &Result<Reply>) {
        telemetry::query_answered(
            self.label().map(|query| (query.dashboard.as_str(), query.name.as_str())),
            side.name(),
            self.started.elapsed(),
            outcome.as_ref().map(|reply| reply.provenance.cache.name()).map_err(Error::code),
        );
    }
}

impl Way {
    fn side(&self) -> Side {
        match self {
            Self::Engine { .. } => Side::Engine,
            Self::Postgres(_) => Side::Postgres,
        }
    }
}

impl Clone for Way {
    fn clone(&self) -> Self {
        match self {
            Self::Engine { prepared, bound, key } => {
                Self::Engine { prepared: Arc::clone(prepared), bound: bound.clone(), key: *key }
            }
            Self::Postgres(question) => Self::Postgres(Arc::clone(question)),
        }
    }
}

/// A stream whose first batch is there: what fails before it can still be answered otherwise.
async fn begun(filling: Filling) -> Result<Filling> {
    let Filling { schema, mut batches } = filling;
    let first = batches.next().await.transpose()?;
    let batches = futures::stream::iter(first.map(Ok)).chain(batches).boxed();
    Ok(Filling { schema, batches })
}

/// A stream that ends with an error when somebody asks for a stop, and keeps its request listed until it ends.
fn stoppable(batches: BatchStream, registration: Registration) -> BatchStream {
    let stream = futures::stream::unfold(Some((batches, registration)), |state| async move {
        let (mut batches, registration) = state?;
        let batch = tokio::select! {
            biased;
            () = registration.stop.cancelled() => return Some((Err(cancelled()), None)),
            batch = batches.next() => batch?,
        };
        let rest = batch.is_ok().then_some((batches, registration));
        Some((batch, rest))
    });
    stream.boxed()
}
