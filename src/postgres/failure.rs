//! Failures of the source as errors of the house.
//!
//! Owns: [`ServerError`] (an ErrorResponse as we read it), and which [`Code`] a SQLSTATE or a broken connection has: when *we* talk to
//! the source for ourselves, and when we ask it for somebody else, who is told the SQLSTATE. Must not know: who that is.

use std::{
    collections::BTreeSet,
    error::Error as StdError,
    fmt, io,
    sync::{Mutex, PoisonError},
};

use crate::error::{Code, Error};

/// What the server said: the fields of an ErrorResponse that a person or a retry needs.
///
/// Source: PostgreSQL documentation, "Error and Notice Message Fields".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL` or `PANIC`, never localised.
    pub severity: String,
    /// The five characters of the SQLSTATE, for example `55P03`.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do about it, in the server's words.
    pub hint: Option<String>,
}

impl ServerError {
    /// Reads the body of an ErrorResponse: fields of one tag byte and a NUL-terminated string, then a NUL.
    ///
    /// What is malformed is left out rather than refused: the error that is being reported matters more.
    pub(super) fn parse(body: &[u8]) -> Self {
        let mut error = Self::default();
        let mut localised_severity = String::new();
        for field in body.split(|byte| *byte == 0) {
            let Some((tag, text)) = field.split_first() else { break };
            let text = String::from_utf8_lossy(text).into_owned();
            match tag {
                b'S' => localised_severity = text,
                b'V' => error.severity = text,
                b'C' => error.sqlstate = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                _ => {}
            }
        }
        if error.severity.is_empty() {
            error.severity = localised_severity;
        }
        error
    }

    fn from_database(error: &tokio_postgres::error::DbError) -> Self {
        Self {
            severity: error.severity().to_owned(),
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        }
    }

    /// As an error of the house, its message led by what was being done.
    pub(super) fn into_error(self, doing: impl fmt::Display) -> Error {
        let mut error =
            Error::new(code_of(&self.sqlstate), format!("{doing}: {} (SQLSTATE {})", self.message, self.sqlstate));
        if let Some(detail) = &self.detail {
            error = error.with_detail(detail);
        }
        if let Some(hint) = hint_of(&self.sqlstate) {
            error = error.with_hint(hint);
        } else if let Some(hint) = &self.hint {
            error = error.with_hint(hint);
        }
        error.with_cause(self)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.severity, self.sqlstate, self.message)
    }
}

impl StdError for ServerError {}

/// The SQLSTATE that the server gave, wherever in the chain of causes it is; for example `55P03` when a lock was not
/// free.
#[must_use]
pub fn sqlstate_of(error: &Error) -> Option<&str> {
    let mut cause = error.source();
    while let Some(current) = cause {
        if let Some(server) = current.downcast_ref::<ServerError>() {
            return Some(&server.sqlstate);
        }
        if let Some(state) = current.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code) {
            return Some(state.code());
        }
        if let Some(state) = current.downcast_ref::<Error>().and_then(Error::sqlstate) {
            return Some(state);
        }
        cause = current.source();
    }
    error.sqlstate()
}

/// An error of the driver as one of the house, its message led by what was being done.
#[must_use]
pub fn from_driver(error: tokio_postgres::Error, doing: impl fmt::Display) -> Error {
    if let Some(database) = error.as_db_error() {
        return ServerError::from_database(database).into_error(doing);
    }
    if error.is_closed() {
        return lost(doing).with_cause(error);
    }
    let io = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    if io.is_some() {
        lost(doing).with_cause(error)
    } else {
        Error::internal(format!("{doing}: {error}")).with_cause(error)
    }
}

/// The connection ended while we still needed it.
pub(super) fn lost(doing: impl fmt::Display) -> Error {
    Error::new(Code::Unavailable, format!("{doing}: the connection to PostgreSQL was lost"))
        .with_hint("look into the server's log: it may have restarted, or ended the session")
}

/// The server sent what the protocol does not allow, so nothing of this connection can be trusted any more.
pub(super) fn protocol(doing: impl fmt::Display) -> Error {
    Error::new(Code::Unavailable, format!("{doing}: the server does not speak the PostgreSQL protocol as documented"))
        .with_hint("check that host and port are PostgreSQL's, and that no proxy alters the stream")
}

/// What we can do about a SQLSTATE in our own conversation with the source.
fn code_of(sqlstate: &str) -> Code {
    match sqlstate {
        // Authentication, missing database or role: the connection string is wrong.
        "28000" | "28P01" | "3D000" => Code::InvalidConfig,
        "42501" => Code::PermissionDenied,
        "57014" => Code::Cancelled,
        // A lock that is not free, a deadlock, a replica's conflict with recovery: the whole run may be tried again.
        "55P03" | "40P01" | "40001" => Code::Unavailable,
        // A table or a column went away between looking and reading.
        "42P01" | "42703" | "3F000" => Code::Conflict,
        _ => match sqlstate.get(..2) {
            // Connection exceptions, insufficient resources, operator intervention, system errors.
            Some("08" | "53" | "57" | "58") => Code::Unavailable,
            Some("22") => Code::InvalidValue,
            Some("28") => Code::InvalidConfig,
            _ => Code::Internal,
        },
    }
}

