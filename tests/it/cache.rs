//! The memory tier and single flight.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use pilaster::{
    cache::{Answer, AnswerSource, BodyId, Cache, CacheConfig, Entry, Filling, Key, Mode, Tier},
    error::{Code, Error, Result},
};
use tokio::{
    sync::{Barrier, Notify},
    task::JoinSet,
    time::sleep,
};

pub(crate) fn key(id: u16) -> Key {
    let mut digest = [0; 32];
    digest[..2].copy_from_slice(&id.to_le_bytes());
    digest[8..10].copy_from_slice(&id.to_le_bytes());
    Key::new(digest)
}

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]))
}

pub(crate) fn batch(first: i64, rows: i64) -> RecordBatch {
    let ids = Int64Array::from_iter_values(first..first + rows);
    RecordBatch::try_new(schema(), vec![Arc::new(ids)]).unwrap()
}

/// `batches` batches of 1000 rows, counted from 0.
pub(crate) fn filling(batches: i64) -> Filling {
    let batches = stream::iter((0..batches).map(|index| Ok(batch(index * 1000, 1000)))).boxed();
    Filling { schema: schema(), batches }
}

pub(crate) fn entry_of(answer: Answer) -> (Arc<Entry>, AnswerSource) {
    match answer {
        Answer::Entry { entry, source } => (entry, source),
        Answer::Stream(_) => panic!("a stream where an entry was expected"),
    }
}

async fn rows_of(answer: Answer) -> Vec<i64> {
    let batches: Vec<RecordBatch> = match answer {
        Answer::Entry { entry, .. } => entry.batches().to_vec(),
        Answer::Stream(filling) => filling.batches.try_collect().await.unwrap(),
    };
    let column = |batch: &RecordBatch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
    batches.iter().flat_map(column).collect()
}

fn cache() -> Cache {
    Cache::new(CacheConfig { memory_bytes: 4 << 20, entry_bytes_max: 1 << 20, ..CacheConfig::default() }).unwrap()
}

/// Counts computations that have begun and that were dropped before they ended.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    pub(crate) begun: Arc<AtomicUsize>,
    pub(crate) dropped: Arc<AtomicUsize>,
    pub(crate) open: Arc<Notify>,
}

struct CountDrop(Option<Arc<AtomicUsize>>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        if let Some(count) = self.0.take() {
            count.fetch_add(1, SeqCst);
        }
    }
}

impl Gate {
    /// A fill that waits until the gate opens.
    pub(crate) async fn fill(self) -> Result<Filling> {
        self.begun.fetch_add(1, SeqCst);
        let mut guard = CountDrop(Some(Arc::clone(&self.dropped)));
        self.open.notified().await;
        guard.0 = None;
        Ok(filling(2))
    }

