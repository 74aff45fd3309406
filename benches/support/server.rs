//! What benchmarks over HTTP share: the real server, asked over a plain socket so that no client's own work is measured.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::free_port;

pub(crate) fn timed(run: impl FnOnce()) -> Duration {
    let began = Instant::now();
    run();
    began.elapsed()
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// `pilaster serve` over a store.
pub(crate) struct Server {
    child: Child,
    address: String,
}

impl Server {
    pub(crate) fn start(store: &Path, arguments: &[&str]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(env!("CARGO_BIN_EXE_pilaster"))
            .args(["serve", "--snapshot", "never", "--store", store.to_str().unwrap(), "--listen", &address])
            .args(arguments)
            .env("PILASTER__ENGINE__TIMEOUT", "5m")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, address };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !server.is_ready() {
            assert!(Instant::now() < deadline, "the server is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn is_ready(&self) -> bool {
        self.get("/readyz").is_some()
    }

    /// A reply's head and body, if there is one and it is no error.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let mut reply = String::new();
        stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut reply)).ok()?;
        reply.starts_with("HTTP/1.1 200").then_some(reply)
    }

    /// Reads the whole reply, which is computed anew; `header` is one more line, or nothing.
    pub(crate) fn ask(&self, sql: &str, header: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "POST /v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncache-control: no-cache\r\nconnection: close\r\n\
             {header}content-length: {}\r\n\r\n{sql}",
            sql.len()
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200"), "{}", &reply[..reply.len().min(500)]);
        reply
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
