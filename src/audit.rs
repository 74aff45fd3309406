//! Who asked what: a line for each query and each act of an administrator, in a file of its own.
//!
//! Owns: [`AuditLog`], the files, what a line says. Must not know: protocols, SQL, rows.
//!
//! A line is written when its reply has gone, in one write to a file that is only ever appended to, so that several processes may share it
//! and nothing is lost when one dies. Values of parameters and the text of SQL are in another file, and only where one is configured: it is
//! what a replay needs, and may be more than an audit may keep.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::{
    access::{Principal, Role, Scope},
    error::{Code, Error, Result},
    telemetry,
};

/// How often it is looked whether the file is still there under its name: what rotates logs moves it away.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a line is about, before it is known how it ends.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// `query`, or the name of an act.
    event: &'static str,
    principal: Arc<str>,
    role: Role,
    /// Whose rows; none for all.
    tenant: Option<Arc<str>>,
    /// Whether somebody who sees all looks as that tenant.
    #[serde(skip_serializing_if = "is_false")]
    views_as: bool,
    /// `dashboard/name`, or what an act was done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Arc<str>>,
    /// Of SQL: equal for statements that differ in values and spelling alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<u64>,
    #[serde(skip)]
    replay: Option<Arc<Replay>>,
}

/// What it takes to ask again.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    /// The statement, where it is not a named query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<Arc<str>>,
    /// By name.
    pub parameters: serde_json::Map<String, Value>,
    /// An IANA name.
    pub time_zone: String,
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// The request's id.
    pub request_id: &'a str,
    /// `ok`, or an error's code.
    pub outcome: &'a str,
    /// Of the reply.
    pub rows: Option<u64>,
    /// Sent.
    pub bytes: u64,
    /// From the request to the last byte.
    pub elapsed: Duration,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Record {
    /// Something that `principal` asks or does.
    #[must_use]
    pub fn new(event: &'static str, principal: &Principal) -> Self {
        Self {
            event,
            principal: principal.name().into(),
            role: principal.role(),
            tenant: match principal.scope() {
                Scope::All => None,
                Scope::Tenant(tenant) => Some(tenant.as_str().into()),
            },
            views_as: principal.views_as(),
            subject: None,
            fingerprint: None,
            route: None,
            cache: None,
            snapshot: None,
            replay: None,
        }
    }

    /// What it is about.
    #[must_use]
    pub fn about(mut self, subject: &str) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// SQL of their own.
    #[must_use]
    pub fn of_sql(mut self, fingerprint: &str) -> Self {
        self.fingerprint = Some(fingerprint.into());
        self
    }

    /// What it takes to ask again.
    #[must_use]
    pub fn with_replay(mut self, replay: Replay) -> Self {
        self.replay = Some(Arc::new(replay));
        self
    }

    /// Where the answer came from.
    #[must_use]
    pub fn answered_by(mut self, side: &'static str, cache: &'static str, snapshot: Option<u64>) -> Self {
        (self.route, self.cache, self.snapshot) = (Some(side), Some(cache), snapshot);
        self
    }
}

/// Where lines go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AuditLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lines: Appended,
    replays: Option<Appended>,
}

impl AuditLog {
    /// Opens the files, or makes them, for their owner alone to read.
    pub fn open(lines: &Path, replays: Option<&Path>) -> Result<Self> {
        let replays = replays.map(Appended::open).transpose()?;
        Ok(Self(Arc::new(Inner { lines: Appended::open(lines)?, replays })))
    }

    /// Whether what it takes to ask again is kept.
    #[must_use]
    pub fn keeps_replays(&self) -> bool {
        self.0.replays.is_some()
    }

    /// Writes a line.
    pub fn write(&self, record: &Record, ending: Ending<'_>) {
        #[derive(Serialize)]
        struct Line<'a> {
            time: &'a str,
            request_id: &'a str,
            #[serde(flatten)]
            record: &'a Record,
            #[serde(skip_serializing_if = "Option::is_none")]
            rows: Option<u64>,
            bytes: u64,
            duration_ms: f64,
            outcome: &'a str,
        }
        #[derive(Serialize)]
        struct ReplayLine<'a> {
            time: &'a str,
            request_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            query: Option<&'a str>,
            tenant: Option<&'a str>,
            #[serde(flatten)]
            replay: &'a Replay,
        }
        let time = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let request_id = ending.request_id;
        self.0.lines.append(&Line {
            time: &time,
            request_id,
            record,
            rows: ending.rows,
            bytes: ending.bytes,
            duration_ms: (ending.elapsed.as_secs_f64() * 1e6).round() / 1e3,
            outcome: ending.outcome,
        });
        if let (Some(file), Some(replay)) = (&self.0.replays, &record.replay) {
            let (query, tenant) = (record.subject.as_deref(), record.tenant.as_deref());
            file.append(&ReplayLine { time: &time, request_id, query, tenant, replay });
        }
    }
}

