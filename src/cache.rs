//! Results by key: in memory, behind that in Redis, and each computed once.
//!
//! Owns: the two tiers, single flight, what is stored and what is not.
//! Must not know: SQL, plans, formats, HTTP. It gets a key, which says all that matters, and a way to fill it.
//!
//! Three promises. Equal misses at one time are one computation, in this process by a flight and among processes by a
//! lease. A computation lives as long as somebody waits for it. Redis is never needed: whatever it does is a miss.

mod entry;
mod envelope;
mod fill;
mod flight;
mod key;
mod lease;
mod link;
mod memory;
pub mod metric;
mod redis;

use std::{pin::Pin, sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use futures::{FutureExt, Stream, future::BoxFuture};

pub use self::{
    entry::Entry,
    envelope::{is_believed, sealed},
    key::{BodyId, Key},
    redis::RedisConfig,
};
use self::{
    fill::{Collected, collect},
    flight::{Arrival, Flights, Origin, Outcome, Route},
    memory::Memory,
    metric::Meters,
    redis::{Finding, RedisTier},
};
use crate::error::{Code, Error, Result};

/// Batches as they are computed. Dropping it stops the computation.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

/// A computation that has begun. It holds whatever it needs to go on, its execution permit among that.
pub struct Filling {
    /// The columns, which are known before the first row.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: BatchStream,
}

type Fill = Box<dyn FnOnce() -> BoxFuture<'static, Result<Filling>> + Send>;

/// How much the cache may hold, and where.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// The budget for results and their encoded bodies, in bytes.
    pub memory_bytes: u64,
    /// Results of more bytes in memory are streamed and not cached. At most a quarter of `memory_bytes`.
    pub entry_bytes_max: usize,
    /// Results that nobody asked for in this time are dropped before the budget needs it.
    pub time_to_idle: Option<Duration>,
    /// The second tier.
    pub redis: Option<RedisConfig>,
}

impl Default for CacheConfig {
    /// 256 MiB of memory, results of up to 16 MiB, no Redis.
    fn default() -> Self {
        Self { memory_bytes: 256 << 20, entry_bytes_max: 16 << 20, time_to_idle: None, redis: None }
    }
}

/// A place where results are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// This process.
    Memory,
    /// All processes on one Redis.
    Redis,
}

/// Where an entry came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerSource {
    /// It was there.
    Hit(Tier),
    /// This caller's fill made it.
    Filled,
    /// The fill of another caller, who was first, made it.
    Joined,
}

/// What a caller gets.
pub enum Answer {
    /// A whole result, which is also cached.
    Entry {
        /// The result.
        entry: Arc<Entry>,
        /// Where it came from.
        source: AnswerSource,
    },
    /// A result over the limit, or one that may not be kept: it passes through and is not cached.
    Stream(Filling),
}

/// What a caller will take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// What is stored, or else what is computed.
    #[default]
    Default,
    /// What is computed now, which then replaces what is stored.
    Refresh,
    /// What is stored; `not_cached` if there is nothing.
    OnlyIfCached,
    /// What is computed for this caller alone and not kept, for plans that never give the same twice.
    Bypass,
}

/// The cache. Clones are the same cache.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    memory: Memory,
    redis: Option<Arc<RedisTier>>,
    flights: Arc<Flights>,
    meters: Meters,
    entry_bytes_max: usize,
}

impl Cache {
    /// A cache. Needs no runtime and no Redis that answers; the metrics recorder must have been installed.
    ///
    /// # Errors
    /// `invalid_config` for settings that cannot be right.
    pub fn new(config: CacheConfig) -> Result<Self> {
        let entry_bytes_max = u64::try_from(config.entry_bytes_max).unwrap_or(u64::MAX);
        if entry_bytes_max > config.memory_bytes / memory::SHARE_OF_ONE {
            return Err(Error::new(
                Code::InvalidConfig,
                "the cache's entry_bytes_max is over a quarter of memory_bytes",
            )
            .with_hint("lower entry_bytes_max or raise memory_bytes"));
        }
        let meters = Meters::new();
        Ok(Self(Arc::new(Inner {
            memory: Memory::new(config.memory_bytes, config.time_to_idle),
            redis: config.redis.map(RedisTier::new).transpose()?.map(Arc::new),
            flights: Flights::new(meters.abandoned.clone()),
            meters,
            entry_bytes_max: config.entry_bytes_max,
        })))
    }

