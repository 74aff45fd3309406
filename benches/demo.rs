//! The demo's dashboards on Postgres and on Pilaster, side by side in one run, printed as Markdown.
//!
//! `cargo bench --bench demo` starts a private Postgres and Redis, loads the demo (`DEMO_SCALE`, 1 by default), takes a snapshot
//! and measures: each named query on Postgres, on the engine, as a hit in memory and as a hit in Redis; requests per second of a
//! hit against a bare axum handler that sends the same bytes; rows per second of a snapshot against `COPY` to nowhere.
//! Machines differ and are noisy: read the ratios.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on has failed, and prints")]

#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod support;
#[path = "../tests/it/support_certificates.rs"]
mod support_certificates;
#[path = "../tests/it/support_redis.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod support_redis;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use support::Postgres;
use support_redis::RedisServer;

const RUNS: usize = 15;
/// So many tenants ask each query once, and then again of a server that has only Redis: each is a key of its own.
const TENANTS: usize = 20;
const LOAD_CONNECTIONS: usize = 8;
const LOAD_FOR: Duration = Duration::from_secs(4);
const LOAD_ROUNDS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(index) = arguments.iter().position(|argument| argument == "--bare") {
        return bare(&arguments[index + 1], &arguments[index + 2]);
    }
    #[expect(clippy::disallowed_methods, reason = "a benchmark is set by its environment")]
    let scale = std::env::var("DEMO_SCALE").unwrap_or_else(|_| "1".into());
    let postgres =
        Postgres::private(&["shared_buffers = 1GB", "max_wal_size = 8GB", "work_mem = 64MB", "jit = off"], "");
    let url = postgres.database("demo");
    load(&url, &scale);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let store = store.to_str().unwrap();

    println!(
        "Demo at scale {scale}, {} cores, PostgreSQL with shared_buffers 1 GB and everything in memory.\n",
        cores()
    );
    snapshots(&postgres, &url, store);
    let redis = RedisServer::start();
    let first = Server::start(&url, store, &redis.url());
    let second = Server::start(&url, store, &redis.url());
    queries(&url, &first, &second);
    load_of_hits(&first, folder.path());
}