/// A file that lines are appended to.
#[derive(Debug)]
struct Appended {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    looked: Instant,
    /// A spell of failures is said once.
    is_failing: bool,
}

impl Appended {
    fn open(path: &Path) -> Result<Self> {
        let state = State { file: open(path)?, looked: Instant::now(), is_failing: false };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    fn append(&self, line: &impl Serialize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A part of a line may stand there since it failed.
        let mut bytes = if state.is_failing { vec![b'\n'] } else { Vec::with_capacity(512) };
        serde_json::to_writer(&mut bytes, line).expect("a line is plain data");
        bytes.push(b'\n');
        match self.try_append(&mut state, &bytes) {
            Ok(()) => state.is_failing = false,
            Err(error) => {
                telemetry::audit_line_lost();
                if !std::mem::replace(&mut state.is_failing, true) {
                    tracing::error!(path = %self.path.display(), error = %error.chain(), "the audit log loses lines");
                }
            }
        }
    }

    fn try_append(&self, state: &mut State, bytes: &[u8]) -> Result<()> {
        if state.is_failing || state.looked.elapsed() >= LOOK_EVERY {
            state.looked = Instant::now();
            if !is_there(&state.file, &self.path) {
                state.file = open(&self.path)?;
            }
        }
        state.file.write_all(bytes).map_err(|error| unwritable(&self.path, error))
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|error| unwritable(path, error))
}

/// Whether the file is the one of this name.
fn is_there(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    Error::new(Code::InvalidConfig, format!("the audit log {} cannot be written: {error}", path.display()))
        .with_hint("audit.file and audit.replay_file must be files that the server may append to")
        .with_cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDING: Ending<'_> =
        Ending { request_id: "r", outcome: "ok", rows: Some(3), bytes: 9, elapsed: Duration::from_micros(1_500) };

    #[test]
    fn a_line_says_who_and_what() {
        let folder = tempfile::tempdir().unwrap();
        let [path, replays] = ["audit", "replay"].map(|name| folder.path().join(name));
        let log = AuditLog::open(&path, Some(&replays)).unwrap();
        let parameters = serde_json::Map::from_iter([("plan".to_owned(), "pro".into())]);
        let replay = Replay { sql: None, parameters, time_zone: "UTC".into() };
        let record = Record::new("query", &Principal::local()).about("revenue/mrr").with_replay(replay);
        log.write(&record.answered_by("engine", "memory", Some(7)), ENDING);
        let text = std::fs::read_to_string(&path).unwrap();
        let (_, rest) = text.split_once("\"request_id\"").unwrap();
        assert_eq!(
            rest,
            ":\"r\",\"event\":\"query\",\"principal\":\"local\",\"role\":\"admin\",\"tenant\":null,\"subject\":\"revenue/mrr\",\
             \"route\":\"engine\",\"cache\":\"memory\",\"snapshot\":7,\"rows\":3,\"bytes\":9,\"duration_ms\":1.5,\"outcome\":\"ok\"}\n"
        );
        let kept = std::fs::read_to_string(&replays).unwrap();
        assert!(kept.contains("\"parameters\":{\"plan\":\"pro\"}") && !text.contains("pro"), "{kept}");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_moved_away_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let log = AuditLog::open(&path, None).unwrap();
        let record = Record::new("query", &Principal::local());
        log.write(&record, ENDING);
        std::fs::rename(&path, folder.path().join("audit.1")).unwrap();
        std::thread::sleep(LOOK_EVERY);
        log.write(&record, ENDING);
        for name in ["audit", "audit.1"] {
            assert_eq!(std::fs::read_to_string(folder.path().join(name)).unwrap().lines().count(), 1, "{name}");
        }
        assert!(AuditLog::open(folder.path(), None).is_err(), "a folder is no file");
    }
}
