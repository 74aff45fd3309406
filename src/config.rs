//! Configuration: `pilaster.toml`, the environment, and what the command line adds.
//!
//! Owns: reading of files and environment variables, and validated settings with their defaults.
//! Must not know: what anybody does with a setting.
//!
//! Each key of the file is also `PILASTER__SECTION__KEY` in the environment, which wins over the file; secrets are also
//! `PILASTER__SECTION__KEY_FILE`, the path of a file that holds the value. `DATABASE_URL` and libpq's `PG*` variables stand in
//! for `postgres.url`. No key is required.

mod access;
mod rollout;
mod tables;
mod units;
mod watched;

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::error::{Code, Error, Result};

pub use access::{Access, Issuer};
pub use rollout::{Rollout, RouteName};
pub use tables::{Column, OutOfRange, Table, TableAccess};
pub use units::{ByteSize, parse_bytes, parse_duration};
pub use watched::Watched;

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "pilaster.toml";
const PREFIX: &str = "PILASTER__";
/// Keys that may come from a file named by `…_FILE`.
const SECRETS: &[&str] = &[
    "postgres.url",
    "rollout.postgres_url",
    "rollout.flag_secret",
    "rollout.alert_webhook",
    "cache.redis_url",
    "cache.hmac_key",
    "snapshot.hash_key",
    "access.embed_secret",
    "client.credential",
];

/// All settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// HTTP.
    pub server: Server,
    /// The source.
    pub postgres: Postgres,
    /// Where snapshots live.
    pub store: Store,
    /// How and when they are taken.
    pub snapshot: Snapshot,
    /// How queries run.
    pub engine: Engine,
    /// How replies are kept.
    pub cache: Cache,
    /// Named queries.
    pub queries: Queries,
    /// Who may see what.
    pub access: Access,
    /// Which queries run on Postgres.
    pub rollout: Rollout,
    /// Who asked what.
    pub audit: Audit,
    /// How this program asks a server.
    pub client: Client,
    /// Logs.
    pub telemetry: Telemetry,
    /// By `schema.table`.
    pub tables: BTreeMap<String, Table>,
}

/// `[server]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Where probes and metrics are served instead, when set.
    pub ops_listen: Option<SocketAddr>,
    /// The certificate of the server and those that it hangs on, in PEM; with it, `listen` is HTTPS.
    pub tls_certificate_file: Option<PathBuf>,
    /// Its private key, in PEM.
    pub tls_key_file: Option<PathBuf>,
    /// Origins that browsers may call from; `*` for any.
    #[serde(deserialize_with = "units::list")]
    pub cors_origins: Vec<String>,
    /// Names by which browsers may reach a listener that asks nobody who they are, besides those of this machine: without this
    /// check, a web page could make its own name point here and read everything.
    #[serde(deserialize_with = "units::list")]
    pub allowed_hosts: Vec<String>,
    /// How long requests in flight may take to finish after a stop was asked for.
    #[serde(deserialize_with = "units::duration")]
    pub shutdown_timeout: Duration,
    /// How many bytes of a request's body are read.
    pub body_bytes_max: ByteSize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            ops_listen: None,
            tls_certificate_file: None,
            tls_key_file: None,
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            shutdown_timeout: Duration::from_secs(30),
            body_bytes_max: ByteSize::from_mib(2),
        }
    }
}

/// `[postgres]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Postgres {
    /// A connection URL: `postgresql://user:password@host:5432/database?sslmode=verify-full`.
    pub url: Option<SecretString>,
}

/// `[store]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// A folder, or `s3://bucket/prefix`, `gs://…`, `az://…`.
    pub url: String,
    /// The object store's own settings, for example `aws_region`; credentials are better in its own environment variables.
    pub options: BTreeMap<String, String>,
    /// So many of the newest snapshots keep their files.
    pub versions_kept: usize,
    /// Younger files are never pruned: longer than any run and any query.
    #[serde(deserialize_with = "units::duration")]
    pub prune_grace: Duration,
    /// How far a snapshot is verified before it is served.
    pub verify: Verify,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: "data/store".into(),
            options: BTreeMap::new(),
            versions_kept: 3,
            prune_grace: Duration::from_secs(6 * 3600),
            verify: Verify::Auto,
        }
    }
}