fn load(url: &str, scale: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo");
    let loaded = Command::new("psql")
        .args([url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", &format!("scale={scale}")])
        .args(["-f", root.join("schema.sql").to_str().unwrap(), "-f", root.join("generate.sql").to_str().unwrap()])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(loaded.success(), "the demo's data cannot be loaded");
}

/// Rows per second of a whole snapshot, and of `COPY … BINARY` to nowhere over as many connections.
fn snapshots(postgres: &Postgres, url: &str, store: &str) {
    let tables = postgres.psql("demo", "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relpages DESC");
    let count =
        |table: &str| -> u64 { postgres.psql("demo", &format!("SELECT count(*) FROM {table}")).parse().unwrap() };
    let rows: u64 = tables.lines().map(count).sum();
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..3 {
        let started = Instant::now();
        let copies: Vec<Child> = tables
            .lines()
            .map(|table| {
                let copy = format!("COPY {table} TO STDOUT (FORMAT binary)");
                Command::new("psql").args([url, "-X", "-q", "-c", &copy]).stdout(Stdio::null()).spawn().unwrap()
            })
            .collect();
        for mut copy in copies {
            assert!(copy.wait().unwrap().success());
        }
        theirs.push(started.elapsed());
        let started = Instant::now();
        let taken = pilaster().args(["snapshot", "--postgres", url, "--store", store]).output().unwrap();
        assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
        ours.push(started.elapsed());
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!("### Snapshot\n");
    println!("| | rows/s | time | ratio |\n|---|---:|---:|---:|");
    println!(
        "| `COPY` binary to /dev/null, a connection for each table | {:.0} | {} | 1 |",
        per_second(rows, theirs),
        show(theirs)
    );
    println!(
        "| `pilaster snapshot`: decoded, Parquet, fsynced, read back, published | {:.0} | {} | {:.2} |\n",
        per_second(rows, ours),
        show(ours),
        theirs.as_secs_f64() / ours.as_secs_f64()
    );
}

fn queries(url: &str, first: &Server, second: &Server) {
    println!("### Named queries, all tenants, default parameters: median (95th percentile)\n");
    println!("| query | Postgres | engine | memory hit | Redis hit | engine is | memory hit is |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let mut speedups = Vec::new();
    for query in named_queries() {
        let sql = pilaster().args(["query", &query, "--print-sql", "postgres"]).output().unwrap();
        let sql = String::from_utf8(sql.stdout).unwrap();
        let mut postgres = on_postgres(url, &sql);
        let path = format!("/v1/queries/{query}");
        let mut client = first.connect();
        let fresh = "Cache-Control: no-cache\r\n";
        client.get(&path, fresh);
        let mut engine: Vec<Duration> = (0..RUNS).map(|_| client.timed(&path, fresh, "fwd=miss")).collect();
        let mut memory: Vec<Duration> = (0..RUNS * 10).map(|_| client.timed(&path, "", "memory")).collect();
        for tenant in 1..=TENANTS {
            client.get(&path, &format!("Pilaster-Tenant: {tenant}\r\n"));
        }
        std::thread::sleep(Duration::from_millis(50));
        let mut client = second.connect();
        let mut redis: Vec<Duration> = (1..=TENANTS)
            .map(|tenant| client.timed(&path, &format!("Pilaster-Tenant: {tenant}\r\n"), "redis"))
            .collect();
        let speedup = median(&mut postgres).as_secs_f64() / median(&mut engine).as_secs_f64();
        let hit = median(&mut postgres).as_secs_f64() / median(&mut memory).as_secs_f64();
        speedups.push(speedup);
        println!(
            "| {query} | {} | {} | {} | {} | {speedup:.1}× | {hit:.0}× |",
            both(&mut postgres),
            both(&mut engine),
            both(&mut memory),
            both(&mut redis)
        );
    }
    let geometric = (speedups.iter().map(|speedup| speedup.ln()).sum::<f64>() / speedups.len() as f64).exp();
    println!("\nThe engine, uncached, is {geometric:.1}× as fast as Postgres in the geometric mean.\n");
}

fn on_postgres(url: &str, sql: &str) -> Vec<Duration> {
    // psql's own timing leaves its start out: from the query's message to its last row.
    let script = format!("\\o /dev/null\n{sql}\n\\timing on\n{}", format!("{sql}\n").repeat(RUNS));
    let mut psql = Command::new("psql")
        .args([url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    psql.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = psql.wait_with_output().unwrap();
    let times: Vec<Duration> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("Time: ")?.split(' ').next()?.parse::<f64>().ok())
        .map(|milliseconds| Duration::from_secs_f64(milliseconds / 1e3))
        .collect();
    assert_eq!(times.len(), RUNS, "psql timed every run");
    times
}

fn load_of_hits(server: &Server, folder: &Path) {
    println!("### Requests per second of a hit in memory, {LOAD_CONNECTIONS} connections\n");
    println!("| body | bare axum handler | Pilaster | ratio |\n|---|---:|---:|---:|");
    for (path, name) in [("/v1/queries/support/sla_breaches", "small"), ("/v1/queries/support/backlog", "large")] {
        let body = server.connect().get(path, "").1;
        let file = folder.join(name);
        std::fs::write(&file, &body).unwrap();
        let port = support::free_port();
        let mut bare = Command::new(std::env::current_exe().unwrap())
            .args(["--bare", &port.to_string(), file.to_str().unwrap()])
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_for(address);
        let mut ratios = Vec::new();
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..LOAD_ROUNDS {
            theirs.push(requests_per_second(address, "/"));
            ours.push(requests_per_second(server.address, path));
            ratios.push(ours[ours.len() - 1] / theirs[theirs.len() - 1]);
        }
        bare.kill().unwrap();
        bare.wait().unwrap();
        println!(
            "| {name}, {} bytes | {:.0} | {:.0} | {:.2} |",
            body.len(),
            middle(&mut theirs),
            middle(&mut ours),
            middle(&mut ratios)
        );
    }
}

fn requests_per_second(address: SocketAddr, path: &str) -> f64 {
    let started = Instant::now();
    let workers: Vec<_> = (0..LOAD_CONNECTIONS)
        .map(|_| {
            let path = path.to_owned();
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut count = 0_u64;
                while started.elapsed() < LOAD_FOR {
                    client.get(&path, "");
                    count += 1;
                }
                count
            })
        })
        .collect();
    let count: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    count as f64 / started.elapsed().as_secs_f64()
}

/// The peer: axum, sending bytes that it has.
fn bare(port: &str, file: &str) {
    let body = bytes::Bytes::from(std::fs::read(file).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let handler = move || {
            let body = body.clone();
            async move { ([("content-type", "application/json")], body) }
        };
        let router = axum::Router::new().route("/", axum::routing::get(handler));
        let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
        axum::serve(listener, router).await.unwrap();
    });
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(url: &str, store: &str, redis: &str) -> Self {
        let port = support::free_port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let child = pilaster()
            .args([
                "serve",
                "--postgres",
                url,
                "--store",
                store,
                "--listen",
                &address.to_string(),
                "--snapshot",
                "never",
            ])
            .env("PILASTER__CACHE__REDIS_URL", redis)
            .env("PILASTER__CACHE__HMAC_KEY", "00".repeat(32))
            .env("PILASTER__ENGINE__TIMEOUT", "5m")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, address };
        wait_for(address);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !server.connect().get("/readyz", "").0.starts_with("HTTP/1.1 200") {
            assert!(Instant::now() < deadline, "the server is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn connect(&self) -> Client {
        Client::connect(self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection that is kept alive. Small, so that what is measured is the server.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::with_capacity(256 << 10, stream))
    }

    fn get(&mut self, path: &str, headers: &str) -> (String, Vec<u8>) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut head = String::new();
        let mut length = 0;
        loop {
            let start = head.len();
            self.0.read_line(&mut head).unwrap();
            let line = &head[start..];
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head, body)
    }

    fn timed(&mut self, path: &str, headers: &str, cache: &str) -> Duration {
        let started = Instant::now();
        let (head, _) = self.get(path, headers);
        let elapsed = started.elapsed();
        assert!(head.starts_with("HTTP/1.1 200") && head.contains(cache), "{path} is not a {cache}: {head}");
        elapsed
    }
}

fn pilaster() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilaster"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn named_queries() -> Vec<String> {
    let mut names = Vec::new();
    for dashboard in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("queries")).unwrap() {
        let dashboard = dashboard.unwrap();
        for file in std::fs::read_dir(dashboard.path()).unwrap() {
            let file = file.unwrap().file_name().into_string().unwrap();
            if let Some(name) = file.strip_suffix(".sql").filter(|name| !name.ends_with(".postgres")) {
                names.push(format!("{}/{name}", dashboard.file_name().into_string().unwrap()));
            }
        }
    }
    names.sort();
    names
}

fn wait_for(address: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nobody listens on {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn both(times: &mut [Duration]) -> String {
    times.sort_unstable();
    format!("{} ({})", show(times[times.len() / 2]), show(times[times.len() * 95 / 100]))
}

fn show(time: Duration) -> String {
    match time.as_micros() {
        0..1_000 => format!("{} µs", time.as_micros()),
        1_000..1_000_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

fn per_second(rows: u64, time: Duration) -> f64 {
    rows as f64 / time.as_secs_f64()
}