    /// The entry, if it is in memory. The fast path: no task, no lock that is held, no allocation. Counts hits; a miss
    /// is counted by [`Self::get_or_fill`], which follows.
    pub async fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        let entry = self.0.memory.get(key).await?;
        self.0.meters.memory_hits.increment(1);
        Some(entry)
    }

    /// The result under `key`, from a tier or from `fill`.
    ///
    /// `fill` runs in a task of its own that is shared by all who ask for `key` meanwhile, and is dropped when the last
    /// of them has dropped this future. It is not called when the result is found, or when somebody else's is used. It
    /// must therefore not watch the connection of the one who brought it, only deadlines and an operator's
    /// cancellation.
    ///
    /// # Errors
    /// `not_cached` in [`Mode::OnlyIfCached`]; `internal` when `fill` panicked; otherwise those of `fill`, which
    /// everybody who waited gets and nobody after.
    pub async fn get_or_fill<F, Fut>(&self, key: Key, mode: Mode, fill: F) -> Result<Answer>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Filling>> + Send + 'static,
    {
        // A hit comes before the box, so that it allocates nothing.
        if mode == Mode::Default
            && let Some(entry) = self.get(&key).await
        {
            return Ok(Answer::Entry { entry, source: AnswerSource::Hit(Tier::Memory) });
        }
        self.0.answer(key, mode, Box::new(move || fill().boxed())).await
    }

    /// The encoding of `entry` under `body`: the one that is kept, or what `encode` makes, which is then kept with the
    /// entry and weighed. However many ask at one time, one encodes.
    ///
    /// `encode` runs within this future; what takes long belongs on another thread, and that is for the caller to
    /// arrange.
    ///
    /// # Errors
    /// Those of `encode`; they are not kept, and the next who waits tries its own.
    pub async fn body<F, Fut>(&self, entry: &Arc<Entry>, body: BodyId, encode: F) -> Result<Bytes>
    where
        F: FnOnce(Arc<Entry>) -> Fut,
        Fut: Future<Output = Result<Bytes>>,
    {
        if let Some(bytes) = entry.body(body) {
            return Ok(bytes);
        }
        let Some(slot) = entry.body_slot(body) else { return encode(Arc::clone(entry)).await };
        let mut is_new = false;
        let made = slot.get_or_try_init(|| {
            is_new = true;
            let encoding = encode(Arc::clone(entry));
            async move { encoding.await.map(entry::exact) }
        });
        let bytes = made.await?.clone();
        if is_new {
            // In a task, since a client that goes away in this moment must not leave a body that nobody weighed.
            let (inner, entry) = (Arc::clone(&self.0), Arc::clone(entry));
            tokio::spawn(async move { inner.memory.keep_body(entry, body).await });
        }
        Ok(bytes)
    }

    /// What is in memory now: bytes, and entries. Brings the books up to date first, so not for the hot path.
    pub async fn usage(&self) -> (u64, u64) {
        self.0.memory.usage().await
    }
}

