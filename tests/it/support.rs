//! Real servers for the tests, started by them on free ports and stopped with them, however they end.

use std::{
    io::Read as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Where Debian and others put the newest server that is installed.
const ROOT: &str = "/usr/lib/postgresql";
const PASSWORD: &str = "hush hush: it's a s3cret/@?";

/// How a cluster sorts text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locale {
    /// As people in the United States do, by ICU.
    Icu,
    /// By its bytes.
    C,
}

impl Locale {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Icu => "icu",
            Self::C => "c",
        }
    }

    const fn initdb(self) -> &'static str {
        match self {
            Self::Icu => "--locale-provider=icu --icu-locale=en-US",
            Self::C => "--lc-collate=C",
        }
    }
}

/// A private PostgreSQL: superuser `postgres`, SCRAM over TCP, ICU's collation, no fsync.
///
/// It runs under a shell that waits for the end of its standard input, which is a pipe from this process: even when the
/// test binary is killed, the server stops and its folder goes.
pub(crate) struct Postgres {
    supervisor: Child,
    directory: PathBuf,
    port: u16,
}

impl Postgres {
    /// The server that all tests of this binary share.
    pub(crate) fn start() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::private(&[], ""))
    }

    /// A server of the test's own, with lines for `postgresql.conf` and lines that go before the others in
    /// `pg_hba.conf`. It stops when dropped. `$DIRECTORY` in a setting stands for the server's folder; see
    /// [`Postgres::directory`].
    pub(crate) fn private(settings: &[&str], hba: &str) -> Self {
        Self::private_in(Locale::Icu, settings, hba)
    }

    /// The same, which sorts text as `locale` does.
    pub(crate) fn private_in(locale: Locale, settings: &[&str], hba: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("pilaster-pg-").tempdir_in("/tmp").expect("a folder").keep();
        let port = free_port();
        let place = directory.to_str().expect("a path in UTF-8").to_owned();
        let settings: Vec<String> = settings.iter().map(|line| line.replace("$DIRECTORY", &place)).collect();
        let standard = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{place}'\nfsync = off\n\
             synchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\nshared_buffers = 64MB\n\
             log_min_messages = warning\n"
        );
        std::fs::write(directory.join("settings.conf"), standard + &settings.join("\n") + "\n").expect("settings");
        let rest = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(directory.join("hba.conf"), format!("{hba}\n{rest}")).expect("pg_hba.conf");
        std::fs::write(directory.join("password"), PASSWORD).expect("the password");
        let script = r#"
            trap '' INT HUP TERM
            cd "$1" || exit 1
            "$2/initdb" -D data -U postgres --encoding=UTF8 --locale=C.UTF-8 $3 \
                --auth=trust --auth-host=scram-sha-256 --pwfile=password --no-sync >initdb.log 2>&1 || exit 1
            cat settings.conf >>data/postgresql.conf
            cp hba.conf data/pg_hba.conf
            "$2/postgres" -D data >server.log 2>&1 </dev/null &
            server=$!
            cat >/dev/null
            kill -INT $server
            wait $server
            rm -rf "$1"
        "#;
        let binaries = binaries();
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
        let mut command = if is_root {
            // The server refuses to run as root.
            let owned = Command::new("chown").args(["-R", "postgres", &place]).status().expect("chown runs");
            assert!(owned.success(), "chown of {place}");
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--", "sh", "-c", script, "sh"]);
            command
        } else {
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]);
            command
        };
        let supervisor =
            command.arg(&place).arg(&binaries).arg(locale.initdb()).stdin(Stdio::piped()).spawn().expect("a shell");
        let mut server = Self { supervisor, directory, port };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let mut ready = Command::new(binaries().join("pg_isready"));
            ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
            if ready.status().is_ok_and(|status| status.success()) {
                return;
            }
            let has_ended = self.supervisor.try_wait().is_ok_and(|status| status.is_some());
            assert!(!has_ended && Instant::now() < deadline, "PostgreSQL did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the server wrote.
    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        for name in ["initdb.log", "server.log"] {
            if let Ok(mut file) = std::fs::File::open(self.directory.join(name)) {
                let _ = file.read_to_string(&mut text);
            }
        }
        text
    }

    /// The connection string of the superuser to the database `postgres`.
    pub(crate) fn url(&self) -> String {
        self.url_to("postgres")
    }

    /// The connection string of the superuser to a database.
    pub(crate) fn url_to(&self, database: &str) -> String {
        self.url_as("postgres", PASSWORD, database)
    }

    /// The connection string of a role to a database, over TCP.
    pub(crate) fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        let encode = |text| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        format!("postgresql://{}:{}@127.0.0.1:{}/{database}", encode(user), encode(password), self.port)
    }

    /// Creates a fresh, empty database, whatever had its name before, and returns its connection string.
    pub(crate) fn database(&self, name: &str) -> String {
        self.psql("postgres", &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"));
        self.psql("postgres", &format!("CREATE DATABASE \"{name}\" TEMPLATE template0"));
        self.url_to(name)
    }

    /// Runs SQL by psql in a database and returns what it prints: unaligned, without headers, fields by `|`.
    pub(crate) fn psql(&self, database: &str, sql: &str) -> String {
        let output = Command::new(binaries().join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database])
            .args(["-h", self.directory.to_str().expect("a path in UTF-8"), "-p", &self.port.to_string(), "-c", sql])
            .output()
            .expect("psql runs");
        assert!(output.status.success(), "psql: {}\n{sql}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("psql speaks UTF-8").trim_end().to_owned()
    }

    /// The server's folder, which also has its socket.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The TCP port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// A port on which nobody listens, until somebody else takes it.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn binaries() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let versions = std::fs::read_dir(ROOT).expect("PostgreSQL is installed").filter_map(Result::ok);
            let newest = versions.max_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
            newest.expect("PostgreSQL is installed").path().join("bin")
        })
        .clone()
}
