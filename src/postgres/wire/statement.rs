//! Statements with parameters: the extended query protocol, over the connection that COPY uses.
//!
//! Owns: what is sent and awaited for one prepared statement at a time, and its rows on their way to the decoder: the fields of a row are
//! sent as those of a COPY in binary are, a count and each field with its length.
//! Must not know: what the types are, or what becomes of the rows.
//!
//! Source: PostgreSQL documentation, "Frontend/Backend Protocol", section "Extended Query".

use std::ops::Range;

use bytes::{BufMut as _, BytesMut};
use postgres_protocol::{
    IsNull,
    message::{backend, frontend},
};

use super::{CopyConnection, Progress, State, is_asynchronous, unsendable};
use crate::{
    error::{Error, Result},
    postgres::{
        decode::{self, CopyDecoder},
        failure::protocol,
    },
};

/// A column of a statement's result, as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name; several may have the same.
    pub name: String,
    /// `pg_type.oid`.
    pub type_oid: u32,
    /// `pg_attribute.atttypmod`, −1 for none.
    pub modifier: i32,
}

/// How a column's values are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueFormat {
    /// As the type's output function prints them.
    Text,
    /// As its send function writes them.
    Binary,
}

impl CopyConnection {
    /// Prepares one statement whose parameters have these types (`pg_type.oid`, 0 to let the server infer it). What was prepared before is
    /// forgotten.
    ///
    /// # Errors
    /// As [`CopyConnection::execute`].
    pub async fn prepare(&mut self, sql: &str, types: &[u32]) -> Result<Vec<ResultColumn>> {
        let mut message = BytesMut::new();
        frontend::parse("", sql, types.iter().copied(), &mut message).map_err(unsendable)?;
        frontend::describe(b'S', "", &mut message).map_err(unsendable)?;
        frontend::sync(&mut message);
        self.begin(&message).await?;
        let mut columns = Vec::new();
        loop {
            let (tag, body) = self.message().await?;
            match tag {
                backend::PARSE_COMPLETE_TAG | backend::PARAMETER_DESCRIPTION_TAG | backend::NO_DATA_TAG => {}
                backend::ROW_DESCRIPTION_TAG => {
                    let described = row_description(&self.buffer[body]);
                    columns = described.ok_or_else(|| self.broken(protocol("read a description")))?;
                }
                backend::ERROR_RESPONSE_TAG => return Err(self.server_error(body, "prepare a statement").await),
                backend::READY_FOR_QUERY_TAG => {
                    self.state = State::Idle;
                    return Ok(columns);
                }
                _ => return Err(self.broken(protocol("prepare a statement"))),
            }
        }
    }

    /// Runs what was prepared last, with these values as text; then [`CopyConnection::next_rows`] until it is done.
    ///
    /// # Errors
    /// As [`CopyConnection::execute`].
    pub async fn run_prepared(&mut self, values: &[Option<String>], formats: &[ValueFormat]) -> Result<()> {
        let mut message = BytesMut::new();
        let write = |value: &Option<String>, out: &mut BytesMut| {
            Ok(match value {
                Some(text) => {
                    out.put_slice(text.as_bytes());
                    IsNull::No
                }
                None => IsNull::Yes,
            })
        };
        let formats = formats.iter().map(|format| i16::from(*format == ValueFormat::Binary));
        let bound = frontend::bind("", "", [0], values, write, formats, &mut message);
        bound.map_err(|_| Error::internal("a parameter cannot be sent to PostgreSQL"))?;
        frontend::execute("", 0, &mut message).map_err(unsendable)?;
        frontend::sync(&mut message);
        self.begin(&message).await?;
        let (tag, body) = self.message().await?;
        match tag {
            backend::BIND_COMPLETE_TAG => {
                self.state = State::Answering { rows: None };
                Ok(())
            }
            backend::ERROR_RESPONSE_TAG => Err(self.server_error(body, "run a statement").await),
            _ => Err(self.broken(protocol("run a statement"))),
        }
    }