/// How far a snapshot is verified before it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// `full` on a local folder, `footers` elsewhere, where reading everything costs money.
    Auto,
    /// Sizes and footers.
    Footers,
    /// Every byte.
    Full,
}

/// `[snapshot]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Snapshot {
    /// The schemas whose tables are copied.
    #[serde(deserialize_with = "units::list")]
    pub schemas: Vec<String>,
    /// When `serve` takes one by itself: a cron pattern of five fields, for example `0 3 * * *`.
    pub schedule: Option<String>,
    /// The time zone of the schedule, by its IANA name.
    pub timezone: String,
    /// Connections that copy at the same time.
    pub connections: usize,
    /// Tables larger than this are split into parts of about this size.
    pub part_bytes: ByteSize,
    /// The most rows of a Parquet row group.
    pub row_group_rows: usize,
    /// How long to wait for the locks on the tables.
    #[serde(deserialize_with = "units::duration")]
    pub lock_timeout: Duration,
    /// How long a run may take before it is given up.
    #[serde(deserialize_with = "units::duration")]
    pub timeout: Duration,
    /// How long Postgres may be silent in the middle of a copy.
    #[serde(deserialize_with = "units::duration")]
    pub idle_timeout: Duration,
    /// Tables that are left out, as `schema.table`.
    #[serde(deserialize_with = "units::list")]
    pub exclude_tables: Vec<String>,
    /// The key of hashed columns: 32 bytes in hexadecimal.
    pub hash_key: Option<SecretString>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            schemas: vec!["public".into()],
            schedule: None,
            timezone: "UTC".into(),
            connections: 4,
            part_bytes: ByteSize::from_mib(256),
            row_group_rows: 122_880,
            lock_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(4 * 3600),
            idle_timeout: Duration::from_secs(120),
            exclude_tables: Vec::new(),
            hash_key: None,
        }
    }
}

/// `[engine]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Threads that compute; 0 for one per core.
    pub threads: usize,
    /// Memory of all running queries together; none for half of what the machine or container has.
    pub memory: Option<ByteSize>,
    /// Disk that queries may spill to; 0 for none.
    pub spill: ByteSize,
    /// Where they spill; none for the system's folder of temporary files.
    pub spill_folder: Option<PathBuf>,
    /// Parquet footers kept in memory.
    pub footer_cache: ByteSize,
    /// Queries that run at the same time; 0 for twice the threads.
    pub queries_max: usize,
    /// Queries that wait for a place.
    pub queue_max: usize,
    /// How long a query waits for a place.
    #[serde(deserialize_with = "units::duration")]
    pub queue_timeout: Duration,
    /// How long a query may take, where it does not say.
    #[serde(deserialize_with = "units::duration")]
    pub timeout: Duration,
    /// The longest statement.
    pub statement_bytes_max: ByteSize,
    /// The most tokens of a statement.
    pub statement_tokens_max: usize,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            threads: 0,
            memory: None,
            spill: ByteSize::from_mib(10 << 10),
            spill_folder: None,
            footer_cache: ByteSize::from_mib(128),
            queries_max: 0,
            queue_max: 256,
            queue_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            statement_bytes_max: ByteSize::from_kib(256),
            statement_tokens_max: 20_000,
        }
    }
}

/// `[cache]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Memory of kept replies and their encoded bodies; 0 for none.
    pub memory: ByteSize,
    /// Larger replies are streamed and not kept.
    pub entry_bytes_max: ByteSize,
    /// `redis://` or `rediss://`; none for memory alone.
    pub redis_url: Option<SecretString>,
    /// Signs what is kept in Redis: 32 bytes in hexadecimal, the same on every node.
    pub hmac_key: Option<SecretString>,
    /// In front of every key in Redis.
    pub redis_prefix: String,
    /// How long a call to Redis may take before it counts as a miss.
    #[serde(deserialize_with = "units::duration")]
    pub redis_timeout: Duration,
    /// How long a reply stays in Redis.
    #[serde(deserialize_with = "units::duration")]
    pub redis_ttl: Duration,
    /// How long a dead node can keep others from computing what it had begun.
    #[serde(deserialize_with = "units::duration")]
    pub lease: Duration,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            memory: ByteSize::from_mib(256),
            entry_bytes_max: ByteSize::from_mib(8),
            redis_url: None,
            hmac_key: None,
            redis_prefix: "pilaster".into(),
            redis_timeout: Duration::from_millis(50),
            redis_ttl: Duration::from_secs(26 * 3600),
            lease: Duration::from_secs(2),
        }
    }
}

