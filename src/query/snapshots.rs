//! Which snapshot is served: found, verified, opened, and swapped in whole.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

use super::{Pin, Service};
use crate::{
    engine::Engine,
    error::{Code, Error, Result},
    store::SnapshotVersion,
    telemetry,
};

/// Older versions that stay open for those who pin them.
const PINNED_MAX: u64 = 4;

pub(super) struct Served {
    newest: ArcSwapOption<Engine>,
    /// Counts the snapshots that came to be served.
    generation: AtomicU64,
    pinned: moka::sync::Cache<SnapshotVersion, Engine>,
    /// One refresh at a time; a second would verify the same files again.
    refreshing: Mutex<()>,
}

impl Default for Served {
    fn default() -> Self {
        Self {
            newest: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            pinned: moka::sync::Cache::new(PINNED_MAX),
            refreshing: Mutex::new(()),
        }
    }
}

impl Service {
    /// The engine of the newest snapshot, if there is one yet.
    #[must_use]
    pub fn newest(&self) -> Option<Engine> {
        self.0.snapshots.newest.load().as_deref().cloned()
    }

    /// Grows whenever the same request may come to mean another reply: with each snapshot that comes to be served, and each change
    /// of the named queries. Read it before a request is understood.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.snapshots.generation.load(Ordering::Acquire)
            + self.0.library.generation()
            + self.0.rollouts.as_ref().map_or(0, super::rollouts::Rollouts::generation)
    }

    /// Looks for a newer snapshot, and serves it when it verifies. Says which version came to be served.
    ///
    /// Queries in flight keep the engine that they started with.
    pub async fn refresh(&self) -> Result<Option<SnapshotVersion>> {
        let _one = self.0.snapshots.refreshing.lock().await;
        let served = self.newest().map(|engine| engine.version());
        let newest = self.0.store.versions().await?.first().copied();
        if newest.is_none() || newest == served {
            return Ok(None);
        }
        let Some(manifest) = self.0.store.newest(self.0.verification).await? else { return Ok(None) };
        // The newest that verifies may be older than the newest that there is, and then is served already.
        if served.is_some_and(|served| served >= manifest.version) {
            return Ok(None);
        }
        let engine = Engine::open(&self.0.store, Arc::new(manifest), &self.0.runtime)?;
        engine.warm().await?;
        let version = engine.version();
        telemetry::snapshot_served(version.get(), engine.as_of());
        tracing::info!(snapshot = %version, as_of = %engine.as_of(), tables = engine.manifest().tables.len(),
            rows = engine.manifest().row_count(), "serving a snapshot");
        self.0.snapshots.newest.store(Some(Arc::new(engine)));
        self.0.snapshots.generation.fetch_add(1, Ordering::Release);
        // Plans hold the engine that they were made for, and it the statistics of all its files.
        self.0.prepared.invalidate_all();
        Ok(Some(version))
    }

    /// The engine that a request is answered from.
    pub async fn engine(&self, pin: &Pin) -> Result<Engine> {
        match pin {
            Pin::Engine(engine) => Ok(engine.clone()),
            Pin::Newest => self.newest().ok_or_else(pending),
            Pin::Version(version) => {
                if let Some(engine) = self.newest().filter(|engine| engine.version() == *version) {
                    return Ok(engine);
                }
                if let Some(engine) = self.0.snapshots.pinned.get(version) {
                    return Ok(engine);
                }
                let manifest = self.0.store.manifest(*version).await?;
                if !self.0.store.is_readable(&manifest).await {
                    return Err(Error::new(
                        Code::SnapshotNotFound,
                        format!("the files of snapshot {version} have been pruned"),
                    )
                    .with_hint("GET /v1/snapshots says which versions can still be read"));
                }
                self.0.store.verify(&manifest, self.0.verification).await?;
                let engine = Engine::open(&self.0.store, Arc::new(manifest), &self.0.runtime)?;
                self.0.snapshots.pinned.insert(*version, engine.clone());
                Ok(engine)
            }
        }
    }
}

fn pending() -> Error {
    Error::new(Code::SnapshotPending, "there is no snapshot yet").with_retry_after(Duration::from_secs(2)).with_hint(
        "the first one is being taken, or take one with pilaster snapshot; GET /v1/snapshots shows its progress",
    )
}