    /// Reads what the server has sent and feeds it to the decoder, whose columns must be the statement's, in the formats that were asked
    /// for; between two calls the caller may take a batch.
    ///
    /// # Errors
    /// As [`CopyConnection::next_chunk`].
    pub async fn next_rows(&mut self, decoder: &mut CopyDecoder) -> Result<Progress> {
        decoder.begin_rows();
        loop {
            let mut has_fed = false;
            while let Some((tag, body)) = self.whole_message()? {
                let State::Answering { rows } = self.state else {
                    return Err(Error::internal("read rows: no statement is running"));
                };
                match tag {
                    backend::DATA_ROW_TAG => {
                        decoder.feed(&self.buffer[body])?;
                        has_fed = true;
                    }
                    backend::COMMAND_COMPLETE_TAG => {
                        let rows = select_count(&self.buffer[body]);
                        if rows.is_none() {
                            return Err(self.broken(protocol("read the count of a SELECT")));
                        }
                        self.state = State::Answering { rows };
                    }
                    backend::READY_FOR_QUERY_TAG => {
                        let Some(rows) = rows else { return Err(self.broken(protocol("end a statement"))) };
                        self.state = State::Idle;
                        decoder.feed(decode::TRAILER)?;
                        let decoded = decoder.finish()?;
                        if decoded != rows {
                            return Err(Error::internal(format!("the server sent {rows} rows, but {decoded} arrived")));
                        }
                        return Ok(Progress::Done { rows });
                    }
                    backend::ERROR_RESPONSE_TAG => return Err(self.server_error(body, "run a statement").await),
                    tag if is_asynchronous(tag) => self.note(tag, body),
                    _ => return Err(self.broken(protocol("read rows"))),
                }
            }
            if has_fed {
                return Ok(Progress::More);
            }
            self.fill().await?;
        }
    }

    async fn begin(&mut self, message: &[u8]) -> Result<()> {
        if self.state != State::Idle {
            return Err(Error::internal("a statement was sent over a connection that is not idle"));
        }
        self.state = State::Running;
        self.send(message).await
    }

    fn whole_message(&mut self) -> Result<Option<(u8, Range<usize>)>> {
        let Some((tag, length)) = self.header()? else { return Ok(None) };
        if self.unread.len() < 5 + length {
            return Ok(None);
        }
        self.take(5);
        Ok(Some((tag, self.take(length))))
    }
}

/// Source: "Message Formats", RowDescription.
fn row_description(body: &[u8]) -> Option<Vec<ResultColumn>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    (0..u16::from_be_bytes(*count))
        .map(|_| {
            let end = rest.iter().position(|byte| *byte == 0)?;
            let name = String::from_utf8(rest[..end].to_vec()).ok()?;
            // The table, the column in it; the type, its size, its modifier; the format.
            let (fields, after) = rest[end + 1..].split_first_chunk::<18>()?;
            rest = after;
            let number = |at: usize| <[u8; 4]>::try_from(fields.get(at..at + 4)?).ok();
            let (type_oid, modifier) = (u32::from_be_bytes(number(6)?), i32::from_be_bytes(number(12)?));
            Some(ResultColumn { name, type_oid, modifier })
        })
        .collect()
}

/// The count in the command tag `SELECT 42`.
fn select_count(body: &[u8]) -> Option<u64> {
    std::str::from_utf8(body).ok()?.strip_suffix('\0')?.strip_prefix("SELECT ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_read_whole_or_not_at_all() {
        let column = |name: &str, oid: u32, modifier: i32| {
            let mut bytes = name.as_bytes().to_vec();
            bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0]);
            bytes.extend_from_slice(&oid.to_be_bytes());
            bytes.extend_from_slice(&[0, 8]);
            bytes.extend_from_slice(&modifier.to_be_bytes());
            bytes.extend_from_slice(&[0, 0]);
            bytes
        };
        let body = [vec![0, 2], column("größe", 1700, 786_438), column("", 25, -1)].concat();
        let expect = |name: &str, type_oid, modifier| ResultColumn { name: name.to_owned(), type_oid, modifier };
        assert_eq!(row_description(&body), Some(vec![expect("größe", 1700, 786_438), expect("", 25, -1)]));
        for length in 0..body.len() {
            assert_eq!(row_description(&body[..length]), None, "cut at {length}");
        }
        let check = |tag: &str, expect| assert_eq!(select_count(tag.as_bytes()), expect, "{tag}");
        check("SELECT 42\0", Some(42));
        check("SELECT 42", None);
        check("INSERT 0 1\0", None);
    }
}
