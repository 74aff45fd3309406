//! A small frontend of our own, for COPY and for statements whose rows go the same way.
//!
//! Owns: start-up and authentication, simple queries, and COPY TO STDOUT read in large pieces that go to the decoder
//! without a copy or an allocation per row. The ready-made driver yields one `Bytes` per row and hides the command tag,
//! whose count is our proof that nothing was lost. Must not know: what the bytes mean.
//!
//! Source: PostgreSQL documentation, "Frontend/Backend Protocol", sections "Message Flow" and "Message Formats".

mod startup;
mod statement;

use std::{collections::HashMap, fmt, ops::Range, time::Duration};

use bytes::BytesMut;
use postgres_protocol::message::{backend, frontend};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub(super) use self::startup::no_password;
pub(super) use self::statement::{ResultColumn, ValueFormat};
use super::{
    cancel::CancelToken,
    connect::SourceConfig,
    decode::CopyDecoder,
    failure::{ServerError, lost, protocol},
    transport::Stream,
};
use crate::error::{Code, Error, Result};

/// Large enough that the kernel, not we, sets the pace; small enough to stay in the cache on its way to the decoder.
const BUFFER_BYTES: usize = 512 * 1024;
/// A message other than CopyData is small; what claims more is not PostgreSQL.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Less room than this at the end of the buffer is not worth a system call.
const READ_BYTES_MIN: usize = 64 * 1024;

/// What a [`CopyConnection`] got out of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The decoder got more; there may be a batch to take.
    More,
    /// The COPY is complete: trailer, CopyDone, command tag and ReadyForQuery were seen, and the counts agree.
    Done {
        /// Rows that the server says it sent, and that the decoder decoded.
        rows: u64,
    },
}

/// A connection for data: SQL without results, and COPY TO STDOUT in binary format.
///
/// One statement at a time. After an error from the server it can be used again; after any other it cannot. Dropping it
/// while a statement runs asks the server, best effort, to cancel that.
pub struct CopyConnection {
    stream: Stream,
    buffer: Vec<u8>,
    /// The bytes of the buffer that were read and not yet used.
    unread: Range<usize>,
    parameters: HashMap<String, String>,
    process: i32,
    secret: i32,
    state: State,
    read_timeout: Option<Duration>,
    origin: Option<SourceConfig>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Running,
    Copying {
        /// Bytes of the current CopyData message that have not arrived yet, when it is larger than the buffer.
        pending_bytes: usize,
        is_done: bool,
        rows: Option<u64>,
    },
    /// A statement's rows are on their way.
    Answering {
        /// The server's count, once it has said it.
        rows: Option<u64>,
    },
    Broken,
}

impl CopyConnection {
    pub(super) fn set_origin(&mut self, origin: SourceConfig, read_timeout: Option<Duration>) {
        self.origin = Some(origin);
        self.read_timeout = read_timeout;
    }

    /// A setting that the server reported at the start, for example `server_version` or `in_hot_standby`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The process id that the server gave with its cancel key. Behind a pooler it is not the backend's.
    pub(super) fn process(&self) -> i32 {
        self.process
    }

    /// What can cancel the running statement from elsewhere.
    #[must_use]
    pub fn cancel_token(&self) -> Option<CancelToken> {
        self.origin.clone().map(|origin| CancelToken::ours(origin, self.process, self.secret))
    }

    /// Runs one or more statements and discards what they return.
    ///
    /// # Errors
    /// The server's error (see [`super::sqlstate_of`]), or [`Code::Unavailable`] when the connection is lost or silent.
    pub async fn execute(&mut self, sql: &str) -> Result<()> {
        self.query(sql).await.map(drop)
    }