/// A failure of a statement that somebody else asked, as they are told it: the server's words and SQLSTATE where the statement is at
/// fault, and otherwise only that PostgreSQL did not answer.
pub(super) fn asked(error: Error) -> Error {
    let server = error.source().and_then(|cause| cause.downcast_ref::<ServerError>()).cloned();
    let Some(server) = server else { return error };
    let state = interned(&server.sqlstate);
    let told = |code: Code| {
        let mut told = Error::new(code, server.message.clone()).with_sqlstate(state);
        if let Some(detail) = &server.detail {
            told = told.with_detail(detail);
        }
        if let Some(hint) = &server.hint {
            told = told.with_hint(hint);
        }
        told
    };
    match (state, &state[..2]) {
        ("57014", _) => Error::new(Code::DeadlineExceeded, "PostgreSQL stopped the query: it did not finish in time")
            .with_sqlstate(state)
            .with_hint("ask for less, or give it more with -- @timeout or rollout.postgres_timeout"),
        ("42501", _) => {
            Error::new(Code::Unavailable, "PostgreSQL does not let this query's role read what it asks for")
                .with_hint("grant SELECT to the role of rollout.postgres_url; the log has the server's words")
                .with_cause(error)
        }
        // A statement that writes, in a transaction that only reads.
        ("25006", _) | (_, "42" | "0A" | "3F") => told(Code::InvalidSql),
        // What a value makes fail may say the value.
        (_, "22" | "21" | "23" | "P0") => told(Code::InvalidValue).while_running(),
        (_, "54") => told(Code::StatementTooLarge),
        (_, "XX") => Error::internal("PostgreSQL has failed").with_cause(error),
        _ => Error::new(Code::Unavailable, "PostgreSQL does not answer queries now").with_cause(error),
    }
}

/// A SQLSTATE as long as the process lives. PostgreSQL has some 260; what is no SQLSTATE, or one too many, is an internal error.
fn interned(sqlstate: &str) -> &'static str {
    const UNKNOWN: &str = "XX000";
    const MANY: usize = 2_000;
    static STATES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    if sqlstate.len() != 5 || !sqlstate.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return UNKNOWN;
    }
    let mut states = STATES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = states.get(sqlstate) {
        return known;
    }
    if states.len() >= MANY {
        return UNKNOWN;
    }
    let kept: &'static str = sqlstate.to_owned().leak();
    states.insert(kept);
    kept
}

fn hint_of(sqlstate: &str) -> Option<&'static str> {
    Some(match sqlstate {
        "28P01" => "correct the password in the connection string",
        "3D000" => "correct the database name in the connection string, or create the database",
        "53300" => "raise max_connections, or let Pilaster use fewer connections",
        "57P03" => "wait until the server has started",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_response_keeps_its_sqlstate() {
        let body = b"SFEHLER\0VERROR\0C55P03\0Mcould not obtain lock\0Flmgr.c\0\0";
        let server = ServerError::parse(body);
        assert_eq!((server.severity.as_str(), server.sqlstate.as_str()), ("ERROR", "55P03"));
        let error = server.into_error("lock table public.users");
        assert_eq!(error.code(), Code::Unavailable);
        assert_eq!(sqlstate_of(&error), Some("55P03"));
        let outer = Error::internal("run failed").with_cause(error);
        assert_eq!(sqlstate_of(&outer), Some("55P03"));
    }

    #[test]
    fn who_asks_is_told_what_is_their_fault() {
        let check = |sqlstate: &str, code: Code, state: Option<&str>| {
            let server = ServerError { sqlstate: sqlstate.into(), message: "why".into(), ..ServerError::default() };
            let error = asked(server.into_error("run a statement"));
            assert_eq!((error.code(), error.sqlstate()), (code, state), "{sqlstate}");
            assert_eq!(error.message() == "why", state.is_some() && code != Code::DeadlineExceeded, "{sqlstate}");
        };
        check("22012", Code::InvalidValue, Some("22012"));
        check("42703", Code::InvalidSql, Some("42703"));
        check("25006", Code::InvalidSql, Some("25006"));
        check("42501", Code::Unavailable, None);
        check("57014", Code::DeadlineExceeded, Some("57014"));
        check("57P01", Code::Unavailable, None);
        check("53300", Code::Unavailable, None);
        check("40001", Code::Unavailable, None);
        check("XX001", Code::Internal, None);
        check("no", Code::Internal, None);
    }

    #[test]
    fn a_malformed_error_response_is_still_an_error() {
        for body in [&b""[..], b"\0", b"C", b"M", b"Mhalf", b"\xff\xfe\0\0"] {
            let _ = ServerError::parse(body).into_error("copy");
        }
    }
}
