//! The second tier: results shared by the servers on one Redis.
//!
//! Owns: [`RedisTier`], names of keys, what is read, written and waited for.
//! Must not know: flights, memory, SQL.
//!
//! Redis is never needed and never trusted: whatever it does is a miss. A value's size is capped where it is asked for,
//! by `GETRANGE key 0 cap`: one round trip, no script, and a hostile value of 512 MB costs one byte more than the cap.
//! What a hostile *server* could send instead is bounded by the link, which drops a connection that owes replies.
//!
//! A user for Pilaster needs `GETRANGE`, `SET`, `EVAL` and, inside that, `GET` and `DEL`, on keys of the namespace.
//!
//! Reads and leases have one connection and values that are written have another, since megabytes that go out would
//! hold up the small replies behind them and look like a slow Redis.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use redis::{Client, ConnectionAddr, IntoConnectionInfo, TlsCertificates, io::tcp::TcpSettings};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{
    entry::Entry,
    envelope::{Content, HEAD, Seal},
    key::Key,
    lease::{Lease, TICKET, Terms, Ticket, Watch, milliseconds},
    link::{Fault, Link},
    metric,
};
use crate::error::{Code, Error, Result};

/// Results being written at one time; more are not written. Each holds up to twice `value_bytes_max`.
const WRITES_MAX: usize = 16;

/// A write may take so many times as long as a read, for it delays nobody.
const WRITE_PATIENCE: u32 = 10;

/// Values of this many bytes are encoded and checked on the blocking pool, smaller ones where they are.
const INLINE_BYTES: usize = 128 * 1024;

/// Pauses between looks while another server computes: 10 ms and up to 15 more, so that servers do not march in step.
const POLL_MIN: Duration = Duration::from_millis(10);
const POLL_JITTER_MS: u64 = 16;

/// How long others are told that a result cannot be shared.
const UNSHARED_FOR: Duration = Duration::from_secs(300);

/// How to use a Redis.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS.
    pub url: SecretString,
    /// 64 hexadecimal digits, the same on every server on this Redis.
    pub hmac_key: Option<SecretString>,
    /// PEM of the authority that signed Redis's certificate, if it is not one that the system knows.
    pub ca_certificate: Option<Vec<u8>>,
    /// What all keys begin with, so that several installations can share a Redis.
    pub namespace: String,
    /// How long a miss may wait for Redis in total.
    pub timeout: Duration,
    /// How long an attempt to connect may take. No miss waits for more than `timeout` of it.
    pub connect_timeout: Duration,
    /// Larger values are neither written nor read. They should fit through the network within `timeout`.
    pub value_bytes_max: usize,
    /// How long values live. A little over a day, since most snapshots are nightly.
    pub time_to_live: Duration,
    /// How long a server that died while it computed can keep others waiting.
    pub lease: Duration,
}

impl RedisConfig {
    /// The defaults for a Redis nearby.
    #[must_use]
    pub fn new(url: SecretString, hmac_key: Option<SecretString>) -> Self {
        Self {
            url,
            hmac_key,
            ca_certificate: None,
            namespace: "pilaster".to_owned(),
            timeout: Duration::from_millis(50),
            connect_timeout: Duration::from_secs(1),
            value_bytes_max: 4 << 20,
            time_to_live: Duration::from_secs(26 * 3600),
            lease: Duration::from_secs(2),
        }
    }
}

/// What a miss in memory found.
pub(super) enum Finding {
    /// The result.
    Entry(Box<Entry>),
    /// Nothing, and the right to compute it.
    Leased(Lease),
    /// Nothing, and no agreement with others: Redis cannot be used, or the one who computes is taking too long.
    Alone,
}

impl From<Content> for Finding {
    fn from(content: Content) -> Self {
        match content {
            Content::Result(entry) => Self::Entry(Box::new(entry)),
            Content::Unshared => Self::Alone,
        }
    }
}

