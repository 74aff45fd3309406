//! How long each named query takes on either side, and whether it gives the same answer.
//!
//! Owns: what is measured, how often, and the report in Markdown and as one page. Must not know: where the service comes from.
//!
//! Each query is asked with its defaults and samples, over all tenants or as one: on Postgres, on the engine cold (planned anew, nothing kept),
//! warm (planned, computed) and as a hit (from memory). Times are from the request to the last row, past HTTP.

mod report;

use std::time::{Duration, Instant};

use futures::TryStreamExt;

use crate::{
    access::Principal,
    cache::Mode,
    error::{Code, Error, Result},
    query::{Body, NamedQuery, Pin, RawParameters, Reply, Request, Service, Target},
    rollout::{Answer, Promise, Side, Verdict, compare},
};

pub use report::{html, markdown};

/// What is measured.
#[derive(Clone, Debug)]
pub struct BenchmarkOptions {
    /// Queries by `dashboard/name` or `dashboard`; all where there are none.
    pub only: Vec<String>,
    /// How often each is asked of each side.
    pub runs: usize,
    /// Who asks: everybody, or one tenant.
    pub principal: Principal,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Benchmark {
    /// The snapshot.
    pub snapshot: u64,
    /// Its instant.
    pub as_of: chrono::DateTime<chrono::Utc>,
    /// Of the source.
    pub server_version: String,
    /// Rows of all tables.
    pub rows: u64,
    /// How often each was asked.
    pub runs: usize,
    /// By query and set of parameters.
    pub queries: Vec<Measured>,
}

/// One query with one set of parameters.
#[derive(Clone, Debug)]
pub struct Measured {
    /// `dashboard/name`
    pub query: String,
    /// As in a query string.
    pub parameters: String,
    /// On Postgres; or why not.
    pub postgres: Result<Times, String>,
    /// On the engine, where it had to be planned.
    pub cold: Result<Times, String>,
    /// On the engine, where it had been.
    pub warm: Result<Times, String>,
    /// From memory.
    pub hit: Result<Times, String>,
    /// Whether the answers were the same.
    pub answers: &'static str,
}

/// Sorted.
#[derive(Clone, Debug)]
pub struct Times(Vec<Duration>);

impl Times {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// So many of a hundred were no longer than this, in milliseconds.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> f64 {
        // The least that is no less than so many: the nearest rank.
        let rank = (self.0.len() * percent).div_ceil(100).clamp(1, self.0.len().max(1));
        self.0.get(rank - 1).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

impl Measured {
    /// How many times as fast the engine is as Postgres, by medians.
    #[must_use]
    pub fn speed_up(&self) -> Option<f64> {
        let (postgres, warm) = (self.postgres.as_ref().ok()?, self.warm.as_ref().ok()?);
        Some(postgres.percentile(50) / warm.percentile(50).max(1e-6))
    }
}

/// Measures a service that has both sides and serves a snapshot. `fresh` makes another like it, which has planned nothing.
pub async fn measure<F, Fut>(service: &Service, options: &BenchmarkOptions, fresh: F) -> Result<Benchmark>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Service>>,
{
    service.rollout()?;
    let engine = service.newest().ok_or_else(|| {
        Error::new(Code::SnapshotPending, "there is no snapshot to measure").with_hint("take one with pilaster certify")
    })?;
    let wanted = |query: &NamedQuery| {
        options.only.is_empty() || options.only.iter().any(|only| *only == query.path() || *only == query.dashboard)
    };
    let catalog = service.library().catalog();
    let queries: Vec<_> = catalog.queries.values().filter(|query| wanted(query)).collect();
    if queries.is_empty() {
        return Err(
            Error::new(Code::NotFound, "no query is called so").with_hint("write dashboard/name, or a dashboard")
        );
    }
    // Few: each takes a service of its own.
    let cold_runs = options.runs.min(5);
    let mut cold_services = Vec::new();
    for _ in 0..cold_runs {
        cold_services.push(fresh().await?);
    }
    let mut measured = Vec::new();
    for query in queries {
        for parameters in service.known_parameters(query) {
            let ask = async |service: &Service, side: Side, mode: Mode| {
                let request = Request {
                    id: uuid::Uuid::now_v7().to_string().into(),
                    principal: options.principal.clone(),
                    target: Target::Named { dashboard: query.dashboard.clone(), name: query.name.clone() },
                    parameters: parameters.clone(),
                    snapshot: Pin::Newest,
                    time_zone: "UTC".into(),
                    mode,
                };
                let started = Instant::now();
                let answer = whole(service.run_on(side, request).await?).await?;
                Ok::<_, Error>((started.elapsed(), answer))
            };
            let repeated = async |side: Side, mode: Mode| {
                // What is asked first, nobody counts.
                ask(service, side, mode).await?;
                let mut times = Vec::new();
                for _ in 0..options.runs {
                    times.push(ask(service, side, mode).await?.0);
                }
                Ok::<_, Error>(Times::new(times))
            };
            let told = |error: Error| error.message().to_owned();
            let mut cold = Vec::new();
            for other in &cold_services {
                cold.push(ask(other, Side::Engine, Mode::Bypass).await.map(|(time, _)| time));
            }
            let postgres = repeated(Side::Postgres, Mode::Bypass).await.map_err(told);
            let warm = repeated(Side::Engine, Mode::Bypass).await.map_err(told);
            let hit = repeated(Side::Engine, Mode::Default).await.map_err(told);
            let answers = match (
                ask(service, Side::Postgres, Mode::Bypass).await,
                ask(service, Side::Engine, Mode::Bypass).await,
            ) {
                (Ok((_, theirs)), Ok((_, ours))) => match compare(&theirs, &ours, &Promise::from(&query.sql)) {
                    Verdict::Equal => "equal",
                    Verdict::Different { .. } => "different",
                    Verdict::NotComparable { .. } => "not comparable",
                },
                _ => "not asked",
            };
            measured.push(Measured {
                query: query.path(),
                parameters: shown(&parameters),
                postgres,
                cold: cold.into_iter().collect::<Result<Vec<_>>>().map(Times::new).map_err(told),
                warm,
                hit,
                answers,
            });
        }
    }
    let manifest = engine.manifest();
    Ok(Benchmark {
        snapshot: manifest.version.get(),
        as_of: manifest.as_of,
        server_version: manifest.source.server_version.clone(),
        rows: manifest.row_count(),
        runs: options.runs,
        queries: measured,
    })
}

/// Every row of it.
async fn whole(reply: Reply) -> Result<Answer> {
    match reply.body {
        Body::Entry(entry) => Answer::new(entry.schema(), entry.batches()),
        Body::Stream { schema, batches } => {
            let batches: Vec<_> = batches.try_collect().await?;
            Answer::new(&schema, &batches)
        }
    }
}

fn shown(parameters: &RawParameters) -> String {
    let value = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let of = |(name, given): (&String, &serde_json::Value)| match given {
        serde_json::Value::Array(items) => {
            items.iter().map(|item| format!("{name}={}", value(item))).collect::<Vec<_>>().join("&")
        }
        one => format!("{name}={}", value(one)),
    };
    parameters.to_json().iter().map(of).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times = Times::new((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!([times.percentile(50), times.percentile(95), times.percentile(99)], [50.0, 95.0, 99.0]);
        let few = Times::new(vec![Duration::from_millis(3), Duration::from_millis(1)]);
        assert_eq!([few.percentile(50), few.percentile(99)], [1.0, 3.0]);
    }
}