    pub(crate) async fn until_begun(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.begun.load(SeqCst) < count {
            assert!(Instant::now() < deadline, "{count} computations did not begin");
            sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_equal_misses_compute_once() {
    let cache = cache();
    let begun = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..1000 {
        let (cache, begun) = (cache.clone(), Arc::clone(&begun));
        callers.spawn(async move {
            let fill = move || async move {
                begun.fetch_add(1, SeqCst);
                sleep(Duration::from_millis(50)).await;
                Ok(filling(3))
            };
            entry_of(cache.get_or_fill(key(1), Mode::Default, fill).await.unwrap())
        });
    }
    let answers = callers.join_all().await;
    assert_eq!(begun.load(SeqCst), 1);
    assert_eq!(answers.iter().filter(|(_, source)| *source == AnswerSource::Filled).count(), 1);
    assert!(answers.iter().all(|(entry, _)| Arc::ptr_eq(entry, &answers[0].0) && entry.rows() == 3000));

    // The thousand then want it as JSON, and that is made once too.
    let encoded = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for (entry, _) in answers {
        let (cache, encoded) = (cache.clone(), Arc::clone(&encoded));
        callers.spawn(async move {
            let encode = |_| async move {
                encoded.fetch_add(1, SeqCst);
                sleep(Duration::from_millis(20)).await;
                Ok(Bytes::from_static(b"[1,2,3]"))
            };
            cache.body(&entry, BodyId::new(1), encode).await.unwrap()
        });
    }
    assert!(callers.join_all().await.iter().all(|body| body == "[1,2,3]"));
    assert_eq!(encoded.load(SeqCst), 1);
    let entry = cache.get(&key(1)).await.unwrap();
    assert_eq!(entry.body(BodyId::new(1)).unwrap(), "[1,2,3]");
}

/// Many short rounds, so that callers arrive in every moment of a landing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_lost_around_a_landing() {
    let cache = cache();
    for round in 0..300 {
        let begun = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for caller in 0..16 {
            let (cache, begun) = (cache.clone(), Arc::clone(&begun));
            callers.spawn(async move {
                for _ in 0..caller {
                    tokio::task::yield_now().await;
                }
                let fill = move || async move {
                    begun.fetch_add(1, SeqCst);
                    Ok(filling(1))
                };
                cache.get_or_fill(key(round), Mode::Default, fill).await.unwrap();
            });
        }
        tokio::time::timeout(Duration::from_secs(5), callers.join_all()).await.expect("a wake-up was lost");
        assert_eq!(begun.load(SeqCst), 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_who_leaves_does_not_stop_the_others() {
    let (cache, gate) = (cache(), Gate::default());
    let call = |cache: &Cache| {
        let (cache, gate) = (cache.clone(), gate.clone());
        tokio::spawn(async move { cache.get_or_fill(key(1), Mode::Default, || gate.fill()).await })
    };
    let leader = call(&cache);
    gate.until_begun(1).await;
    let others = [call(&cache), call(&cache)];
    sleep(Duration::from_millis(20)).await;
    leader.abort();
    assert!(leader.await.err().unwrap().is_cancelled());
    gate.open.notify_waiters();
    for other in others {
        assert_eq!(entry_of(other.await.unwrap().unwrap()).1, AnswerSource::Joined);
    }
    assert_eq!((gate.begun.load(SeqCst), gate.dropped.load(SeqCst)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_caller_to_leave_stops_the_computation() {
    let (cache, gate) = (cache(), Gate::default());
    let call = |cache: &Cache| {
        let (cache, gate) = (cache.clone(), gate.clone());
        tokio::spawn(async move { cache.get_or_fill(key(1), Mode::Default, || gate.fill()).await })
    };
    let callers = [call(&cache), call(&cache), call(&cache)];
    gate.until_begun(1).await;
    sleep(Duration::from_millis(20)).await;
    for (left, caller) in callers.into_iter().enumerate() {
        assert_eq!(gate.dropped.load(SeqCst), 0, "{left} have left");
        caller.abort();
        let _ = caller.await;
    }
    let deadline = Instant::now() + Duration::from_secs(1);
    while gate.dropped.load(SeqCst) == 0 {
        assert!(Instant::now() < deadline, "the computation goes on for nobody");
        sleep(Duration::from_millis(1)).await;
    }
    // The key is free again.
    let answer = cache.get_or_fill(key(1), Mode::Default, || async { Ok(filling(1)) }).await.unwrap();
    assert_eq!(entry_of(answer).1, AnswerSource::Filled);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overflow_streams_to_the_leader_and_the_others_run_their_own() {
    let cache = cache();
    let begun = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    let call = |callers: &mut JoinSet<_>| {
        let (cache, begun) = (cache.clone(), Arc::clone(&begun));
        callers.spawn(async move {
            let fill = move || async move {
                begun.fetch_add(1, SeqCst);
                sleep(Duration::from_millis(50)).await;
                Ok(filling(300))
            };
            let answer = cache.get_or_fill(key(1), Mode::Default, fill).await.unwrap();
            assert!(matches!(answer, Answer::Stream(_)));
            rows_of(answer).await
        });
    };
    (0..5).for_each(|_| call(&mut callers));
    let all: Vec<i64> = (0..300_000).collect();
    assert!(callers.join_all().await.iter().all(|rows| *rows == all));
    assert_eq!(begun.load(SeqCst), 5, "one flight, then four on their own");
    assert!(cache.get(&key(1)).await.is_none());

    // It is known by now: no flight, so nobody waits for anybody. Five who wait for each other all run.
    let (mut callers, barrier) = (JoinSet::new(), Arc::new(Barrier::new(5)));
    for _ in 0..5 {
        let (cache, barrier) = (cache.clone(), Arc::clone(&barrier));
        callers.spawn(async move {
            let fill = move || async move {
                barrier.wait().await;
                Ok(filling(300))
            };
            rows_of(cache.get_or_fill(key(1), Mode::Default, fill).await.unwrap()).await.len()
        });
    }
    let all = tokio::time::timeout(Duration::from_secs(5), callers.join_all()).await.expect("they wait in line");
    assert_eq!(all, [300_000; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overflow_without_its_leader_goes_to_one_of_the_others() {
    let cache = cache();
    let (begun, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let call = || {
        let (cache, begun, open) = (cache.clone(), Arc::clone(&begun), Arc::clone(&open));
        tokio::spawn(async move {
            let fill = move || async move {
                if begun.fetch_add(1, SeqCst) == 0 {
                    open.notified().await;
                }
                Ok(filling(300))
            };
            rows_of(cache.get_or_fill(key(1), Mode::Default, fill).await.unwrap()).await.len()
        })
    };
    let leader = call();
    while begun.load(SeqCst) == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let others = [call(), call()];
    sleep(Duration::from_millis(20)).await;
    leader.abort();
    let _ = leader.await;
    open.notify_one();
    for other in others {
        assert_eq!(other.await.unwrap(), 300_000);
    }
    assert_eq!(begun.load(SeqCst), 2, "the flight's stream was used by one");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_reach_everybody_and_are_never_cached() {
    let cache = cache();
    let begun = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for index in 0..100 {
        let (cache, begun) = (cache.clone(), Arc::clone(&begun));
        callers.spawn(async move {
            let fill = move || async move {
                begun.fetch_add(1, SeqCst);
                sleep(Duration::from_millis(20)).await;
                // Half fail before the first row and half after it: neither leaves anything.
                let error = Error::new(Code::InvalidValue, "division by zero").with_sqlstate("22012");
                let rows = [Ok(batch(0, 10)), Err(error.clone())];
                if index % 2 == 0 {
                    Err(error)
                } else {
                    Ok(Filling { schema: schema(), batches: stream::iter(rows).boxed() })
                }
            };
            cache.get_or_fill(key(1), Mode::Default, fill).await.err().unwrap()
        });
    }
    let errors = callers.join_all().await;
    assert!(errors.iter().all(|error| error.sqlstate() == Some("22012")));
    assert_eq!(begun.load(SeqCst), 1);
    assert!(cache.get(&key(1)).await.is_none());
    let answer = cache.get_or_fill(key(1), Mode::Default, || async { Ok(filling(1)) }).await.unwrap();
    assert_eq!(entry_of(answer).1, AnswerSource::Filled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_leader_does_not_cancel_the_others() {
    let (cache, begun) = (cache(), Arc::new(AtomicUsize::new(0)));
    let call = || {
        let (cache, begun) = (cache.clone(), Arc::clone(&begun));
        async move {
            let fill = move || async move {
                let is_first = begun.fetch_add(1, SeqCst) == 0;
                sleep(Duration::from_millis(20)).await;
                if is_first { Err(Error::new(Code::Cancelled, "cancelled by an operator")) } else { Ok(filling(1)) }
            };
            cache.get_or_fill(key(1), Mode::Default, fill).await
        }
    };
    let mut callers = JoinSet::new();
    (0..50).for_each(|_| drop(callers.spawn(call())));
    let answers = callers.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
    assert_eq!(begun.load(SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_an_error_for_all_and_the_next_call_works() {
    let cache = cache();
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        let cache = cache.clone();
        callers.spawn(async move {
            let fill = || async {
                sleep(Duration::from_millis(20)).await;
                panic!("injected")
            };
            cache.get_or_fill(key(1), Mode::Default, fill).await.err().unwrap().code()
        });
    }
    assert!(callers.join_all().await.iter().all(|code| *code == Code::Internal));
    cache.get_or_fill(key(1), Mode::Default, || async { Ok(filling(1)) }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_read_and_store_as_they_say() {
    let cache = cache();
    let call = async |mode, batches| {
        cache.get_or_fill(key(1), mode, move || async move { Ok(filling(batches)) }).await.map(|answer| match answer {
            Answer::Entry { entry, source } => (entry.rows(), Some(source)),
            Answer::Stream(_) => (0, None),
        })
    };
    let hit = Some(AnswerSource::Hit(Tier::Memory));
    assert_eq!(call(Mode::OnlyIfCached, 1).await.unwrap_err().code(), Code::NotCached);
    assert_eq!(call(Mode::Bypass, 1).await.unwrap(), (0, None));
    assert_eq!(call(Mode::OnlyIfCached, 1).await.unwrap_err().code(), Code::NotCached, "bypass stores nothing");
    assert_eq!(call(Mode::Default, 1).await.unwrap(), (1000, Some(AnswerSource::Filled)));
    assert_eq!(call(Mode::OnlyIfCached, 2).await.unwrap(), (1000, hit));
    assert_eq!(call(Mode::Refresh, 2).await.unwrap(), (2000, Some(AnswerSource::Filled)));
    assert_eq!(call(Mode::Default, 3).await.unwrap(), (2000, hit));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_within_its_budget() {
    let cache = cache();
    for id in 0..64 {
        let answer = cache.get_or_fill(key(id), Mode::Default, || async { Ok(filling(100)) }).await.unwrap();
        let (entry, _) = entry_of(answer);
        assert!((800_000..1_000_000).contains(&entry.bytes()), "{}", entry.bytes());
        cache.body(&entry, BodyId::new(1), |_| async { Ok(Bytes::from(vec![0; 100_000])) }).await.unwrap();
        let (bytes, _) = cache.usage().await;
        assert!(bytes <= 4 << 20, "{bytes}");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_right_are_refused() {
    let config = CacheConfig { memory_bytes: 1 << 20, entry_bytes_max: 1 << 19, redis: None, time_to_idle: None };
    assert_eq!(Cache::new(config).err().unwrap().code(), Code::InvalidConfig);
}

/// `cargo test --release --test it figures -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures"]
async fn figures_of_a_memory_hit() {
    const HITS: u32 = 1_000_000;
    let cache = cache();
    let answer = cache.get_or_fill(key(1), Mode::Default, || async { Ok(filling(10)) }).await.unwrap();
    let (entry, _) = entry_of(answer);
    cache.body(&entry, BodyId::new(1), |_| async { Ok(Bytes::from(vec![b' '; 10_000])) }).await.unwrap();
    for tasks in [1, 2] {
        let begin = Instant::now();
        let mut callers = JoinSet::new();
        for _ in 0..tasks {
            let cache = cache.clone();
            callers.spawn(async move {
                for _ in 0..HITS {
                    let body = cache.get(&key(1)).await.and_then(|entry| entry.body(BodyId::new(1)));
                    assert_eq!(std::hint::black_box(body).map_or(0, |body| body.len()), 10_000);
                }
            });
        }
        callers.join_all().await;
        println!("a hit with its body, {tasks} at a time: {:?}", begin.elapsed() / HITS);
    }
}
