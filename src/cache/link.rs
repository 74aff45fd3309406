//! One connection to Redis that never costs more than its deadline.
//!
//! Owns: [`Link`]: connecting in the background, deadlines, the breaker, one log line per change of health.
//! Must not know: what is said over it, SQL.
//!
//! redis-rs's own `ConnectionManager` makes callers wait while it reconnects, and takes a reply that is overdue for a
//! reason to wait on, so a connection into a black hole stays until TCP gives up, many minutes later. Here a call waits
//! for a connection only while one is being made that may well come; while Redis is known to be down a call fails at
//! once. A connection that owes a reply for two timeouts is thrown away, and with it whatever a lying server was
//! sending: redis-rs buffers a reply of any length, so this and a cap on what is asked for bound what such a server can
//! make us hold.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use recloser::{AsyncRecloser, Recloser};
use redis::{AsyncConnectionConfig, Client, FromRedisValue, Pipeline, aio::MultiplexedConnection};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::metric;

/// The breaker opens when half of so many calls were late or lost, and lets two through to look after the wait.
const BREAKER_CALLS: usize = 8;
const BREAKER_PROBES: usize = 1;
const BREAKER_RATE: f32 = 0.5;
const BREAKER_WAIT: Duration = Duration::from_secs(2);

/// Pauses between attempts to connect, doubling from the first to the second.
const RECONNECT_MIN: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// Why a call brought nothing. Each is a miss; the text is the metric's label.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no connection, and the last attempt to make one failed.
    Down,
    /// The breaker is open.
    Open,
    /// No reply within the deadline.
    Overdue,
    /// The connection broke.
    Broken,
    /// Redis answered with an error: out of memory, read-only, wrong type. It is alive, so the breaker does not count
    /// these.
    Refused(redis::RedisError),
}

impl Fault {
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Open => "breaker_open",
            Self::Overdue => "timeout",
            Self::Broken => "connection",
            Self::Refused(_) => "refused",
        }
    }
}

/// A connection to Redis, cheap to clone.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    client: Client,
    options: AsyncConnectionConfig,
    reply_timeout: Duration,
    connect_timeout: Duration,
    wire: watch::Sender<Wire>,
    breaker: AsyncRecloser,
    health: Health,
}

/// The state of the connection.
#[derive(Clone)]
enum Wire {
    /// Nobody has asked yet.
    Unused,
    Connecting,
    Up(Connection),
    /// The last attempt failed; the next is coming.
    Down,
}

#[derive(Clone)]
struct Connection {
    redis: MultiplexedConnection,
    /// Replies so far. Its address is also what tells this connection from the next.
    replies: Arc<AtomicU64>,
}

impl Link {
    /// A link that connects when it is first used. `name` tells links apart in the log.
    pub(super) fn new(name: &'static str, client: Client, reply_timeout: Duration, connect_timeout: Duration) -> Self {
        let options = AsyncConnectionConfig::new()
            .set_response_timeout(Some(reply_timeout))
            .set_connection_timeout(Some(connect_timeout));
        let breaker = Recloser::custom()
            .closed_len(BREAKER_CALLS)
            .half_open_len(BREAKER_PROBES)
            .error_rate(BREAKER_RATE)
            .open_wait(BREAKER_WAIT)
            .build();
        Self(Arc::new(Inner {
            client,
            options,
            reply_timeout,
            connect_timeout,
            wire: watch::Sender::new(Wire::Unused),
            breaker: breaker.into(),
            health: Health { name, state: AtomicU8::new(Health::UNKNOWN) },
        }))
    }

    /// Sends `commands` and takes their replies, by `deadline` or not at all.
    pub(super) async fn run<T: FromRedisValue>(&self, commands: &Pipeline, deadline: Instant) -> Result<T, Fault> {
        let result = self.run_guarded(commands, deadline).await;
        if let Err(fault) = &result {
            metric::redis_error(fault.as_str());
        }
        result
    }

    async fn run_guarded<T: FromRedisValue>(&self, commands: &Pipeline, deadline: Instant) -> Result<T, Fault> {
        if matches!(*self.0.wire.borrow(), Wire::Down) {
            return Err(Fault::Down);
        }
        let call = async {
            match timeout_at(deadline, self.exchange(commands)).await {
                Ok(reply) => reply,
                Err(_) => Err(Fault::Overdue),
            }
        };
        let counts = |fault: &Fault| !matches!(fault, Fault::Refused(_));
        match self.0.breaker.call_with(counts, call).await {
            Ok(reply) => {
                self.0.health.up();
                Ok(reply)
            }
            Err(recloser::Error::Rejected) => {
                self.0.health.down("it answers too late or not at all");
                Err(Fault::Open)
            }
            Err(recloser::Error::Inner(fault)) => {
                if matches!(fault, Fault::Overdue) {
                    self.0.doubt();
                }
                Err(fault)
            }
        }
    }