pub(super) struct RedisTier {
    terms: Arc<Terms>,
    writes: Link,
    write_permits: Arc<Semaphore>,
    namespace: String,
    value_bytes_max: usize,
    time_to_live: Duration,
    /// Whether the last write was refused, so that the log says so once.
    refuses: AtomicBool,
}

/// What one look at a lease and its value brought.
struct Claim {
    is_ours: bool,
    holder: Vec<u8>,
    value: Bytes,
}

impl RedisTier {
    /// A tier that connects in the background when it is first used, so a Redis that is down does not fail a start.
    ///
    /// # Errors
    /// `invalid_config` for a URL, secret, certificate or time that cannot be right.
    pub(super) fn new(config: RedisConfig) -> Result<Self> {
        let Some(hmac_key) = &config.hmac_key else {
            return Err(Error::new(Code::InvalidConfig, "the cache has a Redis but no hmac_key")
                .with_detail("without a secret anybody who can write to Redis could change the numbers that are served")
                .with_hint("make one with `openssl rand -hex 32` and give the same to every server on this Redis"));
        };
        let seal = Seal::from_hex(hmac_key)?;
        for (name, time) in [("timeout", config.timeout), ("connect_timeout", config.connect_timeout)] {
            if time.is_zero() {
                return Err(Error::new(Code::InvalidConfig, format!("the cache's redis {name} is zero")));
            }
        }
        if config.lease < config.timeout * 3 {
            return Err(Error::new(Code::InvalidConfig, "the cache's redis lease is shorter than three timeouts")
                .with_hint("a lease is renewed at a third of its length, and a renewal may take one timeout"));
        }
        let client = client(&config)?;
        let reads = Link::new("reads", client.clone(), config.timeout, config.connect_timeout);
        let writes = Link::new("writes", client, config.timeout * WRITE_PATIENCE, config.connect_timeout);
        Ok(Self {
            terms: Arc::new(Terms { link: reads, seal, length: config.lease, reply_timeout: config.timeout }),
            writes,
            write_permits: Arc::new(Semaphore::new(WRITES_MAX)),
            namespace: config.namespace,
            value_bytes_max: config.value_bytes_max,
            time_to_live: config.time_to_live,
            refuses: AtomicBool::new(false),
        })
    }

    /// The result under `key`, if Redis has one that can be believed.
    pub(super) async fn look(&self, key: &Key) -> Option<Entry> {
        let value = self.fetch(key, self.terms.deadline()).await.ok()?;
        match self.open(key, value).await? {
            Content::Result(entry) => Some(entry),
            Content::Unshared => None,
        }
    }

    /// The result under `key`, or the right to compute it. Waits while another server computes, and for no other reason
    /// longer than the timeout.
    pub(super) async fn look_or_lease(&self, key: &Key) -> Finding {
        let mut deadline = self.terms.deadline();
        let Ok(value) = self.fetch(key, deadline).await else { return Finding::Alone };
        if let Some(content) = self.open(key, value).await {
            return content.into();
        }
        let mut watch = Watch::new(self.terms.length, Instant::now());
        loop {
            let attempt = Lease::attempt(Arc::clone(&self.terms), *key, self.lease_name(key));
            let Ok(claim) = self.claim(key, &attempt, deadline).await else { return Finding::Alone };
            let mut lease = None;
            if claim.is_ours {
                lease = Some(attempt.hold());
            } else {
                attempt.give_up();
            }
            if let Some(content) = self.open(key, claim.value).await {
                return content.into();
            }
            if let Some(lease) = lease {
                return Finding::Leased(lease);
            }
            if !claim.holder.is_empty() && !Ticket::is_genuine(&claim.holder, &self.terms.seal, key) {
                metric::redis_rejected("forged_lease");
                return Finding::Alone;
            }
            if !watch.is_worth_waiting(&claim.holder, Instant::now()) {
                return Finding::Alone;
            }
            sleep(POLL_MIN + jitter()).await;
            deadline = self.terms.deadline();
        }
    }

