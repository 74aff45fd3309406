//! Who computes, among servers on one Redis.
//!
//! Owns: [`Lease`], the right to compute one result, and [`Ticket`], the proof of it that others see.
//! Must not know: what is computed, SQL.
//!
//! A lease is a key in Redis that only one server can set and that expires. Its holder renews it at a third of its
//! length with a new ticket each time, so those who wait see by their own clock that the holder lives: a ticket that
//! stays the same for the length of a lease is dead, whether Redis lets it expire or not. Tickets are signed, so nobody
//! without the secret can make servers wait. A lease is an agreement to save work and nothing more: two who compute the
//! same result are both right.

use std::{sync::Arc, time::Duration};

use redis::Pipeline;
use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval},
};
use uuid::Uuid;

use super::{
    envelope::{Seal, TAG},
    key::Key,
    link::Link,
};

const MAGIC: &[u8; 4] = b"PLL1";

/// How many computations on other servers one miss waits for. Holders that fail or are cancelled leave no value; to
/// wait for one after the other would let servers compute in line.
const HOLDERS_MAX: usize = 2;

/// However lively the holder seems, nobody waits for longer than so many lengths of a lease.
const WAIT_LEASES_MAX: u32 = 15;

/// What stays the same as long as one holder holds: magic and 16 random bytes.
const HOLDER: usize = 4 + 16;

/// The holder, and how often it has renewed.
const SIGNED: usize = HOLDER + 4;

/// The size of a ticket in bytes.
pub(super) const TICKET: usize = SIGNED + TAG;

/// Replaces a ticket by the holder's next one: `KEYS[1]` lease, `ARGV` holder, ticket, milliseconds.
const RENEW: &str = "local held = redis.call('GET', KEYS[1]) \
    if held and string.sub(held, 1, #ARGV[1]) == ARGV[1] then \
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1 end return 0";

/// Deletes a ticket if it is the holder's: `KEYS[1]` lease, `ARGV` holder.
const RELEASE: &str = "local held = redis.call('GET', KEYS[1]) \
    if held and string.sub(held, 1, #ARGV[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// `magic "PLL1" | holder 16 | renewals u32 | HMAC-SHA256 32`, the HMAC over the rest and the key.
#[derive(Clone)]
pub(super) struct Ticket {
    bytes: [u8; TICKET],
}

impl Ticket {
    /// A ticket of a new holder.
    fn new(seal: &Seal, key: &Key) -> Self {
        let mut bytes = [0; TICKET];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..HOLDER].copy_from_slice(Uuid::new_v4().as_bytes());
        let mut ticket = Self { bytes };
        ticket.sign(0, seal, key);
        ticket
    }

    fn sign(&mut self, renewals: u32, seal: &Seal, key: &Key) {
        self.bytes[HOLDER..SIGNED].copy_from_slice(&renewals.to_le_bytes());
        let tag = seal.tag([&self.bytes[..SIGNED], key.as_bytes()]);
        self.bytes[SIGNED..].copy_from_slice(&tag);
    }

    /// Whether `bytes` is a ticket for `key` that a peer has signed.
    pub(super) fn is_genuine(bytes: &[u8], seal: &Seal, key: &Key) -> bool {
        bytes.len() == TICKET
            && bytes.starts_with(MAGIC)
            && seal.verify([&bytes[..SIGNED], key.as_bytes()], &bytes[SIGNED..])
    }

    fn holder(&self) -> &[u8] {
        &self.bytes[..HOLDER]
    }
}

/// Where and how leases are held.
pub(super) struct Terms {
    pub(super) link: Link,
    pub(super) seal: Seal,
    pub(super) length: Duration,
    pub(super) reply_timeout: Duration,
}

impl Terms {
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.reply_timeout
    }
}

/// The right to compute one result, or the attempt to get it. Gives itself back when it is dropped, so that a
/// computation that was cancelled, failed or panicked does not keep others waiting.
pub(super) struct Lease {
    terms: Arc<Terms>,
    key: Key,
    name: String,
    ticket: Ticket,
    renewal: Option<AbortHandle>,
    may_be_held: bool,
}

impl Lease {
    /// An attempt under `name`. Until its outcome is known by [`Self::hold`] or [`Self::give_up`] it may have
    /// succeeded: the reply may be lost, or this dropped while it is on its way.
    pub(super) fn attempt(terms: Arc<Terms>, key: Key, name: String) -> Self {
        let ticket = Ticket::new(&terms.seal, &key);
        Self { terms, key, name, ticket, renewal: None, may_be_held: true }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn ticket(&self) -> &[u8] {
        &self.ticket.bytes
    }

    /// The attempt succeeded; renews from now on.
    pub(super) fn hold(mut self) -> Self {
        let renewal = renew(Arc::clone(&self.terms), self.key, self.name.clone(), self.ticket.clone());
        self.renewal = Some(tokio::spawn(renewal).abort_handle());
        self
    }

    /// The attempt failed; somebody else holds it.
    pub(super) fn give_up(mut self) {
        self.may_be_held = false;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
        // Without a runtime the process is going down, and the lease expires by itself.
        let Some(runtime) = self.may_be_held.then(Handle::try_current).and_then(Result::ok) else { return };
        let terms = Arc::clone(&self.terms);
        let mut release = redis::pipe();
        release.cmd("EVAL").arg(RELEASE).arg(1).arg(&self.name).arg(self.ticket.holder());
        runtime.spawn(async move {
            // Failures are counted by the link; the lease then expires.
            let _: Result<(i64,), _> = terms.link.run(&release, terms.deadline()).await;
        });
    }
}

/// Judges from tickets alone whether a holder is worth waiting for.
pub(super) struct Watch {
    length: Duration,
    begun: Instant,
    ticket: Vec<u8>,
    seen_since: Instant,
    holders: usize,
}

impl Watch {
    /// A watch over one lease, whose length is `length`.
    pub(super) fn new(length: Duration, begun: Instant) -> Self {
        Self { length, begun, ticket: Vec::new(), seen_since: begun, holders: 0 }
    }