impl Inner {
    /// What memory does not have, or may not be asked for.
    async fn answer(self: &Arc<Self>, key: Key, mode: Mode, fill: Fill) -> Result<Answer> {
        match mode {
            Mode::Bypass => return pass_through(fill).await,
            Mode::OnlyIfCached => return self.stored(&key).await,
            Mode::Refresh => {}
            Mode::Default => self.meters.memory_misses.increment(1),
        }
        if self.memory.is_too_large(&key) {
            self.meters.too_large.increment(1);
            return pass_through(fill).await;
        }
        let route = Route { key, refresh: mode == Mode::Refresh };
        let mut fill = Some(fill);
        loop {
            let seat = self.flights.board(route, &mut fill, |fill| Arc::clone(self).course(route, fill).boxed());
            if fill.is_some() {
                self.meters.joined.increment(1);
            }
            match seat.arrive().await {
                Arrival::Entry(entry, origin) => {
                    let source = match origin {
                        Origin::Memory => AnswerSource::Hit(Tier::Memory),
                        Origin::Redis => AnswerSource::Hit(Tier::Redis),
                        Origin::Computed if fill.is_none() => AnswerSource::Filled,
                        Origin::Computed => AnswerSource::Joined,
                    };
                    return Ok(Answer::Entry { entry, source });
                }
                Arrival::Stream(filling) => return Ok(Answer::Stream(filling)),
                Arrival::TooLarge => {
                    let fill = fill.take().expect("who leads gets the stream, so this caller joined and has its fill");
                    self.meters.too_large.increment(1);
                    return pass_through(fill).await;
                }
                // The leader alone was cancelled or over its quota. One of those who joined leads next.
                Arrival::Failed(error) if fill.is_some() && concerns_the_leader_only(&error) => {}
                Arrival::Failed(error) => return Err(error),
            }
        }
    }

    /// What either tier has, computing nothing.
    async fn stored(&self, key: &Key) -> Result<Answer> {
        if let Some(entry) = self.memory.get(key).await {
            self.meters.memory_hits.increment(1);
            return Ok(Answer::Entry { entry, source: AnswerSource::Hit(Tier::Memory) });
        }
        self.meters.memory_misses.increment(1);
        if let Some(redis) = &self.redis {
            if let Some(entry) = redis.look(key).await {
                self.meters.redis_hits.increment(1);
                let entry = self.admit(entry).await;
                return Ok(Answer::Entry { entry, source: AnswerSource::Hit(Tier::Redis) });
            }
            self.meters.redis_misses.increment(1);
        }
        Err(Error::new(Code::NotCached, "there is no cached reply to this query")
            .with_hint("ask without only-if-cached to have it computed"))
    }

    /// The course of a flight: look again, ask the others, compute, store.
    async fn course(self: Arc<Self>, route: Route, fill: Fill) -> Outcome {
        let mut lease = None;
        if !route.refresh {
            // A flight that landed between this caller's look and its boarding has stored its entry by now.
            if let Some(entry) = self.memory.get(&route.key).await {
                return Outcome::Entry(entry, Origin::Memory);
            }
            if let Some(redis) = &self.redis {
                match redis.look_or_lease(&route.key).await {
                    Finding::Entry(entry) => {
                        self.meters.redis_hits.increment(1);
                        return Outcome::Entry(self.admit(*entry).await, Origin::Redis);
                    }
                    Finding::Leased(taken) => lease = Some(taken),
                    Finding::Alone => {}
                }
                self.meters.redis_misses.increment(1);
            }
        }
        let collected = match fill().await {
            Ok(filling) => collect(route.key, filling, self.entry_bytes_max).await,
            Err(error) => Err(error),
        };
        match collected {
            Ok(Collected::Whole(entry)) => {
                self.meters.stored.increment(1);
                let entry = self.admit(entry).await;
                if let Some(redis) = &self.redis {
                    redis.store(Arc::clone(&entry), lease);
                }
                Outcome::Entry(entry, Origin::Computed)
            }
            Ok(Collected::Overflow(filling)) => {
                self.meters.too_large.increment(1);
                self.memory.remember_too_large(route.key).await;
                if let Some(redis) = &self.redis {
                    redis.store_unshared(route.key, lease);
                }
                Outcome::Overflow(filling)
            }
            Err(error) => {
                self.meters.failed.increment(1);
                Outcome::Failed(error)
            }
        }
    }

    async fn admit(&self, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        self.memory.insert(Arc::clone(&entry)).await;
        entry
    }
}

async fn pass_through(fill: Fill) -> Result<Answer> {
    fill().await.map(Answer::Stream)
}

/// Whether an error says something about who computed and nothing about the result, so that another may well succeed.
/// A deadline is not among these: a query that is too slow for one is too slow for the next thousand.
fn concerns_the_leader_only(error: &Error) -> bool {
    matches!(error.code(), Code::Cancelled | Code::QuotaExceeded)
}
