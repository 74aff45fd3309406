//! How a session begins: the start-up message, and proving who we are.
//!
//! Owns: cleartext, MD5 and SCRAM-SHA-256 authentication. Must not know: statements, COPY.
//!
//! Source: PostgreSQL documentation, "Frontend/Backend Protocol", sections "Start-up" and "SASL Authentication".

use std::collections::HashMap;

use bytes::BytesMut;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    },
    message::{backend, frontend},
};
use tokio_postgres::Config;

use super::{BUFFER_BYTES, CopyConnection, State, unsendable};
use crate::{
    error::{Code, Error, Result},
    postgres::{failure::protocol, transport::Stream},
};

impl CopyConnection {
    pub(in crate::postgres) async fn start(stream: Stream, config: &Config) -> Result<Self> {
        let mut connection = Self {
            stream,
            buffer: vec![0; BUFFER_BYTES],
            unread: 0..0,
            parameters: HashMap::new(),
            process: 0,
            secret: 0,
            state: State::Running,
            // Starting up is bounded by the connect timeout.
            read_timeout: None,
            origin: None,
        };
        let user = config.get_user().unwrap_or_default();
        let mut parameters = vec![
            ("user", user),
            ("database", config.get_dbname().unwrap_or(user)),
            ("application_name", config.get_application_name().unwrap_or("pilaster")),
            ("client_encoding", "UTF8"),
        ];
        if let Some(options) = config.get_options() {
            parameters.push(("options", options));
        }
        let mut message = BytesMut::new();
        frontend::startup_message(parameters, &mut message).map_err(unsendable)?;
        connection.send(&message).await?;
        connection.authenticate(user, config.get_password()).await?;
        connection.until_ready().await?;
        Ok(connection)
    }

    async fn authenticate(&mut self, user: &str, password: Option<&[u8]>) -> Result<()> {
        let mut scram: Option<ScramSha256> = None;
        let mut is_server_proved = false;
        loop {
            let (tag, body) = self.message().await?;
            match tag {
                backend::AUTHENTICATION_TAG => {}
                backend::ERROR_RESPONSE_TAG => return Err(self.server_error(body, "start the session").await),
                _ => return Err(self.broken(protocol("authenticate"))),
            }
            let Some((kind, data)) = self.buffer[body].split_first_chunk::<4>() else {
                return Err(self.broken(protocol("authenticate")));
            };
            let kind = i32::from_be_bytes(*kind);
            let mut reply = BytesMut::new();
            match (kind, &mut scram) {
                // A server that skips its last proof may be an impostor.
                (0, Some(_)) if !is_server_proved => return Err(self.broken(protocol("authenticate"))),
                (0, _) => return Ok(()),
                (3, None) => {
                    let password = password.ok_or_else(no_password)?;
                    frontend::password_message(password, &mut reply).map_err(unsendable)?;
                }
                (5, None) if data.len() == 4 => {
                    let salt = [data[0], data[1], data[2], data[3]];
                    let hash = md5_hash(user.as_bytes(), password.ok_or_else(no_password)?, salt);
                    frontend::password_message(hash.as_bytes(), &mut reply).map_err(unsendable)?;
                }
                (10, None) => {
                    if !data.split(|byte| *byte == 0).any(|mechanism| mechanism == SCRAM_SHA_256.as_bytes()) {
                        return Err(unknown_authentication("a SASL mechanism other than SCRAM-SHA-256"));
                    }
                    let exchange = ScramSha256::new(password.ok_or_else(no_password)?, ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, exchange.message(), &mut reply)
                        .map_err(unsendable)?;
                    scram = Some(exchange);
                }
                (11, Some(exchange)) => {
                    exchange.update(data).map_err(|error| protocol("authenticate").with_cause(error))?;
                    frontend::sasl_response(exchange.message(), &mut reply).map_err(unsendable)?;
                }
                (12, Some(exchange)) => {
                    exchange.finish(data).map_err(|error| protocol("authenticate").with_cause(error))?;
                    is_server_proved = true;
                    continue;
                }
                (2 | 7 | 8 | 9, _) => return Err(unknown_authentication("Kerberos, GSSAPI or SSPI")),
                _ => return Err(unknown_authentication("an unknown method")),
            }
            self.send(&reply).await?;
        }
    }

    async fn until_ready(&mut self) -> Result<()> {
        loop {
            let (tag, body) = self.message().await?;
            match tag {
                backend::BACKEND_KEY_DATA_TAG => {
                    if let [a, b, c, d, e, f, g, h] = self.buffer[body] {
                        self.process = i32::from_be_bytes([a, b, c, d]);
                        self.secret = i32::from_be_bytes([e, f, g, h]);
                    }
                }
                backend::READY_FOR_QUERY_TAG => {
                    self.state = State::Idle;
                    return Ok(());
                }
                backend::ERROR_RESPONSE_TAG => return Err(self.server_error(body, "start the session").await),
                _ => return Err(self.broken(protocol("start the session"))),
            }
        }
    }
}

/// The server wants a password and there is none.
pub(in crate::postgres) fn no_password() -> Error {
    Error::new(Code::InvalidConfig, "the server asks for a password, and the connection string has none")
        .with_hint("write postgresql://user:password@host/database, or set PGPASSWORD")
}

fn unknown_authentication(what: &str) -> Error {
    Error::new(Code::InvalidConfig, format!("the server asks for {what} to authenticate, which is not supported"))
        .with_hint("let pg_hba.conf ask this role for scram-sha-256")
}
