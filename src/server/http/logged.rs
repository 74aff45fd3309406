//! What a reply leaves behind when its last byte has gone: a line in the access log, and one in the audit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderValue, Method, Uri, header},
    response::Response,
};

use super::{App, request::REQUEST_ID};
use crate::{
    audit::{AuditLog, Ending, Record},
    error::Code,
    telemetry::{self, Access},
};

/// What the access log and the audit say of a reply beyond its head.
#[derive(Clone, Debug, Default)]
pub(super) struct Logged {
    pub(super) query: Option<Arc<str>>,
    /// Who answered.
    pub(super) side: Option<&'static str>,
    pub(super) cache: Option<&'static str>,
    pub(super) snapshot: Option<u64>,
    pub(super) rows: Option<u64>,
    /// Counted while they are sent.
    pub(super) streamed: Option<Arc<AtomicU64>>,
    pub(super) record: Option<Record>,
    pub(super) code: Option<Code>,
}

/// What an act was done to, where its path does not say.
#[derive(Clone, Debug)]
pub(super) struct Acted(pub(super) String);

/// A question whose answer is being made. Dropped before it is told how it ended, it leaves its line all the same: the client has gone, or
/// the handler has died.
pub(super) struct Unanswered {
    audit: AuditLog,
    id: Arc<str>,
    record: Option<Record>,
    started: Instant,
}

impl Unanswered {
    pub(super) fn new(app: &App, id: &Arc<str>, record: impl FnOnce(&AuditLog) -> Record) -> Option<Self> {
        let audit = app.audit.clone()?;
        let record = Some(record(&audit));
        Some(Self { audit, id: Arc::clone(id), record, started: Instant::now() })
    }

    /// The record, for whoever says from now on how it ends.
    pub(super) fn answered(mut self) -> Option<Record> {
        self.record.take()
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let outcome = if std::thread::panicking() { Code::Internal.as_str() } else { "cut" };
        let elapsed = self.started.elapsed();
        self.audit.write(&record, Ending { request_id: &self.id, outcome, rows: None, bytes: 0, elapsed });
    }
}

/// What every reply has and leaves behind: its id, and a line in the access log when its last byte has gone.
pub(super) fn finish(app: &App, mut response: Response, asked: Asked) -> Response {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&asked.id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let logged = response.extensions_mut().remove::<Logged>().unwrap_or_default();
    let audit = logged.record.as_ref().and_then(|_| app.audit.clone());
    let line = AccessLine { asked, status: response.status().as_u16(), logged, audit };
    response.map(|body| Body::new(LoggedBody { body, bytes: 0, ended: false, line: Some(line) }))
}

/// What was asked, and when.
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) started: Instant,
}

/// One line of the access log, written when the reply's last byte has gone, or when nobody takes it any more.
struct AccessLine {
    asked: Asked,
    status: u16,
    logged: Logged,
    audit: Option<AuditLog>,
}

struct LoggedBody {
    body: Body,
    bytes: u64,
    ended: bool,
    line: Option<AccessLine>,
}

impl HttpBody for LoggedBody {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        let frame = std::task::ready!(std::pin::Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => {}
            None => self.ended = true,
        }
        std::task::Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        let Some(line) = self.line.take() else { return };
        // A body whose length is known is not polled once more after its last byte.
        let complete = self.ended || self.body.is_end_stream();
        let AccessLine { asked, status, logged, audit } = line;
        if complete && status == 200 && matches!(asked.uri.path(), "/livez" | "/readyz" | "/metrics") {
            // Every few seconds, and of no use to anybody.
            return;
        }
        let elapsed = asked.started.elapsed();
        let rows = logged.rows.or_else(|| Some(logged.streamed.as_ref()?.load(Ordering::Relaxed)));
        telemetry::answered(&Access {
            request_id: &asked.id,
            method: asked.method.as_str(),
            path: asked.uri.path(),
            status,
            bytes: self.bytes,
            duration_ms: elapsed.as_secs_f64() * 1e3,
            query: logged.query.as_deref(),
            cache: logged.cache,
            snapshot: logged.snapshot,
            rows,
            complete,
        });
        if let (Some(audit), Some(record)) = (audit, logged.record) {
            let outcome = match (logged.code, status, complete) {
                (Some(code), ..) => code.as_str(),
                (None, 304, _) => "not_modified",
                (None, _, true) => "ok",
                (None, _, false) => "cut",
            };
            let ending = Ending { request_id: &asked.id, outcome, rows, bytes: self.bytes, elapsed };
            audit.write(&record, ending);
        }
    }
}
