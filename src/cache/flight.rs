//! Single flight: equal misses at one time are one computation.
//!
//! Owns: [`Flights`], who waits for what, and the end of a computation that nobody waits for any more.
//! Must not know: what a computation does, where results are stored, SQL.
//!
//! A flight is a task of its own, so it lives as long as anybody waits and not as long as the one who happened to be
//! first. The map of flights is one `std` mutex: it is taken only on misses, twice each, for tens of nanoseconds, and
//! never over an await. Counting passengers under the same lock is what makes "the last one has gone" a fact and not a
//! guess.

use std::{
    any::Any,
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{
    FutureExt,
    future::{AbortHandle, BoxFuture, abortable},
};
use metrics::Counter;
use tokio::sync::watch;
use tracing::Instrument;

use super::{Filling, entry::Entry, key::Key};
use crate::error::{Code, Error};

/// What a flight is for. One that refreshes must not hand out what is already stored, so it is not joined by, and does
/// not join, one that looks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Route {
    pub(super) key: Key,
    pub(super) refresh: bool,
}

/// Where a flight found its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Memory,
    Redis,
    Computed,
}

/// How a flight ended.
pub(super) enum Outcome {
    Entry(Arc<Entry>, Origin),
    /// The result is over the limit; here it is, whole, with what was buffered in front.
    Overflow(Filling),
    Failed(Error),
}

/// How a flight ended, for one passenger.
pub(super) enum Arrival {
    Entry(Arc<Entry>, Origin),
    /// The result is over the limit, and this passenger gets it.
    Stream(Filling),
    /// The result is over the limit, and somebody else got it.
    TooLarge,
    Failed(Error),
}

/// What all passengers are told.
#[derive(Clone)]
enum Landing {
    Entry(Arc<Entry>, Origin),
    TooLarge,
    Failed(Error),
}

/// The flights in the air.
pub(super) struct Flights {
    aloft: Mutex<Aloft>,
    abandoned: Counter,
}

#[derive(Default)]
struct Aloft {
    flights: HashMap<Route, Flight>,
    last_number: u64,
}

struct Flight {
    /// Tells this flight from a later one on the same route.
    number: u64,
    passengers: usize,
    landing: watch::Receiver<Option<Landing>>,
    cabin: Arc<Cabin>,
    abort: AbortHandle,
}

/// What passengers share besides the landing: a stream can be given once only.
struct Cabin {
    overflow: Mutex<Option<Filling>>,
    leader_aboard: AtomicBool,
}

impl Flights {
    pub(super) fn new(abandoned: Counter) -> Arc<Self> {
        Arc::new(Self { aloft: Mutex::default(), abandoned })
    }

    /// Joins the flight on `route`, or starts one with what `depart` returns.
    ///
    /// `leader` is taken by `depart` if this caller leads, and stays if it joins.
    pub(super) fn board<L>(
        self: &Arc<Self>,
        route: Route,
        leader: &mut Option<L>,
        depart: impl FnOnce(L) -> BoxFuture<'static, Outcome>,
    ) -> Seat {
        let mut aloft = self.lock();
        if let Some(flight) = aloft.flights.get_mut(&route) {
            flight.passengers += 1;
            return Seat {
                flights: Arc::clone(self),
                route,
                number: flight.number,
                landing: flight.landing.clone(),
                cabin: Arc::clone(&flight.cabin),
                leads: false,
            };
        }
        aloft.last_number += 1;
        let number = aloft.last_number;
        let (land, landing) = watch::channel(None);
        let cabin = Arc::new(Cabin { overflow: Mutex::default(), leader_aboard: AtomicBool::new(true) });
        let course = depart(leader.take().expect("a caller leads at most one flight"));
        let (course, abort) = abortable(fly(Arc::clone(self), route, number, course, land, Arc::clone(&cabin)));
        let flight = Flight { number, passengers: 1, landing: landing.clone(), cabin: Arc::clone(&cabin), abort };
        aloft.flights.insert(route, flight);
        drop(aloft);
        // Spawned outside the lock: a runtime that is shutting down drops the future here, and with it whatever it
        // holds.
        tokio::spawn(course.in_current_span());
        Seat { flights: Arc::clone(self), route, number, landing, cabin, leads: true }
    }

    /// Takes a flight out of the map, if it is still that one.
    fn remove(&self, route: Route, number: u64) -> Option<Flight> {
        let mut aloft = self.lock();
        let is_that = aloft.flights.get(&route).is_some_and(|flight| flight.number == number);
        is_that.then(|| aloft.flights.remove(&route)).flatten()
    }

    // Nothing under the lock can panic half way, so a poisoned map is a whole one.
    fn lock(&self) -> MutexGuard<'_, Aloft> {
        self.aloft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.lock().flights.len()
    }
}

