//! Connections to the source.
//!
//! Owns: [`SourceConfig`], the two kinds of connection that it makes ([`Client`] for questions, [`CopyConnection`] for
//! data), and what to say when it cannot. Must not know: what is asked or copied.

use std::{
    error::Error as _,
    fmt,
    hash::{BuildHasher as _, RandomState},
    io,
    ops::Deref,
    time::Duration,
};

use tokio::task::JoinHandle;
use tokio_postgres::{
    Config, NoTls,
    config::{LoadBalanceHosts, TargetSessionAttrs},
};

use super::{
    cancel::CancelToken,
    dsn::{self, TlsMode},
    failure::{from_driver, sqlstate_of},
    tls::Tls,
    transport::{Encryption, Endpoint, OpenError, Stream, open},
    wire::CopyConnection,
};
use crate::error::{Code, Error, Result};

/// Values cast to text depend on these, so every session of ours has the same.
const SESSION_SETTINGS: &str = "SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; \
     SET extra_float_digits = 1; SET bytea_output = 'hex'";

/// How to reach the source. Parsed once; the password never appears in its `Debug` or `Display`.
#[derive(Clone)]
pub struct SourceConfig {
    config: Config,
    endpoints: Vec<Endpoint>,
    tls: Tls,
    read_timeout: Option<Duration>,
}

impl SourceConfig {
    /// Parses `postgresql://user:password@host:port/database?sslmode=verify-full` or libpq's `host=… user=…`.
    ///
    /// Knows what tokio-postgres knows (several hosts, Unix sockets, keepalives, `target_session_attrs`), and `sslmode`
    /// in all its six values, `sslrootcert`, `sslcert`, `sslkey`. Certificates are read here.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] with what is wrong; never with the password.
    pub fn parse(url: &str) -> Result<Self> {
        let parsed = dsn::parse(url)?;
        let tls = Tls::new(parsed.tls)?;
        let read_timeout = Some(Duration::from_secs(60));
        Ok(Self { config: parsed.config, endpoints: parsed.endpoints, tls, read_timeout })
    }

    /// How long a [`CopyConnection`] may wait for the server's next byte before it gives the connection up; 60 s unless
    /// set. Waiting for a lock and for the first row are silence too, so `lock_timeout` must be shorter.
    #[must_use]
    pub fn with_read_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// The name under which the server shows our sessions; `pilaster` unless set here or in the connection string.
    #[must_use]
    pub fn with_application_name(mut self, name: &str) -> Self {
        self.config.application_name(name);
        self
    }

    /// The connection string without password and options, for logs and manifests.
    #[must_use]
    pub fn redacted(&self) -> String {
        let encoded =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let hosts: Vec<_> = self
            .endpoints
            .iter()
            .map(|endpoint| match endpoint {
                Endpoint::Tcp { .. } => endpoint.to_string(),
                Endpoint::Unix { directory, port } => {
                    format!("{}:{port}", directory.display().to_string().replace('/', "%2F"))
                }
            })
            .collect();
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let name = |text: &str| if plain(text) { text.to_owned() } else { encoded(text) };
        format!("postgresql://{}@{}/{}", name(self.user()), hosts.join(","), name(self.database()))
    }