    /// Runs one or more statements and returns the last row of the last that returned any, as text.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Option<Vec<Option<String>>>> {
        self.send_query(sql).await?;
        let mut row = None;
        loop {
            let (tag, body) = self.message().await?;
            match tag {
                backend::DATA_ROW_TAG => {
                    let parsed = data_row(&self.buffer[body]);
                    row = Some(parsed.ok_or_else(|| self.broken(protocol("read a row")))?);
                }
                backend::COPY_IN_RESPONSE_TAG => {
                    let mut message = BytesMut::new();
                    frontend::copy_fail("nothing is copied in here", &mut message).map_err(unsendable)?;
                    self.send(&message).await?;
                }
                backend::ERROR_RESPONSE_TAG => return Err(self.server_error(body, "run a statement").await),
                backend::READY_FOR_QUERY_TAG => {
                    self.state = State::Idle;
                    return Ok(row);
                }
                // Descriptions, command tags and copied data are discarded.
                _ => {}
            }
        }
    }

    /// Starts `COPY … TO STDOUT (FORMAT binary)`; then [`CopyConnection::next_chunk`] until it is done.
    ///
    /// # Errors
    /// As [`CopyConnection::execute`], and an internal error when the statement is no binary COPY TO STDOUT.
    pub async fn start_copy(&mut self, sql: &str) -> Result<()> {
        self.send_query(sql).await?;
        let (tag, body) = self.message().await?;
        match tag {
            backend::COPY_OUT_RESPONSE_TAG => {
                if self.buffer[body].first() != Some(&1) {
                    return Err(self.broken(Error::internal("start COPY: the format is not binary")));
                }
                self.state = State::Copying { pending_bytes: 0, is_done: false, rows: None };
                Ok(())
            }
            backend::ERROR_RESPONSE_TAG => Err(self.server_error(body, "start COPY").await),
            _ => Err(self.broken(Error::internal("start COPY: the statement is not COPY … TO STDOUT"))),
        }
    }

    /// Reads what the server has sent and feeds it to the decoder; between two calls the caller may take a batch and
    /// write it.
    ///
    /// Waits for at least one message. Dropping the future loses nothing: call it again.
    ///
    /// # Errors
    /// The server's error, the decoder's, [`Code::Unavailable`] when the connection is lost or silent, and an internal
    /// error when the counts of server and decoder differ.
    pub async fn next_chunk(&mut self, decoder: &mut CopyDecoder) -> Result<Progress> {
        loop {
            let mut has_fed = false;
            loop {
                let State::Copying { pending_bytes, is_done, rows } = self.state else {
                    return Err(Error::internal("read COPY: no COPY is running"));
                };
                if pending_bytes > 0 {
                    let available = pending_bytes.min(self.unread.len());
                    if available == 0 {
                        break;
                    }
                    let piece = self.take(available);
                    decoder.feed(&self.buffer[piece])?;
                    self.state = State::Copying { pending_bytes: pending_bytes - available, is_done, rows };
                    has_fed = true;
                    continue;
                }
                let Some((tag, length)) = self.header()? else { break };
                if self.unread.len() < 5 + length {
                    if tag != backend::COPY_DATA_TAG || 5 + length <= self.buffer.len() {
                        break;
                    }
                    // A row larger than the buffer goes to the decoder in pieces. Before it the caller must have its
                    // turn: within a row no batch can be taken, and large row upon large row would pile up.
                    if has_fed {
                        return Ok(Progress::More);
                    }
                    self.take(5);
                    self.state = State::Copying { pending_bytes: length, is_done, rows };
                    continue;
                }
                self.take(5);
                let body = self.take(length);
                match tag {
                    backend::COPY_DATA_TAG if !is_done => {
                        decoder.feed(&self.buffer[body])?;
                        has_fed = true;
                    }
                    backend::COPY_DONE_TAG => self.state = State::Copying { pending_bytes: 0, is_done: true, rows },
                    backend::COMMAND_COMPLETE_TAG if is_done => {
                        let rows = copy_count(&self.buffer[body]);
                        if rows.is_none() {
                            return Err(self.broken(protocol("read the count of COPY")));
                        }
                        self.state = State::Copying { pending_bytes: 0, is_done, rows };
                    }
                    backend::READY_FOR_QUERY_TAG => {
                        let Some(rows) = rows else { return Err(self.broken(protocol("end COPY"))) };
                        self.state = State::Idle;
                        let decoded = decoder.finish()?;
                        if decoded != rows {
                            return Err(Error::internal(format!(
                                "the server copied {rows} rows, but {decoded} arrived"
                            )));
                        }
                        return Ok(Progress::Done { rows });
                    }
                    backend::ERROR_RESPONSE_TAG => return Err(self.server_error(body, "read COPY").await),
                    tag if is_asynchronous(tag) => self.note(tag, body),
                    _ => return Err(self.broken(protocol("read COPY"))),
                }
            }
            if has_fed {
                return Ok(Progress::More);
            }
            self.fill().await?;
        }
    }

    /// Whether another statement can follow, and nothing large is held for it.
    pub(super) fn is_worth_keeping(&self) -> bool {
        self.state == State::Idle && self.buffer.len() <= 4 * BUFFER_BYTES
    }

    /// Says goodbye to the server, which otherwise only sees the connection break.
    pub async fn close(mut self) {
        if self.state == State::Idle {
            let mut message = BytesMut::new();
            frontend::terminate(&mut message);
            // Best effort: the stream is closed right after in any case.
            let _ = tokio::time::timeout(Duration::from_secs(1), async {
                self.stream.write_all(&message).await?;
                self.stream.shutdown().await
            })
            .await;
        }
    }

    async fn send_query(&mut self, sql: &str) -> Result<()> {
        if self.state != State::Idle {
            return Err(Error::internal("a statement was sent over a connection that is not idle"));
        }
        let mut message = BytesMut::new();
        frontend::query(sql, &mut message).map_err(unsendable)?;
        self.state = State::Running;
        self.send(&message).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let sent = match self.read_timeout {
            Some(limit) => tokio::time::timeout(limit, sent).await.unwrap_or_else(|elapsed| Err(elapsed.into())),
            None => sent.await,
        };
        sent.map_err(|error| self.broken(lost("send to PostgreSQL").with_cause(error)))
    }

    /// The next message that is not asynchronous: its tag, and where its body is until the next read.
    async fn message(&mut self) -> Result<(u8, Range<usize>)> {
        loop {
            if let Some((tag, length)) = self.header()?
                && self.unread.len() >= 5 + length
            {
                self.take(5);
                let body = self.take(length);
                if is_asynchronous(tag) {
                    self.note(tag, body);
                    continue;
                }
                return Ok((tag, body));
            }
            self.fill().await?;
        }
    }

    /// Tag and body length of the message that the unread bytes begin with.
    fn header(&mut self) -> Result<Option<(u8, usize)>> {
        let [tag, a, b, c, d, ..] = self.buffer[self.unread.clone()] else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let is_sane = length >= 4 && (tag == backend::COPY_DATA_TAG || length <= MESSAGE_BYTES_MAX);
        match tag {
            _ if is_sane => Ok(Some((tag, length - 4))),
            backend::DATA_ROW_TAG => {
                let message = format!("a row of the result has {length} bytes, {MESSAGE_BYTES_MAX} are allowed");
                Err(self.broken(Error::new(Code::ResultTooLarge, message)))
            }
            _ => Err(self.broken(protocol("read a message"))),
        }
    }

    fn take(&mut self, count: usize) -> Range<usize> {
        let start = self.unread.start;
        self.unread.start += count;
        start..start + count
    }

    /// Reads once, after making room. Safe to cancel: what was read is in the buffer.
    async fn fill(&mut self) -> Result<()> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.buffer.len() - self.unread.end < READ_BYTES_MIN && self.unread.start > 0 {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.unread.end == self.buffer.len() {
            // Only a message other than CopyData gets here, and its length is bounded.
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.unread.end..]);
        let read = match self.read_timeout {
            Some(limit) => match tokio::time::timeout(limit, read).await {
                Ok(read) => read,
                Err(_) => {
                    let error = Error::new(Code::Unavailable, format!("PostgreSQL sent nothing for {limit:?}"))
                        .with_hint("look for locks, an overloaded server or a broken network");
                    return Err(self.broken(error));
                }
            },
            None => read.await,
        };
        match read {
            Ok(0) => Err(self.broken(lost("read from PostgreSQL"))),
            Ok(count) => {
                self.unread.end += count;
                Ok(())
            }
            Err(error) => Err(self.broken(lost("read from PostgreSQL").with_cause(error))),
        }
    }

    /// The server's error, after reading on until the connection is ready again, or gone as after a FATAL one.
    async fn server_error(&mut self, body: Range<usize>, doing: &str) -> Error {
        let error = ServerError::parse(&self.buffer[body]);
        let is_starting = self.origin.is_none();
        self.state = State::Broken;
        if error.severity == "ERROR" && !is_starting {
            // The server's error matters more than one of reading on, which leaves the connection broken.
            while let Ok((tag, _)) = self.message().await {
                if tag == backend::READY_FOR_QUERY_TAG {
                    self.state = State::Idle;
                    break;
                }
            }
        }
        error.into_error(doing)
    }

    fn note(&mut self, tag: u8, body: Range<usize>) {
        if tag != backend::PARAMETER_STATUS_TAG {
            return;
        }
        let mut strings =
            self.buffer[body].split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        if let (Some(name), Some(value)) = (strings.next(), strings.next()) {
            self.parameters.insert(name, value);
        }
    }

    /// After this error nothing that the connection says can be trusted.
    fn broken(&mut self, error: Error) -> Error {
        self.state = State::Broken;
        error
    }
}

