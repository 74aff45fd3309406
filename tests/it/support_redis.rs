//! A real `redis-server` per test, on a free port, stopped when it is dropped.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use redis::Connection;
use tempfile::TempDir;

use crate::support_certificates::certificate;

pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    folder: TempDir,
    is_tls: bool,
}

impl RedisServer {
    /// Starts a server that keeps nothing on disk.
    pub(crate) fn start() -> Self {
        Self::start_at(free_port(), false)
    }

    /// Starts a server that speaks TLS only, with a certificate of an authority made for it.
    pub(crate) fn start_tls() -> Self {
        Self::start_at(free_port(), true)
    }

    fn start_at(port: u16, is_tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if is_tls {
            certificate(folder.path(), "server");
        }
        let child = spawn(port, folder.path(), is_tls);
        let server = Self { child, port, folder, is_tls };
        server.wait_until_it_answers();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}/", if self.is_tls { "rediss" } else { "redis" }, self.port)
    }

    /// PEM of the authority behind the server's certificate.
    pub(crate) fn ca_certificate(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("server-ca.crt")).unwrap()
    }

    /// A connection of the test's own, to look and to meddle.
    pub(crate) fn connect(&self) -> Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    /// Kills the server; its port stays free for [`Self::restart`].
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again, empty, where it was.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, self.folder.path(), self.is_tls);
        self.wait_until_it_answers();
    }

    /// Stops the process where it stands: connections stay, nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn wait_until_it_answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not start");
            thread::sleep(Duration::from_millis(10));
        }
        if !self.is_tls {
            let mut connection = self.connect();
            redis::cmd("PING").exec(&mut connection).unwrap();
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may be dead already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, folder: &Path, is_tls: bool) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]).arg("--dir").arg(folder);
    let port = port.to_string();
    if is_tls {
        command.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
        command.arg("--tls-cert-file").arg(folder.join("server.crt"));
        command.arg("--tls-key-file").arg(folder.join("server.key"));
        command.arg("--tls-ca-cert-file").arg(folder.join("server-ca.crt"));
    } else {
        command.args(["--port", &port]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server is installed")
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
