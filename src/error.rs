//! The one error type of the house.
//!
//! Owns: [`Error`], the [`ErrorKind`] that tells a caller what it can do, and the stable [`Code`]s that clients may match on.
//! Must not know: HTTP, SQLSTATE or gRPC tables; each protocol maps [`Code`] to its own answer in one table.
//!
//! An error has two readers. The client reads `message`, `detail` and `hint`, in Postgres's manner: what is wrong, where, and
//! the mend. The operator reads the chain of causes in the log, which never goes to the client.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Arc<dyn StdError + Send + Sync + 'static>;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Change the request.
    InvalidArgument,
    /// Say who you are.
    Unauthenticated,
    /// Ask somebody who may.
    PermissionDenied,
    /// Ask for something that exists.
    NotFound,
    /// Look again; somebody else was first.
    Conflict,
    /// Ask for less, or later.
    ResourceExhausted,
    /// Allow more time, or ask for less.
    DeadlineExceeded,
    /// Ask again soon.
    Unavailable,
    /// Nothing; the operator must act.
    Internal,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $kind:ident;)*) => {
        /// The stable identity of an error, which clients may match on. Never renamed, only added to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code there is, for tables and docs.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as clients see it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What the caller can do about it.
            #[must_use]
            pub const fn kind(self) -> ErrorKind {
                match self { $(Self::$variant => ErrorKind::$kind,)* }
            }
        }
    };
}

codes! {
    /// The SQL does not parse, or names what does not exist.
    InvalidSql = "invalid_sql", InvalidArgument;
    /// The SQL is understood, but the engine cannot run it.
    UnsupportedSql = "unsupported_sql", InvalidArgument;
    /// The SQL is valid, but a value in it or in the data is not (division by zero, a failed cast, overflow).
    InvalidValue = "invalid_value", InvalidArgument;
    /// A parameter's value is not of its type.
    InvalidParameter = "invalid_parameter", InvalidArgument;
    /// A parameter without a default was not given.
    MissingParameter = "missing_parameter", InvalidArgument;
    /// A parameter was given that the query does not have.
    UnknownParameter = "unknown_parameter", InvalidArgument;
    /// The request itself is malformed: body, header or option.
    InvalidRequest = "invalid_request", InvalidArgument;
    /// A configuration file, option or named query file is wrong.
    InvalidConfig = "invalid_config", InvalidArgument;
    /// A value in the source that the snapshot's format cannot hold, and no policy says what to do.
    UnrepresentableValue = "unrepresentable_value", InvalidArgument;
    /// Nobody was authenticated.
    Unauthenticated = "unauthenticated", Unauthenticated;
    /// The principal may not do this.
    PermissionDenied = "permission_denied", PermissionDenied;
    /// No such route, dashboard, query, table or execution.
    NotFound = "not_found", NotFound;
    /// No such snapshot version, or it has been pruned.
    SnapshotNotFound = "snapshot_not_found", NotFound;
    /// Another run holds the store or the source.
    RunInProgress = "run_in_progress", Conflict;
    /// Somebody else created it first.
    Conflict = "conflict", Conflict;
    /// The statement is longer than allowed, in bytes or tokens.
    StatementTooLarge = "statement_too_large", ResourceExhausted;
    /// The result is larger than allowed.
    ResultTooLarge = "result_too_large", ResourceExhausted;
    /// The query needs more memory or spill than it may have.
    OutOfMemory = "out_of_memory", ResourceExhausted;
    /// The principal's own quota is used up.
    QuotaExceeded = "quota_exceeded", ResourceExhausted;
    /// Every execution slot and place in the queue is taken.
    ServerFull = "server_full", Unavailable;
    /// No snapshot has been published yet.
    SnapshotPending = "snapshot_pending", Unavailable;
    /// A part that is needed (store, source) does not answer.
    Unavailable = "unavailable", Unavailable;
    /// The server is stopping.
    ShuttingDown = "shutting_down", Unavailable;
    /// The query runs on Postgres, where it is not known that a tenant would see only its own rows.
    NotRouted = "not_routed", Unavailable;
    /// The caller asked for a cached reply only, and there is none.
    NotCached = "not_cached", Unavailable;
    /// The query did not finish in time.
    DeadlineExceeded = "deadline_exceeded", DeadlineExceeded;
    /// The query was cancelled, by its client or by an operator.
    Cancelled = "cancelled", DeadlineExceeded;
    /// The store's bytes are not what the manifest says.
    CorruptStore = "corrupt_store", Internal;
    /// A fault of ours.
    Internal = "internal", Internal;
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What went wrong, for the client (`message`, `detail`, `hint`, `position`) and for the log (`source`).
///
/// It can be cloned, because many callers may wait for one computation.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    sqlstate: Option<&'static str>,
    position: Option<usize>,
    retry_after: Option<Duration>,
    cause: Option<Cause>,
    is_of_run: bool,
}

impl Error {
    /// An error with its message: lower case, no full stop, what is wrong and where.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            detail: None,
            hint: None,
            sqlstate: None,
            position: None,
            retry_after: None,
            cause: None,
            is_of_run: false,
        }))
    }

    /// A fault of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// More about what is wrong, for the client.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// The mend, for the client.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The SQLSTATE that Postgres would give.
    #[must_use]
    pub fn with_sqlstate(mut self, sqlstate: &'static str) -> Self {
        self.0.sqlstate = Some(sqlstate);
        self
    }

    /// Where in the SQL, in characters from 1, as Postgres counts.
    #[must_use]
    pub fn with_position(mut self, position: usize) -> Self {
        self.0.position = Some(position);
        self
    }

    /// When asking again may succeed.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// The cause, for the log.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(Arc::from(cause.into()));
        self
    }

    /// Puts what was being done in front of the message: `table public.users: …`.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.message = format!("{doing}: {}", self.0.message);
        self
    }

    /// Came up while a query ran: the message may hold values of rows.
    #[must_use]
    pub fn while_running(mut self) -> Self {
        self.0.is_of_run = true;
        self
    }

    /// Whether it came up while a query ran.
    #[must_use]
    pub fn is_of_run(&self) -> bool {
        self.0.is_of_run
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.code.kind()
    }

    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// More about it.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The mend.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The SQLSTATE that Postgres would give.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&'static str> {
        self.0.sqlstate
    }

    /// Where in the SQL, in characters from 1.
    #[must_use]
    pub fn position(&self) -> Option<usize> {
        self.0.position
    }

    /// When asking again may succeed.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The whole chain on one line, for the log.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.0.code, self.chain())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_snake_case() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(seen.insert(text), "{text} is used twice");
            assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{text}");
        }
    }

    #[test]
    fn the_chain_names_each_cause_once() {
        let inner = Error::new(Code::Unavailable, "connection refused");
        let error = Error::new(Code::Internal, "cannot read the manifest").with_cause(inner);
        assert_eq!(error.to_string(), "cannot read the manifest");
        assert_eq!(error.chain(), "cannot read the manifest: connection refused");
    }
}