    /// The role that connects.
    #[must_use]
    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// The database that is connected to.
    #[must_use]
    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }

    /// Opens a connection for questions. Its session has UTC, ISO dates and UTF-8.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when the network or the server is at fault, [`Code::InvalidConfig`] when the connection
    /// string is.
    pub async fn connect(&self) -> Result<Client> {
        let (session, endpoint) = self.establish(Purpose::Questions).await?;
        let Session::Questions(inner, driver) = session else {
            return Err(Error::internal("a connection for questions became one for data"));
        };
        let pinned = Self { endpoints: vec![endpoint], ..self.clone() };
        let client = Client { inner, driver, pinned };
        let limit = self.connect_timeout();
        match tokio::time::timeout(limit, client.batch_execute(SESSION_SETTINGS)).await {
            Ok(prepared) => prepared.map_err(|error| from_driver(error, "prepare the session"))?,
            Err(_) => {
                return Err(Error::new(Code::Unavailable, format!("prepare the session: no answer in {limit:?}")));
            }
        }
        Ok(client)
    }

    /// Opens a connection for data. Its `search_path` is empty, so names in its SQL must be qualified.
    ///
    /// # Errors
    /// As [`SourceConfig::connect`].
    pub async fn connect_copy(&self) -> Result<CopyConnection> {
        let (session, endpoint) = self.establish(Purpose::Data).await?;
        let Session::Data(mut connection) = session else {
            return Err(Error::internal("a connection for data became one for questions"));
        };
        connection.set_origin(Self { endpoints: vec![endpoint], ..self.clone() }, self.read_timeout);
        connection.execute(&format!("{SESSION_SETTINGS}; SET search_path = ''")).await?;
        Ok(*connection)
    }

    /// Tries each host, each of its addresses and each way of encryption, until one works.
    async fn establish(&self, purpose: Purpose) -> Result<(Session, Endpoint)> {
        let mut endpoints = self.endpoints.clone();
        if self.config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            let state = RandomState::new();
            endpoints.sort_by_cached_key(|endpoint| state.hash_one(endpoint.to_string()));
        }
        let mut failures: Vec<Error> = Vec::new();
        for endpoint in &endpoints {
            let deadline = self.connect_timeout();
            let resolved = match tokio::time::timeout(deadline, endpoint.resolve()).await {
                Ok(Ok(resolved)) => resolved,
                Ok(Err(error)) => {
                    failures.push(
                        self.cannot(endpoint, format!("cannot resolve the host's name: {error}"))
                            .with_hint("correct the host in the connection string, or this machine's name service")
                            .with_cause(error),
                    );
                    continue;
                }
                Err(_) => {
                    failures.push(self.cannot(endpoint, format!("the host's name was not resolved in {deadline:?}")));
                    continue;
                }
            };
            for endpoint in resolved {
                match self.try_endpoint(&endpoint, purpose).await {
                    Ok(session) => return Ok((session, endpoint)),
                    // Another host would refuse the same user with the same password.
                    Err(error) if matches!(sqlstate_of(&error), Some("28P01" | "28000" | "3D000")) => {
                        return Err(error);
                    }
                    Err(error) => failures.push(error),
                }
            }
        }
        let others: Vec<_> = failures.iter().skip(1).map(|error| error.message().to_owned()).collect();
        let first = failures.into_iter().next();
        let first = first.unwrap_or_else(|| Error::new(Code::Unavailable, "the host's name has no address"));
        Err(if others.is_empty() { first } else { first.with_detail(others.join("; ")) })
    }

    async fn try_endpoint(&self, endpoint: &Endpoint, purpose: Purpose) -> Result<Session> {
        use Encryption::{Always, IfOffered, Never};
        let ways: &[Encryption] = match (self.tls.mode, endpoint) {
            (TlsMode::Disable, _) | (_, Endpoint::Unix { .. }) => &[Never],
            (TlsMode::Allow, _) => &[Never, Always],
            (TlsMode::Prefer, _) => &[IfOffered, Never],
            (TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull, _) => &[Always],
        };
        let deadline = self.connect_timeout();
        let mut first: Option<Error> = None;
        for (index, encryption) in ways.iter().enumerate() {
            let attempt = self.start(endpoint, *encryption, purpose);
            let error = match tokio::time::timeout(deadline, Box::pin(attempt)).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(error)) => error,
                Err(_) => self.cannot(endpoint, format!("no answer in {} s", deadline.as_secs_f32())).with_hint(
                    "check host, port and firewall; connect_timeout in the connection string allows more time",
                ),
            };
            // Only what encryption may have caused is worth the other way: pg_hba.conf, or a failed handshake.
            let retry = sqlstate_of(&error) == Some("28000") || error.source().is_some_and(is_tls);
            let error = first.take().unwrap_or(error);
            if !retry || index + 1 == ways.len() {
                return Err(error);
            }
            first = Some(error);
        }
        Err(first.unwrap_or_else(|| Error::internal("no way to connect was tried")))
    }

    async fn start(&self, endpoint: &Endpoint, encryption: Encryption, purpose: Purpose) -> Result<Session> {
        let stream = self.open(endpoint, encryption).await?;
        let (session, is_standby, is_read_only) = match purpose {
            Purpose::Questions => {
                let (client, connection) =
                    self.config.connect_raw(stream, NoTls).await.map_err(|error| self.refused(endpoint, error))?;
                let is_on = |name| connection.parameter(name) == Some("on");
                let (standby, read_only) = (is_on("in_hot_standby"), is_on("default_transaction_read_only"));
                let driver = tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection to the source ended");
                    }
                });
                (Session::Questions(client, AbortOnDrop(driver)), standby, read_only)
            }
            Purpose::Data => {
                let connection = CopyConnection::start(stream, &self.config).await;
                let connection = connection.map_err(|error| self.explained(endpoint, error))?;
                let is_on = |name| connection.parameter(name) == Some("on");
                let (standby, read_only) = (is_on("in_hot_standby"), is_on("default_transaction_read_only"));
                (Session::Data(Box::new(connection)), standby, read_only)
            }
        };
        let writable = !is_standby && !is_read_only;
        match self.config.get_target_session_attrs() {
            TargetSessionAttrs::ReadWrite if !writable => {
                Err(self.cannot(endpoint, "the server is read-only".to_owned()))
            }
            TargetSessionAttrs::ReadOnly if writable => {
                Err(self.cannot(endpoint, "the server is not read-only".to_owned()))
            }
            _ => Ok(session),
        }
    }

    /// Opens a stream to the first server, as a cancel request needs it.
    pub(super) async fn open_for_cancel(&self) -> Result<Stream> {
        let Some(endpoint) = self.endpoints.first() else { return Err(Error::internal("cancel: no server")) };
        let encryption = match (self.tls.mode, endpoint) {
            (TlsMode::Disable | TlsMode::Allow, _) | (_, Endpoint::Unix { .. }) => Encryption::Never,
            (TlsMode::Prefer, _) => Encryption::IfOffered,
            (TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull, _) => Encryption::Always,
        };
        self.open(endpoint, encryption).await
    }

    async fn open(&self, endpoint: &Endpoint, encryption: Encryption) -> Result<Stream> {
        open(endpoint, &self.config, &self.tls, encryption).await.map_err(|error| match error {
            OpenError::Io(error) => {
                let hint = match error.kind() {
                    io::ErrorKind::ConnectionRefused => "is PostgreSQL running there, and listening on that port?",
                    io::ErrorKind::NotFound => "is PostgreSQL running, with this among its unix_socket_directories?",
                    _ => "check host, port and network",
                };
                let why = match error.kind() {
                    io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                    io::ErrorKind::NotFound => "there is no such socket".to_owned(),
                    _ => error.to_string(),
                };
                self.cannot(endpoint, why).with_hint(hint).with_cause(error)
            }
            OpenError::TlsRefused => Error::new(
                Code::InvalidConfig,
                format!("cannot connect to PostgreSQL at {}: the server does not offer encryption", self.at(endpoint)),
            )
            .with_hint("set ssl = on in postgresql.conf, or sslmode=disable where the network itself is trusted"),
            OpenError::Tls(error) => Error::new(
                Code::InvalidConfig,
                format!("cannot connect to PostgreSQL at {}: TLS failed: {error}", self.at(endpoint)),
            )
            .with_hint("give the authority's certificate as sslrootcert=/path/ca.pem, and the certificate's host name")
            .with_cause(TlsFailure(error)),
        })
    }

    fn refused(&self, endpoint: &Endpoint, error: tokio_postgres::Error) -> Error {
        if error.as_db_error().is_none()
            && let Some(cause) = error.source()
            && cause.to_string().contains("password")
        {
            return self.explained(endpoint, super::wire::no_password());
        }
        self.explained(endpoint, from_driver(error, "start the session"))
    }

    /// An error of the start-up, with where and as whom.
    fn explained(&self, endpoint: &Endpoint, error: Error) -> Error {
        let sqlstate = sqlstate_of(&error).map(str::to_owned);
        let error = error.context(format!("cannot connect to PostgreSQL at {}", self.at(endpoint)));
        match (sqlstate.as_deref(), self.tls.mode) {
            (Some("28000"), TlsMode::Disable | TlsMode::Allow) => error.with_hint(
                "create the role or add a line to pg_hba.conf; if that file asks for encryption, use sslmode=require",
            ),
            (Some("28000"), _) => error.with_hint("create the role, or add a line for it to pg_hba.conf"),
            _ => error,
        }
    }

    fn cannot(&self, endpoint: &Endpoint, why: String) -> Error {
        Error::new(Code::Unavailable, format!("cannot connect to PostgreSQL at {}: {why}", self.at(endpoint)))
    }

    fn at(&self, endpoint: &Endpoint) -> String {
        format!("{endpoint}, database {:?} as {:?}", self.database(), self.user())
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        let timeout = self.config.get_connect_timeout().copied().unwrap_or(Duration::from_secs(10));
        // libpq's zero means for ever; nothing waits for ever here.
        if timeout.is_zero() { Duration::from_secs(60) } else { timeout }
    }
}

