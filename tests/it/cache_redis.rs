//! The Redis tier against a real server: shared, down, slow, lying, restarted.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use pilaster::{
    cache::{Answer, AnswerSource, Cache, CacheConfig, Filling, Key, Mode, RedisConfig, Tier},
    error::{Code, Error, Result},
};
use redis::{Commands, Connection};
use secrecy::SecretString;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    cache::{Gate, batch, entry_of, filling, key, schema},
    support_redis::RedisServer,
};

/// For tests of what happens on a Redis that answers.
const PATIENCE: Duration = Duration::from_millis(700);

/// What a busy machine may add to a wait before it is taken for one that a fault of ours has made longer.
const SLACK: Duration = Duration::from_millis(400);

/// How long a miss waits for Redis by default.
const TIMEOUT: Duration = Duration::from_millis(50);

fn config(url: &str) -> RedisConfig {
    RedisConfig::new(SecretString::from(url), Some(SecretString::from("5a".repeat(32))))
}

fn cache(redis: RedisConfig) -> Cache {
    Cache::new(CacheConfig { redis: Some(redis), ..CacheConfig::default() }).unwrap()
}

/// With so much patience that only a fault of ours makes it give Redis up, however busy the machine is.
fn patient(url: &str) -> RedisConfig {
    RedisConfig { timeout: PATIENCE, lease: PATIENCE * 3, ..config(url) }
}

/// A cache like that of a server which just started.
fn server(redis: &RedisServer) -> Cache {
    cache(patient(&redis.url()))
}

async fn source(cache: &Cache, key: Key) -> AnswerSource {
    let answer = cache.get_or_fill(key, Mode::Default, || async { Ok(filling(2)) }).await.unwrap();
    let (entry, source) = entry_of(answer);
    assert_eq!(entry.batches(), [batch(0, 1000), batch(1000, 1000)]);
    source
}