    /// Writes an entry in the background and gives the lease back after it, so that those who wait find the value.
    pub(super) fn store(self: &Arc<Self>, entry: Arc<Entry>, lease: Option<Lease>) {
        let key = *entry.key();
        let tier = Arc::clone(self);
        self.write_behind(lease, async move {
            // Encoded it cannot be that much smaller.
            if entry.bytes() > tier.value_bytes_max.saturating_mul(2) {
                return tier.write_unshared(&key, "too_large").await;
            }
            let seal = tier.terms.seal.clone();
            match off_thread(entry.bytes(), move || seal.close(&entry)).await {
                Some(Ok(value)) if value.len() <= tier.value_bytes_max => {
                    tier.write(&key, value, tier.time_to_live, "stored").await
                }
                Some(Ok(_)) => tier.write_unshared(&key, "too_large").await,
                Some(Err(_)) | None => tier.write_unshared(&key, "unencodable").await,
            }
        });
    }

    /// Tells the others not to wait for the result under `key`, which was streamed, and gives the lease back.
    pub(super) fn store_unshared(self: &Arc<Self>, key: Key, lease: Option<Lease>) {
        let tier = Arc::clone(self);
        self.write_behind(lease, async move { tier.write_unshared(&key, "too_large").await });
    }

    fn write_behind(&self, lease: Option<Lease>, write: impl Future<Output = &'static str> + Send + 'static) {
        let Ok(permit) = Arc::clone(&self.write_permits).try_acquire_owned() else {
            metric::redis_write("dropped");
            return;
        };
        tokio::spawn(async move {
            metric::redis_write(write.await);
            drop(lease);
            drop(permit);
        });
    }

    async fn write_unshared(&self, key: &Key, outcome: &'static str) -> &'static str {
        self.write(key, self.terms.seal.close_unshared(key), UNSHARED_FOR, outcome).await
    }

    /// Sets a value; returns `outcome`, or what went wrong, for the metric.
    async fn write(&self, key: &Key, value: Vec<u8>, lives: Duration, outcome: &'static str) -> &'static str {
        let mut commands = redis::pipe();
        commands.cmd("SET").arg(self.value_name(key)).arg(value).arg("PX").arg(milliseconds(lives));
        let deadline = Instant::now() + self.terms.reply_timeout * WRITE_PATIENCE;
        let written: Result<(String,), Fault> = self.writes.run(&commands, deadline).await;
        match written {
            Ok(_) => {
                if self.refuses.swap(false, Ordering::Relaxed) {
                    tracing::info!("redis takes results again");
                }
                outcome
            }
            // Out of memory, read-only, no permission: it answers, so the link's health says nothing of it.
            Err(Fault::Refused(error)) => {
                if !self.refuses.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "redis does not take results");
                }
                "refused"
            }
            Err(_) => "failed",
        }
    }

    /// The raw value, empty if there is none; at most one byte over the cap.
    async fn fetch(&self, key: &Key, deadline: Instant) -> Result<Bytes, Fault> {
        let mut commands = redis::pipe();
        commands.cmd("GETRANGE").arg(self.value_name(key)).arg(0).arg(self.value_bytes_max);
        let (value,) = self.terms.link.run::<(Bytes,)>(&commands, deadline).await?;
        Ok(value)
    }

    /// Tries to take the lease and looks at the value after that. In this order: whoever held the lease before us wrote
    /// the value before giving it back, so having the lease and seeing no value means that there is none.
    async fn claim(&self, key: &Key, lease: &Lease, deadline: Instant) -> Result<Claim, Fault> {
        let mut commands = redis::pipe();
        let length = milliseconds(self.terms.length);
        commands.cmd("SET").arg(lease.name()).arg(lease.ticket()).arg("NX").arg("PX").arg(length);
        commands.cmd("GETRANGE").arg(lease.name()).arg(0).arg(TICKET);
        commands.cmd("GETRANGE").arg(self.value_name(key)).arg(0).arg(self.value_bytes_max);
        let (set, holder, value): (Option<String>, Vec<u8>, Bytes) = self.terms.link.run(&commands, deadline).await?;
        Ok(Claim { is_ours: set.is_some(), holder, value })
    }