impl fmt::Debug for SourceConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("SourceConfig").field(&self.redacted()).field(&self.tls.mode).finish()
    }
}

impl fmt::Display for SourceConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.redacted())
    }
}

#[derive(Clone, Copy)]
enum Purpose {
    Questions,
    Data,
}

enum Session {
    Questions(tokio_postgres::Client, AbortOnDrop),
    Data(Box<CopyConnection>),
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Marks a failed handshake, which `sslmode=prefer` answers by trying without.
#[derive(Debug)]
struct TlsFailure(io::Error);

impl fmt::Display for TlsFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for TlsFailure {}

fn is_tls(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<TlsFailure>()
}

/// A connection for questions: tokio-postgres's client and the task that drives it, which ends with it.
pub struct Client {
    inner: tokio_postgres::Client,
    driver: AbortOnDrop,
    pinned: SourceConfig,
}

impl Client {
    /// The same source, but only the very server that this connection reached. An exported snapshot exists on that
    /// server alone, so the connections that import it must be made from here when the connection string has several
    /// hosts.
    #[must_use]
    pub fn server(&self) -> &SourceConfig {
        &self.pinned
    }

    /// What can cancel the running statement from elsewhere.
    #[must_use]
    pub fn cancel_token(&self) -> CancelToken {
        CancelToken::driver(self.pinned.clone(), self.inner.cancel_token())
    }

    /// Says goodbye to the server, which otherwise only sees the connection break.
    pub async fn close(self) {
        let Self { inner, mut driver, .. } = self;
        drop(inner);
        // Best effort: the handle is aborted right after in any case.
        let _ = tokio::time::timeout(Duration::from_secs(1), &mut driver.0).await;
    }
}

impl Deref for Client {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Client").field(&self.pinned).finish()
    }
}
