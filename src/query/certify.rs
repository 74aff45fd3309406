//! Whether the engine answers as Postgres does: every named query on both sides, as of one instant, before a snapshot is published.
//!
//! Owns: which queries are asked with which parameters for which tenants, and how much that may cost. Must not know: what follows from it,
//! which `rollout` says.
//!
//! The source's transaction is open all the while, so that time is short: what is not asked in time is not certified, and the snapshot is
//! published all the same.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde_json::{Map, Value};

use super::{Bound, NamedQuery, RawParameters, Reserved, Service, postgres_route::Asking};
use crate::{
    access::{Scope, TenantId},
    cache::BatchStream,
    engine::{Engine, PlanContext, Sight, TablePolicy},
    error::{Code, Error, Result},
    postgres::quote_ident,
    rollout::{
        Answer, Case, Certificate, Edit, Findings, Hold, HoldReason, Outcome, Promise, QueryFindings, Rollout, compare,
    },
    sql::ParameterValue,
    store::Manifest,
};

/// Answers of more bytes are not compared: a dashboard shows less.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Sets of parameters that a query is asked with, besides its samples.
const HOTTEST_MAX: usize = 3;
/// Where the rollout says who changed it.
pub(super) const SELF: &str = "pilaster";

/// How answers are compared before a snapshot is published.
#[derive(Clone, Copy, Debug)]
pub struct CertifyOptions {
    /// Whether the engine answers only what is certified.
    pub is_required: bool,
    /// Whether a certificate ends what held a query.
    pub releases: bool,
    /// For all of it; zero for no certificates.
    pub timeout: Duration,
    /// Statements on Postgres at once.
    pub connections: usize,
    /// Tenants for whom each query is asked, besides for all.
    pub tenants: usize,
}

/// One way to ask a query.
struct Ask {
    query: Arc<NamedQuery>,
    /// Its place among the queries.
    index: usize,
    parameters: RawParameters,
    scope: Scope,
}

impl Service {
    /// Compares both sides as of the exported `snapshot` of the source, of which `manifest` is about to be published, and writes down what
    /// was found: in the store, and in the rollout, where queries that differ are held from now on.
    ///
    /// None where there is one side only, or certificates are not wanted.
    ///
    /// # Errors
    /// When the findings cannot be written down. That some are not equal is no error.
    pub async fn certify(&self, manifest: &Manifest, snapshot: &str) -> Result<Option<Certificate>> {
        let Some(rollouts) = &self.0.rollouts else { return Ok(None) };
        let options = rollouts.parts.certify;
        if options.timeout.is_zero() {
            return Ok(None);
        }
        let started = Instant::now();
        let engine = Engine::open(&self.0.store, Arc::new(manifest.clone()), &self.0.runtime)?;
        let findings = self.findings(&engine, snapshot, options, started + options.timeout).await?;
        let certificate = Certificate {
            format: Certificate::FORMAT,
            snapshot: manifest.version.get(),
            run_id: manifest.run_id.to_string(),
            as_of: manifest.as_of,
            at: Utc::now(),
            elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            queries: findings,
        };
        self.0.store.keep_certificate(manifest.version, manifest.run_id, certificate.to_bytes().into()).await?;
        tracing::info!(
            snapshot = certificate.snapshot,
            elapsed_ms = certificate.elapsed_ms,
            equal = certificate.count(Outcome::Equal),
            different = certificate.count(Outcome::Different),
            not_comparable = certificate.count(Outcome::NotComparable),
            too_slow = certificate.count(Outcome::TooSlow),
            not_certified = certificate.count(Outcome::NotCertified),
            "certified"
        );
        // Before the snapshot is there: nobody is to be given an answer of it that is known to be another.
        let equal = certificate.queries.iter().filter(|query| query.outcome == Outcome::Equal);
        let different = certificate.queries.iter().filter(|query| query.outcome == Outcome::Different);
        let hold = |query: &QueryFindings| {
            let detail = format!("snapshot {}: {}", certificate.snapshot, query.why.as_deref().unwrap_or_default());
            Hold::new(HoldReason::Different, detail, certificate.at)
        };
        let edit = Edit::Certify(Findings {
            snapshot: certificate.snapshot,
            equal: equal.map(|query| (query.query.clone(), query.fingerprint.clone())).collect(),
            different: different.map(|query| (query.query.clone(), hold(query))).collect(),
            releases: options.releases,
            default: self.rollout_default()?,
        });
        let held = |rollout: &Rollout, query: &str| rollout.queries.get(query).is_some_and(|said| said.hold.is_some());
        let before = self.rollout()?;
        rollouts.change(edit, SELF, &format!("the certificate of snapshot {}", certificate.snapshot)).await?;
        let different = certificate.queries.iter().filter(|query| query.outcome == Outcome::Different);
        for query in different.filter(|query| !held(&before, &query.query)) {
            self.alert(&query.query, HoldReason::Different, query.why.as_deref().unwrap_or_default(), false);
        }
        Ok(Some(certificate))
    }

