//! Which query runs where, as this node knows it: read from the store, changed there, and looked at again each second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use chrono::Utc;
use tokio::sync::Mutex;

use super::{
    NamedQuery, Service,
    certify::CertifyOptions,
    fallback::Last,
    postgres_route::PostgresRoute,
    shadow::{ShadowCounts, ShadowOptions, Shadows},
    windows::{TripLimits, Windows},
};
use crate::{
    access::{Principal, Scope},
    alert::Alerts,
    error::{Code, Error, Result},
    rollout::{Asks, Because, Change, Decision, Edit, Rollout, Route, Rule, Subject},
    store::{Journal, Store},
    telemetry,
};

/// The folder of the store's journal.
const FOLDER: &str = "rollout";
/// Questions of which the last answer is remembered.
const LAST_MAX: u64 = 100_000;
/// How often a change is tried when others change at the same time.
const ATTEMPTS_MAX: u32 = 32;

/// What a service with two sides is made of.
pub struct RolloutParts {
    /// The way to Postgres.
    pub postgres: PostgresRoute,
    /// For queries of which nothing is said.
    pub default: Rule,
    /// A snapshot older than this is not asked where Postgres can be; zero for any age.
    pub snapshot_age_max: Duration,
    /// How answers are compared before a snapshot is published.
    pub certify: CertifyOptions,
    /// How much of live traffic is asked on the other side too.
    pub shadow: ShadowOptions,
    /// When the engine's answers are not good enough.
    pub trip: TripLimits,
    /// Who is told.
    pub alerts: Alerts,
    /// After how long somebody is told again who has not said that it is seen; zero for never.
    pub alert_again: Duration,
    /// How old a reply may be that is given where neither side can; zero for none.
    pub stale_max: Duration,
}

pub(super) struct Rollouts {
    pub(super) parts: RolloutParts,
    journal: Journal,
    current: ArcSwap<Rollout>,
    is_too_old: AtomicBool,
    /// Counts what changes where requests run.
    generation: AtomicU64,
    pub(super) shadows: Shadows,
    pub(super) windows: Windows,
    /// What was answered last, for when nobody can.
    pub(super) last: moka::sync::Cache<[u8; 32], Last>,
    /// One reader at a time.
    reading: Mutex<()>,
}

impl Rollouts {
    pub(super) fn new(parts: RolloutParts, store: &Store) -> Self {
        Self {
            journal: store.journal(FOLDER),
            current: ArcSwap::default(),
            is_too_old: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            shadows: Shadows::new(parts.shadow),
            windows: Windows::new(parts.trip),
            last: moka::sync::Cache::new(LAST_MAX),
            reading: Mutex::new(()),
            parts,
        }
    }

