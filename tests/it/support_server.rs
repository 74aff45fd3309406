//! `pilaster serve` as a child process on a free port, asked over HTTP, and the demo that many tests ask it about.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use reqwest::{
    RequestBuilder,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Locale, Postgres};

/// Longer than a start takes on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long a server that is no longer wanted may take to stop before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// On every request, so that a hang is a failure and not a hung test.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);
/// The scale of the demo's data.
const DEMO_SCALE: &str = "0.01";

/// A server that is being put together. It runs in an empty folder that is also its home, without our environment.
pub(crate) struct Settings {
    command: Command,
    queries: Option<PathBuf>,
    home: TempDir,
    demo: Option<Arc<Demo>>,
}

impl Settings {
    /// A server that only reads a store.
    pub(crate) fn replica(store: &Path) -> Self {
        Self::new(&["serve", "--snapshot", "never"], store)
    }

    /// A server that takes snapshots of a source.
    pub(crate) fn source(url: &str, store: &Path) -> Self {
        Self::new(&["serve", "--postgres", url], store)
    }

    fn new(arguments: &[&str], store: &Path) -> Self {
        let home = tempfile::Builder::new().prefix("pilaster-home-").tempdir().unwrap();
        let mut command = pilaster(arguments);
        command.args(["--listen", "127.0.0.1:0", "--store"]).arg(store);
        command.env("HOME", home.path()).current_dir(home.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self { command, queries: None, home, demo: None }
    }

    /// The folder of named queries.
    pub(crate) fn queries(mut self, folder: &Path) -> Self {
        self.queries = Some(folder.to_owned());
        self
    }

    /// One more variable in its environment, for example `PILASTER__ENGINE__TIMEOUT`.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// What `pilaster.toml` says besides what it says already; it is read from the working folder.
    pub(crate) fn config(self, toml: &str) -> Self {
        let path = self.home.path().join("pilaster.toml");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, format!("{toml}\n{before}")).unwrap();
        self
    }

    /// The Redis that it shares with other nodes.
    pub(crate) fn redis(self, url: &str) -> Self {
        self.env("PILASTER__CACHE__REDIS_URL", url).env("PILASTER__CACHE__HMAC_KEY", &"5a".repeat(32))
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn start(mut self) -> Server {
        if let Some(folder) = &self.queries {
            self.command.arg("--queries").arg(folder);
        }
        let mut child = self.command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, receiver) = std::sync::mpsc::channel();
        let kept = Arc::clone(&log);
        // To the end, so that a full pipe never stops the server.
        std::thread::spawn(move || {
            while let Some(Ok(line)) = lines.next() {
                if let Some(address) = address_in(&line) {
                    sender.send(address).unwrap_or(());
                }
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let address = receiver.recv_timeout(START_DEADLINE);
        let client = reqwest::Client::builder().no_proxy().timeout(REQUEST_DEADLINE).build().unwrap();
        let mut server =
            Server { child, address: ([0, 0, 0, 0], 0).into(), client, log, _home: self.home, _demo: self.demo };
        server.address = address.unwrap_or_else(|_| panic!("the server does not listen: {}", server.log()));
        server
    }
}

/// The address in the line that says that it listens.
fn address_in(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["message"] != "listening" {
        return None;
    }
    let url = line["url"].as_str()?;
    url.strip_prefix("http://").or(url.strip_prefix("https://"))?.parse().ok()
}

/// A server that runs. It stops when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    client: reqwest::Client,
    log: Arc<Mutex<Vec<String>>>,
    _home: TempDir,
    _demo: Option<Arc<Demo>>,
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse().unwrap(), self.url(path))
    }

    /// SQL as text/plain.
    pub(crate) fn sql(&self, sql: &str) -> RequestBuilder {
        self.post("/v1/sql").header(CONTENT_TYPE, "text/plain").body(sql.to_owned())
    }

