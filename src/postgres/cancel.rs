//! Cancelling a statement of the source.
//!
//! Owns: [`CancelToken`], for either kind of connection. Must not know: what runs.
//!
//! Source: PostgreSQL documentation, "Canceling Requests in Progress".

use std::io;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt as _;
use tokio_postgres::NoTls;

use super::{
    connect::SourceConfig,
    failure::{from_driver, lost},
};
use crate::error::{Code, Error, Result};

/// Cancels the statement that a connection runs, over a connection of its own.
#[derive(Clone)]
pub struct CancelToken {
    server: SourceConfig,
    key: Key,
}

#[derive(Clone)]
enum Key {
    Driver(Box<tokio_postgres::CancelToken>),
    Ours { process: i32, secret: i32 },
}

impl CancelToken {
    pub(super) fn driver(server: SourceConfig, token: tokio_postgres::CancelToken) -> Self {
        Self { server, key: Key::Driver(Box::new(token)) }
    }

    pub(super) fn ours(server: SourceConfig, process: i32, secret: i32) -> Self {
        Self { server, key: Key::Ours { process, secret } }
    }

    /// Asks the server to cancel. The server never says whether it did.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when the server cannot be reached within the connect timeout.
    pub async fn cancel(&self) -> Result<()> {
        let deadline = self.server.connect_timeout();
        tokio::time::timeout(deadline, self.send())
            .await
            .unwrap_or_else(|_| Err(Error::new(Code::Unavailable, format!("cancel: no answer in {deadline:?}"))))
    }

    async fn send(&self) -> Result<()> {
        let mut stream = self.server.open_for_cancel().await?;
        match &self.key {
            Key::Driver(token) => {
                token.cancel_query_raw(stream, NoTls).await.map_err(|error| from_driver(error, "cancel"))
            }
            Key::Ours { process, secret } => {
                let mut request = BytesMut::new();
                postgres_protocol::message::frontend::cancel_request(*process, *secret, &mut request);
                let failed = |error: io::Error| lost("cancel").with_cause(error);
                stream.write_all(&request).await.map_err(failed)?;
                stream.flush().await.map_err(failed)?;
                stream.shutdown().await.map_err(failed)
            }
        }
    }
}