    /// The newest certificate of a snapshot.
    pub async fn certificate(&self, version: crate::store::SnapshotVersion) -> Result<Certificate> {
        let bytes = self.0.store.certificate(version).await?.ok_or_else(|| {
            Error::new(Code::NotFound, format!("snapshot {version} has no certificate")).with_hint(
                "one is made with each snapshot where rollout.enabled is true; pilaster certify takes one now",
            )
        })?;
        Certificate::from_bytes(&bytes)
    }

    async fn findings(
        &self,
        engine: &Engine,
        snapshot: &str,
        options: CertifyOptions,
        deadline: Instant,
    ) -> Result<Vec<QueryFindings>> {
        let queries: Vec<Arc<NamedQuery>> = self.0.library.catalog().queries.values().cloned().collect();
        let tenants = self.largest_tenants(engine, options.tenants, deadline).await;
        let mut asks: Vec<(usize, Ask)> = Vec::new();
        for (index, query) in queries.iter().enumerate() {
            let scopes = std::iter::once(Scope::All).chain(tenants.iter().cloned().map(Scope::Tenant));
            let sets = self.known_parameters(query);
            let ways = scopes.flat_map(|scope| sets.iter().map(move |set| (scope.clone(), set.clone())));
            asks.extend(
                ways.enumerate().map(|(turn, (scope, parameters))| {
                    (turn, Ask { query: Arc::clone(query), index, parameters, scope })
                }),
            );
        }
        // Everything once before anything twice, so that a budget that ends early has seen each query.
        asks.sort_by_key(|(turn, _)| *turn);
        let cases: Vec<(usize, Option<Case>)> = futures::stream::iter(asks)
            .map(|(_, ask)| async move { (ask.index, self.case(engine, snapshot, ask, deadline).await) })
            .buffer_unordered(options.connections)
            .collect()
            .await;
        let mut of_query: Vec<Vec<Case>> = queries.iter().map(|_| Vec::new()).collect();
        for (index, case) in cases {
            of_query[index].extend(case);
        }
        let findings = queries.iter().zip(of_query);
        Ok(findings.map(|(query, cases)| QueryFindings::of(query.path(), query.fingerprint.clone(), cases)).collect())
    }

    /// What the query is asked with: its samples, its defaults where it has all, and what is asked most.
    #[must_use]
    pub fn known_parameters(&self, query: &NamedQuery) -> Vec<RawParameters> {
        let mut sets: Vec<RawParameters> = Vec::new();
        if query.parameters.iter().all(|parameter| parameter.default.is_some()) {
            sets.push(RawParameters::default());
        }
        sets.extend(query.samples.iter().map(|sample| {
            let pairs = sample.iter().flat_map(|(name, value)| match value {
                ParameterValue::List(items) => items.iter().map(|item| (name.clone(), item.to_string())).collect(),
                ParameterValue::Null => Vec::new(),
                one => vec![(name.clone(), one.to_string())],
            });
            RawParameters::from_pairs(pairs)
        }));
        for hot in self.0.hot.of(&query.path(), HOTTEST_MAX) {
            if !sets.contains(&hot) {
                sets.push(hot);
            }
        }
        sets
    }

    /// Tenants with many rows, with some, and with few: of the table of tenants that has most rows.
    async fn largest_tenants(&self, engine: &Engine, count: usize, deadline: Instant) -> Vec<TenantId> {
        let policies = self.0.runtime.policies();
        let of_tenants =
            |table: &&crate::store::Table| matches!(policies.get(&table.name), Some(TablePolicy::Tenant(_)));
        let tables = engine.manifest().tables.iter().filter(of_tenants);
        let Some(table) = tables.max_by_key(|table| table.row_count).filter(|_| count > 0) else { return Vec::new() };
        let Some(TablePolicy::Tenant(column)) = policies.get(&table.name) else { return Vec::new() };
        let column = quote_ident(column);
        let sql = format!(
            "SELECT CAST({column} AS text) AS tenant FROM {}.{} WHERE {column} IS NOT NULL GROUP BY {column} ORDER BY count(*) DESC, {column}",
            quote_ident(&table.name.schema),
            quote_ident(&table.name.table)
        );
        let found = async {
            let sql = crate::sql::ReadOnlySql::parse(&sql, self.0.limits.statement)?;
            let context = PlanContext { time_zone: "UTC".into(), sight: Sight::Everything };
            let prepared = engine.prepare(&sql, Vec::new(), &context, deadline).await?;
            let execution = prepared.execute(Vec::new(), &Scope::All, deadline).await?;
            let batches = collect(execution.batches).await?.unwrap_or_default();
            Answer::new(&execution.schema, &batches)
        };
        let tenants: Vec<String> = match found.await {
            Ok(answer) => answer.rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect(),
            Err(error) => {
                tracing::warn!(error = %error.chain(), "the tenants to certify for are not known");
                Vec::new()
            }
        };
        // The largest, the smallest, and those in between at equal steps.
        let last = tenants.len().saturating_sub(1);
        let mut places: Vec<usize> =
            (0..count.min(tenants.len())).map(|step| last * step / count.saturating_sub(1).max(1)).collect();
        places.dedup();
        places.iter().filter_map(|place| TenantId::new(&tenants[*place]).ok()).collect()
    }