async fn fly(
    flights: Arc<Flights>,
    route: Route,
    number: u64,
    course: BoxFuture<'static, Outcome>,
    land: watch::Sender<Option<Landing>>,
    cabin: Arc<Cabin>,
) {
    let landing = match AssertUnwindSafe(course).catch_unwind().await {
        Ok(Outcome::Entry(entry, origin)) => Landing::Entry(entry, origin),
        Ok(Outcome::Failed(error)) => Landing::Failed(error),
        Ok(Outcome::Overflow(filling)) => {
            *cabin.overflow.lock().unwrap_or_else(PoisonError::into_inner) = Some(filling);
            Landing::TooLarge
        }
        Err(panic) => {
            let error = Error::internal("the computation of this result panicked");
            Landing::Failed(error.with_cause(panic_message(panic.as_ref())))
        }
    };
    // Out of the map first: a caller who comes after this starts a flight that looks in memory before it does anything,
    // and one who came before holds a receiver. Nobody is in between.
    drop(flights.remove(route, number));
    land.send_replace(Some(landing));
}

/// What a panic said, as far as it is text.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

/// One caller's interest in a flight. Dropping the last one ends the flight.
pub(super) struct Seat {
    flights: Arc<Flights>,
    route: Route,
    number: u64,
    landing: watch::Receiver<Option<Landing>>,
    cabin: Arc<Cabin>,
    leads: bool,
}

impl Seat {
    /// Waits for the end of the flight.
    pub(super) async fn arrive(mut self) -> Arrival {
        let landing = match self.landing.wait_for(Option::is_some).await {
            Ok(landing) => landing.clone(),
            Err(_) => None,
        };
        match landing {
            Some(Landing::Entry(entry, origin)) => Arrival::Entry(entry, origin),
            Some(Landing::Failed(error)) => Arrival::Failed(error),
            Some(Landing::TooLarge) => self.claim_overflow().map_or(Arrival::TooLarge, Arrival::Stream),
            // The task ended without a word; only a runtime that is shutting down does that to a task with passengers.
            None => Arrival::Failed(Error::new(Code::ShuttingDown, "the server is stopping")),
        }
    }

    /// The stream is the leader's, who has no other. If the leader has gone, the first who asks gets it, so that what
    /// was computed is not thrown away.
    fn claim_overflow(&self) -> Option<Filling> {
        if !self.leads && self.cabin.leader_aboard.load(Ordering::Acquire) {
            return None;
        }
        self.cabin.overflow.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.leads {
            self.cabin.leader_aboard.store(false, Ordering::Release);
        }
        let mut aloft = self.flights.lock();
        let Some(flight) = aloft.flights.get_mut(&self.route).filter(|flight| flight.number == self.number) else {
            return;
        };
        flight.passengers -= 1;
        if flight.passengers > 0 {
            return;
        }
        let flight = aloft.flights.remove(&self.route);
        drop(aloft);
        if let Some(flight) = flight {
            flight.abort.abort();
            self.flights.abandoned.increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, time::Duration};

    use tokio::sync::Notify;

    use super::*;

    fn route(refresh: bool) -> Route {
        Route { key: Key::new([7; 32]), refresh }
    }

    fn flights() -> Arc<Flights> {
        Flights::new(Counter::noop())
    }

    #[tokio::test]
    async fn a_panic_reaches_every_passenger_and_leaves_no_flight() {
        let flights = flights();
        let go = Arc::new(Notify::new());
        let mut seats = Vec::new();
        for _ in 0..10 {
            let go = Arc::clone(&go);
            seats.push(flights.board(route(false), &mut Some(()), |()| {
                async move {
                    go.notified().await;
                    panic!("the fuel is out");
                }
                .boxed()
            }));
        }
        go.notify_one();
        for seat in seats {
            let Arrival::Failed(error) = seat.arrive().await else { panic!("an entry out of a panic") };
            assert_eq!(error.code(), Code::Internal);
            assert!(error.chain().contains("the fuel is out"));
            assert!(!error.message().contains("the fuel is out"));
        }
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test]
    async fn the_last_one_to_go_ends_the_flight_and_a_new_one_can_start() {
        let flights = flights();
        let dropped = Arc::new(AtomicUsize::new(0));
        let seat = |leads: bool| {
            let dropped = Arc::clone(&dropped);
            let mut leader = Some(());
            let seat = flights.board(route(false), &mut leader, |()| {
                async move {
                    let _guard = scopeguard(dropped);
                    std::future::pending().await
                }
                .boxed()
            });
            assert_eq!(leader.is_none(), leads);
            seat
        };
        let (first, second) = (seat(true), seat(false));
        tokio::task::yield_now().await;
        drop(first);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(dropped.load(Ordering::SeqCst), 0, "one is still aboard");
        drop(second);
        let third = seat(true);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(dropped.load(Ordering::SeqCst), 1, "the first flight is over, the new one flies");
        drop(third);
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test]
    async fn a_refresh_is_a_flight_of_its_own() {
        let flights = flights();
        let pending = |()| std::future::pending().boxed();
        let mut leaders = [Some(()), Some(()), Some(())];
        let _first = flights.board(route(false), &mut leaders[0], pending);
        let _second = flights.board(route(true), &mut leaders[1], pending);
        let _third = flights.board(route(true), &mut leaders[2], pending);
        assert_eq!(leaders, [None, None, Some(())]);
    }

    struct CountOnDrop(Arc<AtomicUsize>);

    impl Drop for CountOnDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn scopeguard(count: Arc<AtomicUsize>) -> CountOnDrop {
        CountOnDrop(count)
    }
}