    /// What is sent byte by byte, and what comes back until the server closes.
    pub(crate) fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// The sum of a metric's series that have all of these labels.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        metric_in(&Reply::of(self.get("/metrics")).await.text(), name, labels)
    }

    /// Waits until it serves a version.
    #[track_caller]
    pub(crate) fn serves(&self, version: u64) -> impl Future<Output = ()> {
        let request = self.get("/readyz");
        eventually(format!("version {version} is served"), Duration::from_secs(30), move || {
            let request = request.try_clone().unwrap();
            async move { Reply::of(request).await.json()["snapshot"] == version }
        })
    }

    /// What runs now.
    pub(crate) async fn executions(&self) -> Vec<Value> {
        Reply::of(self.get("/v1/executions")).await.json()["executions"].as_array().unwrap().clone()
    }

    /// What it wrote to its log.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -s {name}");
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The most memory that it had resident, by the kernel's own high-water mark.
    pub(crate) fn memory_bytes_max(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    /// The time that its threads have computed.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name of the process, in parentheses, may hold spaces; times are in hundredths, fields 14 and 15.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(10 * ticks)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        self.signal("TERM");
        if self.wait(STOP_DEADLINE).is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// A whole reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// Sends a request; its reply must be whole.
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        Self::try_of(request).await.unwrap()
    }

    /// Sends a request, which may find nobody or be cut.
    pub(crate) async fn try_of(request: RequestBuilder) -> reqwest::Result<Self> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.bytes().await? })
    }

    /// A header, empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Panics unless it is the answer.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }

    /// The first row of a JSON reply.
    #[track_caller]
    pub(crate) fn row(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["data"][0].clone()
    }

    /// Panics unless it is a whole problem of this status and code; returns it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(self.header(CONTENT_TYPE.as_str()), "application/problem+json", "{problem}");
        assert_eq!(self.header(CACHE_CONTROL.as_str()), "no-store", "{problem}");
        assert_eq!(problem["status"], status, "RFC 9457: the member is the reply's own status: {problem}");
        assert_eq!(problem["type"], format!("urn:pilaster:{code}"), "{problem}");
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{problem}");
        for key in ["title", "message", "request_id"] {
            assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {problem}");
        }
        problem
    }
}

/// The demo at a small scale, in Postgres and as a snapshot. Gone when the last who uses it is.
pub(crate) struct Demo {
    url: String,
    store: TempDir,
    /// That of its own, if it has one.
    _postgres: Option<Postgres>,
}

impl Demo {
    /// The one that all tests of this binary share.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Demo>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(demo) = shared.upgrade() {
            return demo;
        }
        let demo = Arc::new(Self::of(Postgres::start().database("served_demo"), None));
        *shared = Arc::downgrade(&demo);
        demo
    }

    /// One of a test's own, on a cluster that sorts text as `locale` does.
    pub(crate) fn in_locale(locale: Locale) -> Arc<Self> {
        let postgres = Postgres::private_in(locale, &[], "");
        Arc::new(Self::of(postgres.database("served_demo"), Some(postgres)))
    }

    fn of(url: String, postgres: Option<Postgres>) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo");
        let loaded = Command::new("psql")
            .args([&url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", &format!("scale={DEMO_SCALE}")])
            .arg("-f")
            .arg(root.join("schema.sql"))
            .arg("-f")
            .arg(root.join("generate.sql"))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(loaded.success(), "the demo's data cannot be loaded");
        let store = tempfile::Builder::new().prefix("pilaster-store-").tempdir().unwrap();
        run(pilaster(&["snapshot", "--postgres", &url, "--store"])
            .arg(store.path())
            .arg("--config")
            .arg(root.join("tables.toml")));
        Self { url, store, _postgres: postgres }
    }

    /// The connection string of its source.
    pub(crate) fn source(&self) -> &str {
        &self.url
    }

    /// A server of its one snapshot, with the repository's named queries, that knows whose rows the tables hold.
    pub(crate) fn server(self: &Arc<Self>) -> Settings {
        let tables = include_str!("../../data/demo/tables.toml");
        let settings = Settings::replica(self.store.path()).queries(&named_queries()).config(tables);
        Settings { demo: Some(Arc::clone(self)), ..settings }
    }
}

/// The repository's named queries.
pub(crate) fn named_queries() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("queries")
}

/// Takes a snapshot by the command line.
pub(crate) fn take_snapshot(source: &str, store: &Path) {
    run(pilaster(&["snapshot", "--postgres", source, "--store"]).arg(store));
}

/// `pilaster` with these arguments and without our environment.
pub(crate) fn pilaster(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilaster"));
    command.args(arguments).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir("/");
    command
}

/// Runs a command that must succeed; returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until something is so, and panics if it does not become so.
pub(crate) async fn eventually<F, Fut>(what: impl AsRef<str>, within: Duration, mut is_so: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let deadline = Instant::now() + within;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {within:?}: {}", what.as_ref());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The sum of a metric's series that have all of these labels, in the Prometheus text format.
pub(crate) fn metric_in(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let series = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        let has = |(key, value): &(&str, &str)| rest.contains(&format!("{key}=\"{value}\""));
        (found == name && labels.iter().all(has)).then(|| value.parse::<f64>().unwrap())
    });
    series.sum()
}