    /// Asks both sides. None where the query is not for this tenant.
    async fn case(&self, engine: &Engine, snapshot: &str, ask: Ask, deadline: Instant) -> Option<Case> {
        let parameters: Map<String, Value> = ask.parameters.to_json();
        let tenant = match &ask.scope {
            Scope::All => None,
            Scope::Tenant(tenant) => Some(tenant.as_str().to_owned()),
        };
        let case = Case {
            tenant,
            parameters,
            outcome: Outcome::NotCertified,
            why: None,
            cells: Vec::new(),
            rows: 0,
            postgres_ms: 0.0,
            engine_ms: 0.0,
        };
        let failed = |case: Case, outcome, why: String| Some(Case { outcome, why: Some(why), ..case });
        if Instant::now() >= deadline {
            return failed(case, Outcome::NotCertified, "time was up: rollout.certify_timeout".into());
        }
        let started = Instant::now();
        let postgres = self.on_postgres(&ask, engine.as_of(), snapshot, deadline).await;
        let case = Case { postgres_ms: milliseconds(started), ..case };
        let postgres = match postgres {
            Ok(answer) => answer,
            Err(error) if error.code() == Code::PermissionDenied => return None,
            // A tenant that is not routed there has no other answer to be compared with.
            Err(error) if error.code() == Code::NotRouted => return None,
            Err(error) if error.code() == Code::DeadlineExceeded => {
                return failed(case, Outcome::TooSlow, "Postgres did not finish in time".into());
            }
            Err(error) => return failed(case, Outcome::NotCertified, format!("Postgres: {error}")),
        };
        let started = Instant::now();
        let on_engine = self.on_engine(&ask.query, &ask.parameters, &ask.scope, "UTC", engine, deadline).await;
        let case = Case { engine_ms: milliseconds(started), ..case };
        let on_engine = match on_engine {
            Ok(OnEngine::Answer(answer)) => answer,
            Ok(OnEngine::Unstable(why)) => return failed(case, Outcome::NotComparable, why.into()),
            Err(error) => return failed(case, Outcome::NotCertified, format!("the engine: {error}")),
        };
        let (Some(postgres), Some(on_engine)) = (postgres, on_engine) else {
            return failed(case, Outcome::NotComparable, "the answer is too large to be compared".into());
        };
        let promise = Promise::from(&ask.query.sql);
        let case = Case { rows: postgres.rows.len() as u64, ..case };
        Some(case.judged(compare(&postgres, &on_engine, &promise)))
    }

    async fn on_postgres(
        &self,
        ask: &Ask,
        now: DateTime<Utc>,
        snapshot: &str,
        deadline: Instant,
    ) -> Result<Option<Answer>> {
        let route = self.rollouts()?.postgres();
        let question = route.question(&ask.query, &ask.parameters, &ask.scope, "UTC", now, deadline).await?;
        let asking = Asking { snapshot: Some(snapshot), wants_position: false };
        let filling = route.ask(&question, asking, deadline).await?.filling;
        collect(filling.batches).await?.map(|batches| Answer::new(&filling.schema, &batches)).transpose()
    }

    /// Asks the engine, past the cache.
    pub(super) async fn on_engine(
        &self,
        query: &NamedQuery,
        parameters: &RawParameters,
        scope: &Scope,
        time_zone: &str,
        engine: &Engine,
        deadline: Instant,
    ) -> Result<OnEngine> {
        let sql = &query.sql;
        let reserved = Reserved { scope, tenant_type: self.0.tenant_type, now: engine.as_of(), time_zone };
        let Bound(bound) = parameters.bind_named(query, sql, &reserved)?;
        let context = PlanContext { time_zone: time_zone.to_owned(), sight: Sight::from(scope) };
        let types = bound.iter().map(|(kind, value)| kind.arrow_type_of(value, time_zone)).collect();
        let prepared = engine.prepare(sql, types, &context, deadline).await?;
        if prepared.facts().is_volatile {
            return Ok(OnEngine::Unstable("two runs of it may differ on either side"));
        }
        if prepared.facts().asks_clock {
            return Ok(OnEngine::Unstable(
                "it asks the clock, which goes on at Postgres: take $now, which is the snapshot's instant",
            ));
        }
        let _permit = self.0.admission.enter(deadline).await?;
        let values = bound.iter().map(|(kind, value)| kind.to_scalar(value, time_zone)).collect();
        let execution = prepared.execute(values, scope, deadline).await?;
        let batches = collect(execution.batches).await?;
        Ok(OnEngine::Answer(batches.map(|batches| Answer::new(&execution.schema, &batches)).transpose()?))
    }
}

pub(super) enum OnEngine {
    /// None where it is too large.
    Answer(Option<Answer>),
    /// Why there is nothing to compare.
    Unstable(&'static str),
}

/// All of it; none where it is too large to be compared.
pub(super) async fn collect(mut stream: BatchStream) -> Result<Option<Vec<arrow::array::RecordBatch>>> {
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        bytes += batch.get_array_memory_size();
        if bytes > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        batches.push(batch);
    }
    Ok(Some(batches))
}

fn milliseconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e6).round() / 1e3
}