/// `[queries]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Queries {
    /// Where `<dashboard>/<name>.sql` are.
    pub folder: PathBuf,
}

impl Default for Queries {
    fn default() -> Self {
        Self { folder: "queries".into() }
    }
}

/// `[audit]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// A line for each query and each act of an administrator is appended to it.
    pub file: Option<PathBuf>,
    /// SQL and values of parameters, which the lines do not have; none to keep them nowhere.
    pub replay_file: Option<PathBuf>,
}

/// `[client]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Client {
    /// The API key or token that `pilaster query --url` shows.
    pub credential: Option<SecretString>,
}

/// `[telemetry]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// A filter as `tracing` reads it: `info`, `pilaster=debug,warn`; none for `info` in a server and `warn` elsewhere.
    pub log: Option<String>,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log: None, format: LogFormat::Auto }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Config {
    /// Reads `file` (or `pilaster.toml` when there is one), then the environment.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "config.rs is the only reader of the environment")]
        let environment: HashMap<String, String> = std::env::vars().collect();
        let default = Path::new(DEFAULT_FILE);
        match file {
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    Error::new(Code::InvalidConfig, format!("cannot read {}: {error}", file.display()))
                        .with_cause(error)
                })?;
                Self::from_parts(Some((&file.display().to_string(), &text)), &environment)
            }
            None => match std::fs::read_to_string(default) {
                Ok(text) => Self::from_parts(Some((DEFAULT_FILE, &text)), &environment),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::from_parts(None, &environment),
                Err(error) => Err(Error::new(Code::InvalidConfig, format!("cannot read {DEFAULT_FILE}: {error}"))),
            },
        }
    }

    fn from_parts(file: Option<(&str, &str)>, environment: &HashMap<String, String>) -> Result<Self> {
        let mut overrides = HashMap::new();
        for (name, value) in environment {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            let key = key.to_lowercase().replace("__", ".");
            match key.strip_suffix("_file").filter(|secret| SECRETS.contains(secret)) {
                Some(secret) => {
                    let text = std::fs::read_to_string(value).map_err(|error| {
                        Error::new(Code::InvalidConfig, format!("{name}: cannot read {value}: {error}"))
                            .with_cause(error)
                    })?;
                    overrides.insert(secret.to_owned(), text.trim().to_owned());
                }
                None => drop(overrides.insert(key, value.clone())),
            }
        }

        let mut builder = config::Config::builder();
        if let Some((_, text)) = file {
            builder = builder.add_source(config::File::from_str(text, config::FileFormat::Toml));
        }
        let wrong = |error: config::ConfigError| {
            let place = file.map_or("the environment", |(name, _)| name);
            Error::new(Code::InvalidConfig, format!("{place}: {}", error.to_string().replace('\n', " ")))
                .with_hint("docs/operating.md lists every key; in the environment a key is PILASTER__SECTION__KEY")
        };
        for (key, value) in overrides {
            builder = builder.set_override(&key, value).map_err(wrong)?;
        }
        let mut config: Self = builder.build().and_then(config::Config::try_deserialize).map_err(wrong)?;
        config.fill_from(environment);
        config.validate()?;
        Ok(config)
    }

    /// What other programs' variables say, where ours say nothing.
    fn fill_from(&mut self, environment: &HashMap<String, String>) {
        if self.postgres.url.is_none() {
            self.postgres.url = environment
                .get("DATABASE_URL")
                .cloned()
                .or_else(|| url_from_libpq(environment))
                .map(SecretString::from);
        }
        // Credentials of object stores keep their own names: AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, AZURE_….
        for (name, value) in environment {
            let key = name.to_lowercase();
            if ["aws_", "google_", "azure_"].iter().any(|prefix| key.starts_with(prefix)) {
                self.store.options.entry(key).or_insert_with(|| value.clone());
            }
        }
    }

    /// Holds what settings must agree on, whoever gave them.
    pub fn validate(&self) -> Result<()> {
        let wrong = |key: &str, what: &str, hint: &str| {
            Err(Error::new(Code::InvalidConfig, format!("{key} {what}")).with_hint(hint))
        };
        if self.snapshot.connections == 0 {
            return wrong("snapshot.connections", "is 0", "give at least 1; 4 is the default");
        }
        if self.snapshot.schemas.is_empty() {
            return wrong("snapshot.schemas", "is empty", "name at least one schema; [\"public\"] is the default");
        }
        if self.snapshot.row_group_rows == 0 || self.snapshot.part_bytes.bytes() < 1 << 20 {
            return wrong("snapshot.part_bytes", "is less than 1 MiB", "256MiB is the default");
        }
        if self.store.prune_grace <= self.snapshot.timeout {
            return wrong(
                "store.prune_grace",
                "is not longer than snapshot.timeout",
                "a run's own files could be pruned under it; make the grace longer",
            );
        }
        if self.cache.redis_url.is_some() && self.cache.hmac_key.is_none() {
            return wrong(
                "cache.hmac_key",
                "is missing, and cache.redis_url is set",
                "what comes back from Redis is believed only if signed; make a key with: openssl rand -hex 32",
            );
        }
        for (key, secret) in [("cache.hmac_key", &self.cache.hmac_key), ("snapshot.hash_key", &self.snapshot.hash_key)]
        {
            if secret.as_ref().is_some_and(|secret| key_bytes(secret).is_none()) {
                return wrong(key, "is not 32 bytes in hexadecimal", "make one with: openssl rand -hex 32");
            }
        }
        // Probes and metrics, which `ops_listen` has alone, tell nothing of rows.
        if !self.server.listen.ip().is_loopback() && !self.access.asks() {
            return wrong(
                "server.listen",
                "is not a loopback address, and nobody is asked who they are",
                "make a key with: pilaster key new, and set access.keys_file; or listen on 127.0.0.1",
            );
        }
        if self.server.tls_certificate_file.is_some() != self.server.tls_key_file.is_some() {
            return wrong("server.tls_certificate_file", "and server.tls_key_file go together", "set both, or neither");
        }
        if self.audit.replay_file.is_some() && self.audit.file.is_none() {
            return wrong(
                "audit.replay_file",
                "is set without audit.file",
                "set both: a replay says nothing of who asked",
            );
        }
        self.access.validate()?;
        self.rollout.validate()?;
        if let Some((name, _)) = self.tables.iter().find(|(_, table)| table.tenant.is_some() && table.access.is_some())
        {
            return wrong(
                &format!("tables.{name:?}"),
                "has both tenant and access",
                "rows are a tenant's each, or shared, or denied: set one of the two",
            );
        }
        if let Some((name, _)) = self.tables.iter().find(|(name, _)| !name.contains('.')) {
            return wrong(
                &format!("tables.{name:?}"),
                "does not name a schema",
                "write [tables.\"public.invoices\"], in quotes",
            );
        }
        Ok(())
    }
}