impl Drop for CopyConnection {
    fn drop(&mut self) {
        // A connection that was given up for its silence may still keep a backend busy.
        let is_busy = self.state != State::Idle;
        let (true, Some(token), Ok(runtime)) = (is_busy, self.cancel_token(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = token.cancel().await {
                tracing::debug!(%error, "could not cancel an abandoned statement");
            }
        });
    }
}

impl fmt::Debug for CopyConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CopyConnection").field("origin", &self.origin).field("state", &self.state).finish()
    }
}

/// A NUL byte in SQL, a name or a password, which the protocol cannot carry.
fn unsendable(error: std::io::Error) -> Error {
    Error::new(Code::InvalidConfig, format!("cannot be sent to PostgreSQL: {error}")).with_cause(error)
}

fn is_asynchronous(tag: u8) -> bool {
    matches!(tag, backend::NOTICE_RESPONSE_TAG | backend::PARAMETER_STATUS_TAG | backend::NOTIFICATION_RESPONSE_TAG)
}

/// The count in the command tag `COPY 42`.
fn copy_count(body: &[u8]) -> Option<u64> {
    std::str::from_utf8(body).ok()?.strip_suffix('\0')?.strip_prefix("COPY ")?.parse().ok()
}

/// The fields of a DataRow in text format.
fn data_row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut fields = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let field = match i32::from_be_bytes(*length) {
            -1 => None,
            length => Some(after.get(..usize::try_from(length).ok()?)?),
        };
        rest = &after[field.map_or(0, <[u8]>::len)..];
        fields.push(field.map(|text| String::from_utf8_lossy(text).into_owned()));
    }
    Some(fields)
}