async fn until(what: &str, within: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !is_so().await {
        assert!(begin.elapsed() < within, "not within {within:?}: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn value_name(key: Key) -> String {
    format!("pilaster:result:{}", key.to_hex())
}

fn lease_name(key: Key) -> String {
    format!("pilaster:lease:{}", key.to_hex())
}

/// Computes under `key` and waits until Redis has it.
async fn seed(redis: &RedisServer, key: Key) -> Connection {
    assert_eq!(source(&server(redis), key).await, AnswerSource::Filled);
    until("the value is written and the lease given back", Duration::from_secs(5), async || {
        let mut connection = redis.connect();
        connection.exists::<_, bool>(value_name(key)).unwrap()
            && !connection.exists::<_, bool>(lease_name(key)).unwrap()
    })
    .await;
    redis.connect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_computed_another_reads() {
    let redis = RedisServer::start();
    let mut connection = seed(&redis, key(1)).await;
    let ttl: u64 = connection.ttl(value_name(key(1))).unwrap();
    assert!((26 * 3600 - 60..=26 * 3600).contains(&ttl));

    let other = server(&redis);
    assert_eq!(source(&other, key(1)).await, AnswerSource::Hit(Tier::Redis));
    assert_eq!(source(&other, key(1)).await, AnswerSource::Hit(Tier::Memory));

    let third = server(&redis);
    let never = || async { unreachable!("only-if-cached computes nothing") };
    let answer = third.get_or_fill(key(1), Mode::OnlyIfCached, never).await.unwrap();
    assert_eq!(entry_of(answer).1, AnswerSource::Hit(Tier::Redis));
    let answer = third.get_or_fill(key(2), Mode::OnlyIfCached, never).await;
    assert_eq!(answer.err().unwrap().code(), Code::NotCached);

    // A refresh computes although there is a value, and replaces it for the others.
    let refreshed = server(&redis).get_or_fill(key(1), Mode::Refresh, || async { Ok(filling(5)) }).await.unwrap();
    assert_eq!(entry_of(refreshed).1, AnswerSource::Filled);
    until("the new value is there", Duration::from_secs(5), async || {
        let found = server(&redis).get_or_fill(key(1), Mode::OnlyIfCached, never).await.unwrap();
        entry_of(found).0.rows() == 5000
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_verified_and_works() {
    let redis = RedisServer::start_tls();
    let trusting = || RedisConfig { ca_certificate: Some(redis.ca_certificate()), ..patient(&redis.url()) };
    let first = cache(trusting());
    assert_eq!(source(&first, key(1)).await, AnswerSource::Filled);
    until("a second server reads it", Duration::from_secs(5), async || {
        let mode = Mode::OnlyIfCached;
        cache(trusting()).get_or_fill(key(1), mode, || async { Ok(filling(2)) }).await.is_ok()
    })
    .await;
    // Whoever does not know the authority computes.
    assert_eq!(source(&cache(config(&redis.url())), key(1)).await, AnswerSource::Filled);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_on_one_redis_compute_once_together() {
    let redis = RedisServer::start();
    let begun = Arc::new(AtomicUsize::new(0));
    let servers: Vec<Cache> = (0..4).map(|_| server(&redis)).collect();
    for round in 0..5 {
        begun.store(0, SeqCst);
        let mut callers = JoinSet::new();
        for caller in 0..200 {
            let (cache, begun) = (servers[caller % servers.len()].clone(), Arc::clone(&begun));
            callers.spawn(async move {
                let fill = move || async move {
                    begun.fetch_add(1, SeqCst);
                    sleep(Duration::from_millis(150)).await;
                    Ok(filling(2))
                };
                entry_of(cache.get_or_fill(key(round), Mode::Default, fill).await.unwrap()).1
            });
        }
        let sources = callers.join_all().await;
        assert_eq!(begun.load(SeqCst), 1, "round {round}");
        assert_eq!(sources.iter().filter(|source| **source == AnswerSource::Hit(Tier::Redis)).count(), 150);
    }
}

/// Longer than a lease: the holder renews it.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_computation_keeps_its_lease() {
    let redis = RedisServer::start();
    let short = || server(&redis);
    let begun = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..3 {
        let (cache, begun) = (short(), Arc::clone(&begun));
        callers.spawn(async move {
            let fill = move || async move {
                begun.fetch_add(1, SeqCst);
                sleep(PATIENCE * 5).await;
                Ok(filling(2))
            };
            cache.get_or_fill(key(1), Mode::Default, fill).await.unwrap();
        });
    }
    callers.join_all().await;
    assert_eq!(begun.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_holder_costs_at_most_its_lease() {
    let redis = RedisServer::start();
    let shared = patient(&redis.url());
    let lease = shared.lease;

    // A holder whose whole runtime goes away while it computes, like a process that is killed: nothing is given back.
    let gate = Gate::default();
    let (dying, dying_gate) = (cache(shared.clone()), gate.clone());
    let (kill, killed) = std::sync::mpsc::channel::<()>();
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move { dying.get_or_fill(key(1), Mode::Default, || dying_gate.fill()).await.map(drop) });
        killed.recv().unwrap();
        runtime.shutdown_background();
    });
    gate.until_begun(1).await;
    let mut connection = redis.connect();
    assert!(connection.exists::<_, bool>(lease_name(key(1))).unwrap());
    kill.send(()).unwrap();
    process.join().unwrap();

    let begin = Instant::now();
    assert_eq!(source(&cache(shared.clone()), key(1)).await, AnswerSource::Filled);
    assert!(begin.elapsed() < lease + SLACK, "{:?}", begin.elapsed());

    // The same, on a Redis that does not let it expire: the ticket that never changes gives it away.
    let genuine = loop {
        let gate = Gate::default();
        let (holder, fill) = (cache(shared.clone()), gate.clone());
        let flight =
            tokio::spawn(async move { holder.get_or_fill(key(2), Mode::Default, || fill.fill()).await.map(drop) });
        gate.until_begun(1).await;
        let ticket: Vec<u8> = connection.get(lease_name(key(2))).unwrap();
        flight.abort();
        let _ = flight.await;
        if !ticket.is_empty() {
            break ticket;
        }
    };
    sleep(Duration::from_millis(100)).await;
    connection.set::<_, _, ()>(lease_name(key(2)), genuine).unwrap();
    let begin = Instant::now();
    assert_eq!(source(&cache(shared), key(2)).await, AnswerSource::Filled);
    assert!(begin.elapsed() < lease + SLACK, "{:?}", begin.elapsed());
    assert!(begin.elapsed() > lease - Duration::from_millis(50), "a genuine ticket was not honoured");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_given_back_when_the_query_stops_fails_or_outgrows() {
    let redis = RedisServer::start();
    let cache = server(&redis);
    let is_given_back = async |key: Key| {
        until("the lease is given back", PATIENCE * 2, async || {
            !redis.connect().exists::<_, bool>(lease_name(key)).unwrap()
        })
        .await;
    };

    let gate = Gate::default();
    let (leaving, fill) = (cache.clone(), gate.clone());
    let caller =
        tokio::spawn(async move { leaving.get_or_fill(key(1), Mode::Default, || fill.fill()).await.map(drop) });
    gate.until_begun(1).await;
    assert!(redis.connect().exists::<_, bool>(lease_name(key(1))).unwrap());
    caller.abort();
    is_given_back(key(1)).await;

    let failing = || async { Err::<Filling, _>(Error::new(Code::OutOfMemory, "no memory")) };
    cache.get_or_fill(key(2), Mode::Default, failing).await.err().unwrap();
    is_given_back(key(2)).await;

    let panicking = || async { panic!("injected") };
    cache
        .get_or_fill::<_, std::future::Pending<Result<Filling>>>(key(3), Mode::Default, || panic!("injected"))
        .await
        .err()
        .unwrap();
    cache.get_or_fill(key(3), Mode::Default, panicking).await.err().unwrap();
    is_given_back(key(3)).await;

    let answer = cache.get_or_fill(key(4), Mode::Default, || async { Ok(filling(3000)) }).await.unwrap();
    assert!(matches!(answer, Answer::Stream(_)));
    is_given_back(key(4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_hostile_in_redis_is_believed() {
    let redis = RedisServer::start();
    let mut connection = seed(&redis, key(1)).await;
    let genuine: Vec<u8> = connection.get(value_name(key(1))).unwrap();
    seed(&redis, key(2)).await;
    let of_other_key: Vec<u8> = connection.get(value_name(key(2))).unwrap();

    let changed = |at: usize, to: u8| {
        let mut value = genuine.clone();
        value[at] = to;
        value
    };
    let hostile = [
        ("garbage", b"hello".to_vec()),
        ("long garbage", vec![0xff; 100_000]),
        ("another key's value", of_other_key),
        ("another magic", changed(0, b'X')),
        ("an old version", changed(4, 0)),
        ("another length", changed(41, 0xff)),
        ("another signature", changed(60, genuine[60] ^ 1)),
        ("a changed number", changed(genuine.len() - 100, genuine[genuine.len() - 100] ^ 1)),
        ("half of it", genuine[..genuine.len() / 2].to_vec()),
        ("oversized", vec![b'x'; 8 << 20]),
    ];
    for (what, value) in hostile {
        connection.set::<_, _, ()>(value_name(key(1)), value).unwrap();
        let cache = server(&redis);
        let answer = cache.get_or_fill(key(1), Mode::OnlyIfCached, || async { Ok(filling(1)) }).await;
        assert_eq!(answer.err().map(|error| error.code()), Some(Code::NotCached), "{what}");
        assert_eq!(source(&cache, key(1)).await, AnswerSource::Filled, "{what}");
        // What was computed replaces it.
        until(what, Duration::from_secs(5), async || {
            connection.get::<_, Vec<u8>>(value_name(key(1))).unwrap() == genuine
        })
        .await;
    }

    // A value signed with another secret, and a value of another type.
    let other_secret = SecretString::from("6b".repeat(32));
    let stranger = cache(RedisConfig { hmac_key: Some(other_secret), ..patient(&redis.url()) });
    assert_eq!(source(&stranger, key(1)).await, AnswerSource::Filled);
    // In one step: the stranger writes in the background, perhaps in between.
    let name = value_name(key(1));
    redis::pipe().atomic().del(&name).rpush(&name, "a list").query::<()>(&mut connection).unwrap();
    assert_eq!(source(&server(&redis), key(1)).await, AnswerSource::Filled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_lease_makes_nobody_wait() {
    let redis = RedisServer::start();
    let mut connection = redis.connect();
    for (id, ticket) in [(1, b"held".to_vec()), (2, vec![7; 56]), (3, [b"PLL1".to_vec(), vec![7; 52]].concat())] {
        connection.set::<_, _, ()>(lease_name(key(id)), ticket).unwrap();
        let begin = Instant::now();
        assert_eq!(source(&server(&redis), key(id)).await, AnswerSource::Filled);
        assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    }
}

/// Misses one after the other, and what the slowest of them and all of them took.
async fn misses(cache: &Cache, first: u16, count: u16) -> (Duration, Duration) {
    let (mut slowest, begin) = (Duration::ZERO, Instant::now());
    for id in first..first + count {
        let one = Instant::now();
        assert_eq!(source(cache, key(id)).await, AnswerSource::Filled);
        slowest = slowest.max(one.elapsed());
    }
    (slowest, begin.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_not_there_costs_nothing() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let cache = cache(config(&format!("redis://127.0.0.1:{port}")));
    let (slowest, all) = misses(&cache, 0, 200).await;
    assert!(slowest < TIMEOUT + SLACK, "{slowest:?}");
    assert!(all < TIMEOUT * 50, "two hundred misses took {all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_costs_its_timeout_and_then_nothing() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().map(Result::unwrap).collect::<Vec<_>>());
    let cache = cache(config(&format!("redis://127.0.0.1:{port}")));
    let (slowest, _) = misses(&cache, 0, 20).await;
    assert!(slowest < TIMEOUT + SLACK, "{slowest:?}");
    let (_, all) = misses(&cache, 100, 100).await;
    assert!(all < TIMEOUT * 25, "the breaker did not open: a hundred misses took {all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_costs_its_timeout_then_nothing_and_is_used_again() {
    let redis = RedisServer::start();
    let cache = cache(config(&redis.url()));
    misses(&cache, 0, 10).await;
    redis.freeze();
    let (slowest, _) = misses(&cache, 100, 20).await;
    assert!(slowest < TIMEOUT + SLACK, "{slowest:?}");
    let (_, all) = misses(&cache, 200, 100).await;
    assert!(all < TIMEOUT * 25, "a hundred misses took {all:?}");
    redis.thaw();
    until("it is used again", Duration::from_secs(10), async || is_written(&redis, &cache).await).await;
}

/// Whether a new result of `cache` gets into Redis.
async fn is_written(redis: &RedisServer, cache: &Cache) -> bool {
    static NEXT: AtomicUsize = AtomicUsize::new(10_000);
    let key = key(u16::try_from(NEXT.fetch_add(1, SeqCst)).unwrap());
    assert_eq!(source(cache, key).await, AnswerSource::Filled);
    sleep(Duration::from_millis(50)).await;
    redis.connect().exists::<_, bool>(value_name(key)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_redis_is_used_again() {
    let mut redis = RedisServer::start();
    let cache = cache(config(&redis.url()));
    until("it is used", Duration::from_secs(5), async || is_written(&redis, &cache).await).await;
    redis.kill();
    let (slowest, all) = misses(&cache, 100, 100).await;
    assert!(slowest < TIMEOUT + SLACK && all < TIMEOUT * 25, "{slowest:?} of {all:?}");
    redis.restart();
    until("it is used again", Duration::from_secs(6), async || is_written(&redis, &cache).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_a_miss() {
    let redis = RedisServer::start();
    let mut connection = redis.connect();
    redis::cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).exec(&mut connection).unwrap();
    let cache = server(&redis);
    let (slowest, all) = misses(&cache, 0, 100).await;
    assert!(slowest < TIMEOUT + SLACK && all < PATIENCE * 3, "{slowest:?} of {all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_over_the_cap_of_redis_stays_in_memory() {
    let redis = RedisServer::start();
    let small = || cache(RedisConfig { value_bytes_max: 1000, ..patient(&redis.url()) });
    let first = small();
    assert_eq!(source(&first, key(1)).await, AnswerSource::Filled);
    assert_eq!(source(&first, key(1)).await, AnswerSource::Hit(Tier::Memory));
    until("a note is written", PATIENCE * 3, async || redis.connect().exists::<_, bool>(value_name(key(1))).unwrap())
        .await;
    let length: usize = redis.connect().strlen(value_name(key(1))).unwrap();
    assert!((1..100).contains(&length), "only a note that it is not shared: {length}");
    assert_eq!(source(&small(), key(1)).await, AnswerSource::Filled);
}

/// Servers learn from the first that a result cannot be shared, and do not compute it in line.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_shared_or_fails_is_not_waited_for_again_and_again() {
    const SERVERS: u32 = 6;
    let redis = RedisServer::start();
    let compute = Duration::from_millis(400);
    for (id, batches) in [(1, Some(3000)), (2, None)] {
        let mut callers = JoinSet::new();
        let begin = Instant::now();
        for _ in 0..SERVERS {
            let cache = server(&redis);
            callers.spawn(async move {
                let fill = move || async move {
                    sleep(compute).await;
                    batches.map(filling).ok_or_else(|| Error::new(Code::InvalidValue, "division by zero"))
                };
                cache.get_or_fill(key(id), Mode::Default, fill).await.is_ok()
            });
        }
        assert_eq!(callers.join_all().await, [batches.is_some(); SERVERS as usize]);
        let all = begin.elapsed();
        assert!(all < compute * (SERVERS - 1), "{SERVERS} servers took {all:?}");
    }
}

/// Each row of a slice comes back, and the envelope holds little more than the rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_travels_alone() {
    let redis = RedisServer::start();
    let slice = || async {
        let batches = stream::iter([Ok(batch(0, 1_000_000).slice(999_000, 3))]).boxed();
        Ok(Filling { schema: schema(), batches })
    };
    entry_of(server(&redis).get_or_fill(key(1), Mode::Default, slice).await.unwrap());
    until("it is written", Duration::from_secs(5), async || {
        redis.connect().exists::<_, bool>(value_name(key(1))).unwrap()
    })
    .await;
    let length: usize = redis.connect().strlen(value_name(key(1))).unwrap();
    assert!(length < 1000, "{length}");
    let found = server(&redis).get_or_fill(key(1), Mode::OnlyIfCached, slice).await.unwrap();
    assert_eq!(entry_of(found).0.batches(), [batch(999_000, 3)]);
}

/// A server that says it will send a gigabyte, and goes on sending: the connection is cut, not filled.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_reply_is_cut_off() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            std::thread::spawn(move || {
                let mut request = [0; 65536];
                while let Ok(length) = stream.read(&mut request) {
                    let request = String::from_utf8_lossy(&request[..length]).into_owned();
                    if length == 0 {
                        return;
                    }
                    if request.contains("GETRANGE") {
                        stream.write_all(b"$1000000000\r\n").unwrap();
                        let mut sent = 0;
                        while stream.write_all(&[b'x'; 10_000]).is_ok() && sent < 1_000_000_000 {
                            sent += 10_000;
                            std::thread::sleep(Duration::from_micros(500));
                        }
                        tell.send(sent).unwrap();
                        return;
                    }
                    // Whatever a client says on connecting is fine; one reply for each command.
                    let commands = request.lines().filter(|line| line.starts_with('*')).count();
                    stream.write_all("+OK\r\n".repeat(commands).as_bytes()).unwrap();
                }
            });
        }
    });
    let cache = cache(config(&format!("redis://127.0.0.1:{port}")));
    assert_eq!(source(&cache, key(1)).await, AnswerSource::Filled);
    let sent = told.recv_timeout(Duration::from_secs(5)).expect("the connection is cut within two timeouts");
    assert!(sent < 20_000_000, "{sent} bytes were taken");
}

/// `cargo test --release --test it figures -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures"]
async fn figures_of_redis() {
    const KEYS: u16 = 500;
    let redis = RedisServer::start();
    let alone = Cache::new(CacheConfig::default()).unwrap();
    let shared = server(&redis);
    source(&shared, key(9999)).await;
    sleep(Duration::from_millis(100)).await;
    println!("a miss without redis: {:?}", misses(&alone, 0, KEYS).await.1 / u32::from(KEYS));
    println!("a miss with redis: {:?}", misses(&shared, 0, KEYS).await.1 / u32::from(KEYS));
    sleep(Duration::from_millis(500)).await;
    let reader = server(&redis);
    source(&reader, key(9999)).await;
    let begin = Instant::now();
    for id in 0..KEYS {
        assert_eq!(source(&reader, key(id)).await, AnswerSource::Hit(Tier::Redis));
    }
    println!("a hit in redis of 16 kB: {:?}", begin.elapsed() / u32::from(KEYS));

    let large = || async { Ok(filling(400)) };
    entry_of(shared.get_or_fill(key(8888), Mode::Default, large).await.unwrap());
    sleep(Duration::from_millis(500)).await;
    let mut times = Vec::new();
    for _ in 0..20 {
        let reader = server(&redis);
        source(&reader, key(9999)).await;
        let begin = Instant::now();
        let found = reader.get_or_fill(key(8888), Mode::OnlyIfCached, large).await.unwrap();
        times.push(begin.elapsed());
        assert_eq!(entry_of(found).0.rows(), 400_000);
    }
    times.sort();
    println!("a hit in redis of 3.2 MB: median {:?}, slowest {:?}", times[10], times[19]);

    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    print_percentiles("down from the start", &cache(config(&format!("redis://127.0.0.1:{free}"))), 10_000).await;
    redis.freeze();
    print_percentiles("frozen while in use", &shared, 10_000).await;
    redis.thaw();
    let hole = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = hole.local_addr().unwrap().port();
    std::thread::spawn(move || hole.incoming().map(Result::unwrap).collect::<Vec<_>>());
    print_percentiles("a black hole", &cache(config(&format!("redis://127.0.0.1:{port}"))), 10_000).await;
}

/// Misses for seven seconds, so that the breaker opens and probes more than once.
#[expect(clippy::print_stdout, reason = "printing figures is what it is for")]
async fn print_percentiles(what: &str, cache: &Cache, first: u16) {
    let (mut times, begin, mut id) = (Vec::new(), Instant::now(), first);
    while begin.elapsed() < Duration::from_secs(7) {
        let one = Instant::now();
        source(cache, key(id)).await;
        times.push(one.elapsed());
        id += 1;
        sleep(Duration::from_millis(2)).await;
    }
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!("redis {what}: {} misses, p50 {:?} p99 {:?} slowest {:?}", times.len(), at(0.5), at(0.99), at(1.0));
}