    async fn exchange<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Fault> {
        let mut connection = self.connection().await?;
        match commands.query_async(&mut connection.redis).await {
            Ok(reply) => {
                connection.replies.fetch_add(1, Ordering::Relaxed);
                Ok(reply)
            }
            Err(error) if error.is_timeout() => Err(Fault::Overdue),
            Err(error) if error.is_io_error() || error.is_unrecoverable_error() => {
                self.0.replace(&connection);
                Err(Fault::Broken)
            }
            Err(error) => Err(Fault::Refused(error)),
        }
    }

    /// The connection, or the one that is being made.
    async fn connection(&self) -> Result<Connection, Fault> {
        let mut wire = self.0.wire.subscribe();
        loop {
            let state = wire.borrow_and_update().clone();
            match state {
                Wire::Up(connection) => return Ok(connection),
                Wire::Down => return Err(Fault::Down),
                Wire::Connecting => {}
                Wire::Unused => self.0.connect_if(|wire| matches!(wire, Wire::Unused)),
            }
            // The sender is ours, so this cannot fail while we are here.
            if wire.changed().await.is_err() {
                return Err(Fault::Down);
            }
        }
    }
}

impl Inner {
    /// Starts to connect if the state is still what the caller saw; only one of many callers does.
    fn connect_if(self: &Arc<Self>, is_expected: impl FnOnce(&Wire) -> bool) {
        let begins = self.wire.send_if_modified(|wire| {
            let begins = is_expected(wire);
            if begins {
                *wire = Wire::Connecting;
            }
            begins
        });
        if begins {
            tokio::spawn(connect(Arc::downgrade(self)));
        }
    }

    /// Throws a connection away and starts to make another.
    fn replace(self: &Arc<Self>, lost: &Connection) {
        self.connect_if(|wire| matches!(wire, Wire::Up(current) if Arc::ptr_eq(&current.replies, &lost.replies)));
    }

    /// A reply is overdue. If none comes for as long again, the connection is replaced: replies come in order, so
    /// nothing behind the one that is missing would be any better.
    fn doubt(self: &Arc<Self>) {
        let current = self.wire.borrow().clone();
        let Wire::Up(connection) = current else { return };
        let seen = connection.replies.load(Ordering::Relaxed);
        let link = Arc::clone(self);
        tokio::spawn(async move {
            sleep(link.reply_timeout).await;
            if connection.replies.load(Ordering::Relaxed) == seen {
                link.replace(&connection);
            }
        });
    }
}

/// Connects, however often it takes, for as long as the link is there.
async fn connect(link: Weak<Inner>) {
    let mut pause = RECONNECT_MIN;
    loop {
        let Some(link_now) = link.upgrade() else { return };
        let attempt = link_now.client.get_multiplexed_async_connection_with_config(&link_now.options);
        let reason = match timeout(link_now.connect_timeout, attempt).await {
            Ok(Ok(redis)) => {
                link_now.wire.send_replace(Wire::Up(Connection { redis, replies: Arc::default() }));
                return;
            }
            // redis-rs may put the address into an error, but never the password.
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer in time".to_owned(),
        };
        link_now.wire.send_replace(Wire::Down);
        link_now.health.down(&reason);
        drop(link_now);
        sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_MAX);
    }
}

/// Whether Redis answers, logged when that changes and not for each call.
struct Health {
    name: &'static str,
    state: AtomicU8,
}

impl Health {
    const UNKNOWN: u8 = 0;
    const UP: u8 = 1;
    const DOWN: u8 = 2;

    fn up(&self) {
        // A load first: this is on every call, and a swap would take the cache line from the other cores each time.
        if self.state.load(Ordering::Relaxed) != Self::UP && self.state.swap(Self::UP, Ordering::Relaxed) != Self::UP {
            metric::redis_up(self.name, true);
            tracing::info!(link = self.name, "redis answers");
        }
    }

    fn down(&self, reason: &str) {
        if self.state.swap(Self::DOWN, Ordering::Relaxed) != Self::DOWN {
            metric::redis_up(self.name, false);
            tracing::warn!(
                link = self.name,
                reason,
                "redis is not used until it answers; results are computed instead"
            );
        }
    }
}