    /// Checks and decodes what was fetched.
    async fn open(&self, key: &Key, value: Bytes) -> Option<Content> {
        if value.is_empty() {
            return None;
        }
        let (seal, key, bytes_max) = (self.terms.seal.clone(), *key, self.value_bytes_max);
        match off_thread(value.len(), move || seal.open(&key, &value, bytes_max)).await? {
            Ok(content) => Some(content),
            Err(distrust) => {
                metric::redis_rejected(distrust.as_str());
                None
            }
        }
    }

    fn value_name(&self, key: &Key) -> String {
        format!("{}:result:{}", self.namespace, key.to_hex())
    }

    fn lease_name(&self, key: &Key) -> String {
        format!("{}:lease:{}", self.namespace, key.to_hex())
    }
}

/// Runs work whose time grows with `bytes` where it does not hold up the others. `None` if it panicked.
async fn off_thread<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if bytes + HEAD <= INLINE_BYTES { Some(work()) } else { spawn_blocking(work).await.ok() }
}

fn jitter() -> Duration {
    Duration::from_millis(Uuid::new_v4().as_u64_pair().1 % POLL_JITTER_MS)
}

fn client(config: &RedisConfig) -> Result<Client> {
    // The URL holds a password, so neither it nor what a parser says about it goes into the message.
    let bad = |message: &str| {
        Error::new(Code::InvalidConfig, message.to_owned())
            .with_hint("use redis://[user:password@]host[:port][/db], or rediss:// for TLS")
    };
    let url = config.url.expose_secret();
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        return Err(bad("the cache's redis url is neither redis:// nor rediss://"));
    }
    let info = url.into_connection_info().map_err(|_| bad("the cache's redis url cannot be read"))?;
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err(bad("the cache's redis url asks for TLS without checking certificates"));
    }
    let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    if is_tls && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Two providers are linked, so rustls panics unless one was chosen. The process does that first thing; whoever
        // uses this room alone has not. That somebody else is faster is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let client = match &config.ca_certificate {
        None => Client::open(info),
        Some(_) if !is_tls => return Err(bad("the cache's redis has a ca_certificate, but its url is not rediss://")),
        Some(pem) => Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) }),
    };
    client.map_err(|error| bad("the cache's redis settings cannot be used").with_cause(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, hmac_key: Option<&str>, message: &str) {
        let config = RedisConfig::new(SecretString::from(url), hmac_key.map(SecretString::from));
        let Err(error) = RedisTier::new(config) else { panic!("{url} was taken") };
        assert_eq!(error.code(), Code::InvalidConfig);
        assert_eq!(error.message(), message);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn settings_are_refused_clearly_and_without_the_password() {
        let secret = "0f".repeat(32);
        let key = Some(secret.as_str());
        check("redis://localhost", None, "the cache has a Redis but no hmac_key");
        check("redis://localhost", Some("secret"), "the cache's hmac_key is not 64 hexadecimal digits");
        check("http://u:hunter2@host", key, "the cache's redis url is neither redis:// nor rediss://");
        check("redis://u:hunter2@host:port", key, "the cache's redis url cannot be read");
        let insecure = "rediss://u:hunter2@host/#insecure";
        check(insecure, key, "the cache's redis url asks for TLS without checking certificates");
    }

    #[test]
    fn a_start_needs_no_redis_and_no_runtime() {
        let secret = SecretString::from("0f".repeat(32));
        for url in ["redis://127.0.0.1:1", "rediss://user:password@127.0.0.1:1/3"] {
            RedisTier::new(RedisConfig::new(SecretString::from(url), Some(secret.clone()))).unwrap();
        }
    }
}