    pub(super) fn postgres(&self) -> &PostgresRoute {
        &self.parts.postgres
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn decide(&self, query: &NamedQuery, principal: &Principal) -> Decision {
        let subject = match principal.scope() {
            Scope::All => Subject::Everyone(principal.name()),
            Scope::Tenant(tenant) => Subject::Tenant(tenant.as_str()),
        };
        let path = query.path();
        let asks = Asks {
            query: &path,
            subject,
            flag: principal.flag().and_then(|flag| flag.route_of(&path)),
            fingerprint: self.parts.certify.is_required.then_some(query.fingerprint.as_str()),
        };
        let decision = self.current.load().decide(&self.parts.default, asks);
        match decision.route {
            Route::Engine if self.is_too_old.load(Ordering::Relaxed) => {
                Decision { route: Route::Postgres, because: Because::TooOld }
            }
            _ => decision,
        }
    }

    /// Reads what has been written since. The numbers follow one another, so that nothing need be listed but the first time.
    async fn refresh(&self) -> Result<()> {
        let _one = self.reading.lock().await;
        let known = self.current.load().number;
        let mut newest: Option<Rollout> = None;
        if known == 0 {
            if let Some(number) = self.journal.numbers().await?.first().copied() {
                newest = Some(self.read(number).await?.ok_or_else(|| Error::internal("a listed document is gone"))?);
            }
        } else {
            let mut number = known + 1;
            while let Some(next) = self.read(number).await? {
                newest = Some(next);
                number += 1;
            }
        }
        if let Some(newest) = newest {
            if let Some(change) = &newest.changed {
                tracing::info!(
                    number = newest.number,
                    by = change.by,
                    what = change.what,
                    why = change.why,
                    "the rollout has changed"
                );
            }
            telemetry::rollout_changed(newest.number);
            self.current.store(Arc::new(newest));
            self.generation.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    async fn read(&self, number: u64) -> Result<Option<Rollout>> {
        let Some(bytes) = self.journal.read(number).await? else { return Ok(None) };
        let read = Rollout::from_bytes(&bytes).map_err(|error| error.context(format!("rollout/{number:020}.json")))?;
        if read.number != number {
            let message = format!("rollout/{number:020}.json says that it is number {}", read.number);
            return Err(Error::new(Code::CorruptStore, message));
        }
        Ok(Some(read))
    }

    /// Changes it, unless somebody else changes it first: for what one of many nodes is to do.
    pub(super) async fn change_once(&self, edit: Edit, by: &str, why: &str) -> Result<(Arc<Rollout>, bool)> {
        let now = self.current.load_full();
        let Some(next) = now.edited(edit, by, why, Utc::now())? else { return Ok((now, false)) };
        let is_first = self.journal.add(next.number, next.to_bytes().into()).await?;
        self.refresh().await?;
        Ok((self.current.load_full(), is_first))
    }

    /// Changes it; what it is then, and whether this changed it.
    pub(super) async fn change(&self, edit: Edit, by: &str, why: &str) -> Result<(Arc<Rollout>, bool)> {
        for _ in 0..ATTEMPTS_MAX {
            self.refresh().await?;
            let now = self.current.load_full();
            let Some(next) = now.edited(edit.clone(), by, why, Utc::now())? else { return Ok((now, false)) };
            if self.journal.add(next.number, next.to_bytes().into()).await? {
                self.refresh().await?;
                return Ok((Arc::new(next), true));
            }
        }
        Err(Error::new(Code::Conflict, "the rollout is being changed by too many at once").with_hint("try again"))
    }
}

impl Service {
    /// Where a named query runs for somebody; with one side alone, there.
    #[must_use]
    pub fn decide(&self, query: &NamedQuery, principal: &Principal) -> Decision {
        match &self.0.rollouts {
            Some(rollouts) => rollouts.decide(query, principal),
            None => Decision { route: Route::Engine, because: Because::Only },
        }
    }

    /// Whether there are two sides.
    #[must_use]
    pub fn has_postgres(&self) -> bool {
        self.0.rollouts.is_some()
    }

    /// Which query runs where.
    pub fn rollout(&self) -> Result<Arc<Rollout>> {
        Ok(self.rollouts()?.current.load_full())
    }

    /// The rule for queries of which nothing is said.
    pub fn rollout_default(&self) -> Result<Rule> {
        let rollouts = self.rollouts()?;
        let current = rollouts.current.load();
        Ok(current.default.clone().unwrap_or_else(|| rollouts.parts.default.clone()))
    }

    /// Changes it, here and within two seconds on every node. What it is then.
    pub async fn change_rollout(&self, edit: Edit, by: &str, why: &str) -> Result<Arc<Rollout>> {
        if let Edit::Query(query, _) = &edit {
            let known = query.split_once('/').map(|(dashboard, name)| self.library().get(dashboard, name));
            known.unwrap_or_else(|| {
                Err(Error::new(Code::NotFound, format!("there is no query {query}")).with_hint("write dashboard/name"))
            })?;
        }
        Ok(self.rollouts()?.change(edit, by, why).await?.0)
    }

    /// Whether tenants' requests for a query may run on Postgres; else why not.
    pub async fn allows_tenants_on_postgres(&self, query: &NamedQuery) -> Result<()> {
        let deadline = std::time::Instant::now() + self.0.limits.timeout;
        self.rollouts()?.postgres().allows_tenants(query, deadline).await
    }

    /// Whether some of what the engine answers is asked of Postgres too, so that no protocol may answer by itself.
    #[must_use]
    pub fn shadows_engine(&self) -> bool {
        self.0.rollouts.as_ref().is_some_and(|rollouts| rollouts.parts.shadow.engine_percent > 0)
    }

    /// What live requests of a query (`dashboard/name`) have shown on this node.
    #[must_use]
    pub fn shadow_counts(&self, query: &str) -> ShadowCounts {
        self.0.rollouts.as_ref().map(|rollouts| rollouts.shadows.counts(query)).unwrap_or_default()
    }

    /// The last changes, newest first.
    pub async fn rollout_changes(&self, count: usize) -> Result<Vec<Change>> {
        let rollouts = self.rollouts()?;
        let mut changes = Vec::new();
        for number in rollouts.journal.numbers().await?.into_iter().take(count) {
            changes.extend(rollouts.read(number).await?.and_then(|rollout| rollout.changed));
        }
        Ok(changes)
    }

    /// Reads what other nodes have changed, and how old the snapshot is.
    pub async fn refresh_rollout(&self) -> Result<()> {
        let Some(rollouts) = &self.0.rollouts else { return Ok(()) };
        let age_max = rollouts.parts.snapshot_age_max;
        let age = self.newest().map(|engine| (Utc::now() - engine.as_of()).to_std().unwrap_or_default());
        let is_too_old = !age_max.is_zero() && age.is_some_and(|age| age > age_max);
        if rollouts.is_too_old.swap(is_too_old, Ordering::Relaxed) != is_too_old {
            rollouts.generation.fetch_add(1, Ordering::Release);
            if is_too_old {
                tracing::error!(?age, "the snapshot is older than rollout.snapshot_age_max: queries run on PostgreSQL");
            }
        }
        rollouts.refresh().await?;
        self.tell_again().await
    }

    pub(super) fn rollouts(&self) -> Result<&Rollouts> {
        self.0.rollouts.as_ref().ok_or_else(|| {
            Error::new(Code::InvalidConfig, "there is no rollout here: the engine answers everything")
                .with_hint("set rollout.enabled = true, and who connects to PostgreSQL")
        })
    }
}