/// The 32 bytes that a key in hexadecimal stands for.
#[must_use]
pub fn key_bytes(secret: &SecretString) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(secret.expose_secret().trim()).ok().map(|key| *key.as_bytes())
}

/// A URL from `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGDATABASE`, `PGSSLMODE` and `PGSSLROOTCERT`.
fn url_from_libpq(environment: &HashMap<String, String>) -> Option<String> {
    let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    get("PGHOST").or(get("PGDATABASE"))?;
    let quote = |value: &str| format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
    let keys = [
        ("PGHOST", "host"),
        ("PGPORT", "port"),
        ("PGUSER", "user"),
        ("PGPASSWORD", "password"),
        ("PGDATABASE", "dbname"),
        ("PGSSLMODE", "sslmode"),
        ("PGSSLROOTCERT", "sslrootcert"),
    ];
    let pairs: Vec<String> =
        keys.iter().filter_map(|(name, key)| Some(format!("{key}={}", quote(get(name)?)))).collect();
    Some(pairs.join(" "))
}

/// The memory that this process may use, in bytes: the control group's limit, else the machine's.
#[must_use]
pub fn memory_limit() -> u64 {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?.to_owned();
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(4 << 30, |kib| kib << 10);
    let group = number("/sys/fs/cgroup/memory.max").or_else(|| number("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    group.map_or(machine, |limit| limit.min(machine))
}

#[cfg(test)]
mod tests;