    /// Whether to wait on, when `ticket` is there at `now`, which is empty when the lease is free and somebody else may
    /// take it.
    pub(super) fn is_worth_waiting(&mut self, ticket: &[u8], now: Instant) -> bool {
        if self.ticket != ticket {
            let is_other_holder = !ticket.is_empty() && self.ticket.get(..HOLDER) != ticket.get(..HOLDER);
            self.holders += usize::from(is_other_holder);
            // A free lease does not end the memory of who held it last.
            if !ticket.is_empty() {
                self.ticket = ticket.to_vec();
            }
            self.seen_since = now;
        }
        let is_alive = now - self.seen_since <= self.length;
        is_alive && self.holders <= HOLDERS_MAX && now - self.begun <= self.length * WAIT_LEASES_MAX
    }
}

async fn renew(terms: Arc<Terms>, key: Key, name: String, mut ticket: Ticket) {
    let mut ticks = interval(terms.length / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    for renewals in 1.. {
        ticks.tick().await;
        ticket.sign(renewals, &terms.seal, &key);
        let commands = renewal(&name, &ticket, terms.length);
        // Zero means that it expired and somebody else may hold it: what is being computed is still right, only no
        // longer alone. A call that failed is tried again at the next tick.
        if let Ok((0_i64,)) = terms.link.run(&commands, terms.deadline()).await {
            return;
        }
    }
}

fn renewal(name: &str, ticket: &Ticket, length: Duration) -> Pipeline {
    let mut commands = redis::pipe();
    let ticket_bytes = ticket.bytes.as_slice();
    commands.cmd("EVAL").arg(RENEW).arg(1).arg(name).arg(ticket.holder()).arg(ticket_bytes).arg(milliseconds(length));
    commands
}

/// A length of time as Redis takes it, at least one millisecond.
pub(super) fn milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn a_ticket_is_for_one_key_by_one_secret() {
        let seal = |digit: &str| Seal::from_hex(&SecretString::from(digit.repeat(64))).unwrap();
        let (ours, theirs) = (seal("a"), seal("b"));
        let (key, other) = (Key::new([1; 32]), Key::new([2; 32]));
        let mut ticket = Ticket::new(&ours, &key);
        assert!(Ticket::is_genuine(&ticket.bytes, &ours, &key));
        assert!(!Ticket::is_genuine(&ticket.bytes, &theirs, &key));
        assert!(!Ticket::is_genuine(&ticket.bytes, &ours, &other));
        assert!(!Ticket::is_genuine(&ticket.bytes[1..], &ours, &key));
        assert!(!Ticket::is_genuine(b"held", &ours, &key));
        let before = ticket.bytes;
        ticket.sign(1, &ours, &key);
        assert!(ticket.bytes != before && Ticket::is_genuine(&ticket.bytes, &ours, &key));
        assert_eq!(ticket.bytes[..HOLDER], before[..HOLDER]);
    }

    #[test]
    fn a_watch_ends_with_a_dead_holder_a_third_holder_or_the_longest_wait() {
        let seal = Seal::from_hex(&SecretString::from("a".repeat(64))).unwrap();
        let key = Key::new([1; 32]);
        let (length, begun) = (Duration::from_secs(3), Instant::now());
        let mut tickets = [(); 3].map(|()| Ticket::new(&seal, &key));

        let mut watch = Watch::new(length, begun);
        assert!(watch.is_worth_waiting(&tickets[0].bytes, begun));
        assert!(watch.is_worth_waiting(&tickets[0].bytes, begun + length));
        let late = begun + length + Duration::from_millis(1);
        assert!(!watch.is_worth_waiting(&tickets[0].bytes, late), "it did not renew");

        let mut watch = Watch::new(length, begun);
        assert!(watch.is_worth_waiting(&tickets[0].bytes, begun));
        assert!(watch.is_worth_waiting(&[], begun));
        assert!(watch.is_worth_waiting(&tickets[0].bytes, begun));
        assert!(watch.is_worth_waiting(&tickets[1].bytes, begun));
        assert!(!watch.is_worth_waiting(&tickets[2].bytes, begun), "two left nothing");

        let mut watch = Watch::new(length, begun);
        for renewals in 0..=45 {
            tickets[0].sign(renewals, &seal, &key);
            assert!(watch.is_worth_waiting(&tickets[0].bytes, begun + length / 3 * renewals));
        }
        tickets[0].sign(46, &seal, &key);
        assert!(!watch.is_worth_waiting(&tickets[0].bytes, begun + length / 3 * 46), "nobody computes for that long");
    }
}
