//! The access log as JSON: lines are gathered in memory and written in one go, since a write for each request would cost a hit more
//! than all else that it does.
//!
//! Bounded: while standard error does not take what is written, lines beyond a few MiB are dropped, and counted.

use std::{
    io::Write,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use chrono::{SecondsFormat, Utc};
use metrics::counter;
use serde::Serialize;

use super::ACCESS_LINES_DROPPED_TOTAL;

/// How long a line waits at most.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// Gathered bytes that are not waited with.
const WRITE_FROM_BYTES: usize = 64 << 10;
const BYTES_MAX: usize = 4 << 20;

/// One request that has been answered.
#[derive(Debug, Serialize)]
pub struct Access<'a> {
    /// Its id.
    pub request_id: &'a str,
    /// Its method.
    pub method: &'a str,
    /// Its path, without the query string.
    pub path: &'a str,
    /// Of the reply.
    pub status: u16,
    /// Of the reply's body.
    pub bytes: u64,
    /// From the request to the reply's last byte.
    pub duration_ms: f64,
    /// `dashboard/name`, or SQL of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<&'a str>,
    /// What the cache did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<&'a str>,
    /// The version that it was answered from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<u64>,
    /// Rows of the result, where it is known as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Whether the client took all of it.
    pub complete: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    message: &'static str,
    #[serde(flatten)]
    access: &'a Access<'a>,
    target: &'static str,
}

/// Lines that wait to be written.
pub(super) struct AccessLog {
    gathered: Mutex<Vec<u8>>,
    has_grown: Condvar,
    /// Held while bytes are on their way, so that a flush waits for them.
    writing: Mutex<()>,
}

impl AccessLog {
    pub(super) const fn new() -> Self {
        Self { gathered: Mutex::new(Vec::new()), has_grown: Condvar::new(), writing: Mutex::new(()) }
    }

    pub(super) fn add(&self, access: &Access<'_>) {
        let timestamp = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let line = Line { timestamp, level: "INFO", message: "request", access, target: super::ACCESS };
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        if gathered.len() > BYTES_MAX {
            counter!(ACCESS_LINES_DROPPED_TOTAL).increment(1);
            return;
        }
        let was_empty = gathered.is_empty();
        if serde_json::to_writer(&mut *gathered, &line).is_ok() {
            gathered.push(b'\n');
        }
        if was_empty || gathered.len() >= WRITE_FROM_BYTES {
            self.has_grown.notify_one();
        }
    }

    /// Writes what has been gathered.
    pub(super) fn flush(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = std::mem::take(&mut *self.gathered.lock().unwrap_or_else(PoisonError::into_inner));
        // Whoever closed standard error wants no log.
        drop(std::io::stderr().lock().write_all(&lines));
    }

    /// Writes again and again, for as long as the process lives.
    pub(super) fn keep_writing(&self) {
        loop {
            let gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            // Nothing to write, nothing to wake up for.
            let some =
                self.has_grown.wait_while(gathered, |lines| lines.is_empty()).unwrap_or_else(PoisonError::into_inner);
            drop(self.has_grown.wait_timeout_while(some, WRITE_EVERY, |lines| lines.len() < WRITE_FROM_BYTES));
            self.flush();
        }
    }
}
