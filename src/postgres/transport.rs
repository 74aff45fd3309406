//! The stream to the server: TCP or a Unix socket, encrypted or not.
//!
//! Owns: opening it, and why it could not be opened. Must not know: users, passwords, queries.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_postgres::Config;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::tls::Tls;

/// One server, as the connection string names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Tcp { name: Option<String>, address: Option<IpAddr>, port: u16 },
    Unix { directory: PathBuf, port: u16 },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { name: Some(name), port, .. } if name.contains(':') => write!(formatter, "[{name}]:{port}"),
            Self::Tcp { name: Some(name), port, .. } => write!(formatter, "{name}:{port}"),
            Self::Tcp { address: Some(address), port, .. } => SocketAddr::new(*address, *port).fmt(formatter),
            Self::Tcp { name: None, address: None, port } => write!(formatter, "localhost:{port}"),
            Self::Unix { directory, port } => write!(formatter, "{}:{port}", directory.display()),
        }
    }
}

impl Endpoint {
    /// The same server with its address resolved: one endpoint for each address that its name has.
    pub(super) async fn resolve(&self) -> io::Result<Vec<Self>> {
        let Self::Tcp { name: Some(name), address: None, port } = self else { return Ok(vec![self.clone()]) };
        let addresses = tokio::net::lookup_host((name.as_str(), *port)).await?;
        let resolved =
            |address: SocketAddr| Self::Tcp { name: Some(name.clone()), address: Some(address.ip()), port: *port };
        Ok(addresses.map(resolved).collect())
    }
}

/// Why a stream could not be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The network, or nobody listens.
    Io(io::Error),
    /// The server does not encrypt, and we must.
    TlsRefused,
    /// The handshake failed: the certificate is not to be trusted, or versions do not meet.
    Tls(io::Error),
}

/// The stream to the server.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What to do about encryption on this attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    Never,
    IfOffered,
    Always,
}

/// Opens a stream to a resolved endpoint and, if asked, encrypts it. The caller bounds the time.
pub(super) async fn open(
    endpoint: &Endpoint,
    config: &Config,
    tls: &Tls,
    encryption: Encryption,
) -> Result<Stream, OpenError> {
    let (name, address, port) = match endpoint {
        Endpoint::Unix { directory, port } => {
            let path = directory.join(format!(".s.PGSQL.{port}"));
            // A socket of this machine needs no encryption; libpq does not encrypt it either.
            return UnixStream::connect(path).await.map(Stream::Unix).map_err(OpenError::Io);
        }
        Endpoint::Tcp { name, address, port } => (name, address, *port),
    };
    let mut stream = match (address, name) {
        (Some(address), _) => TcpStream::connect((*address, port)).await,
        (None, Some(name)) => TcpStream::connect((name.as_str(), port)).await,
        (None, None) => TcpStream::connect(("localhost", port)).await,
    }
    .map_err(OpenError::Io)?;
    tune(&stream, config).map_err(OpenError::Io)?;
    let client = match &tls.client {
        Some(client) if encryption != Encryption::Never => client.clone(),
        _ => return Ok(Stream::Tcp(stream)),
    };
    if !tls.direct && !ask_for_tls(&mut stream).await.map_err(OpenError::Io)? {
        return match encryption {
            Encryption::Always => Err(OpenError::TlsRefused),
            _ => Ok(Stream::Tcp(stream)),
        };
    }
    let server_name = match (name, address) {
        (Some(name), _) => ServerName::try_from(name.clone())
            .map_err(|error| OpenError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?,
        (None, Some(address)) => ServerName::IpAddress((*address).into()),
        (None, None) => ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into()),
    };
    let stream = TlsConnector::from(client).connect(server_name, stream).await.map_err(OpenError::Tls)?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// Sends SSLRequest; the server answers with one byte. A byte more would be somebody in the middle (CVE-2021-23222); it
/// is never read before the handshake, which then fails on it.
async fn ask_for_tls(stream: &mut TcpStream) -> io::Result<bool> {
    let mut request = bytes::BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    match stream.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        // An old or overloaded server answers with an ErrorResponse here, which must not be believed before TLS.
        _ => Err(io::Error::other("the server did not answer the request for encryption")),
    }
}

fn tune(stream: &TcpStream, config: &Config) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if config.get_keepalives() {
        let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
        if let Some(interval) = config.get_keepalives_interval() {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(retries) = config.get_keepalives_retries() {
            keepalive = keepalive.with_retries(retries);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(target_os = "linux")]
    if let Some(timeout) = config.get_tcp_user_timeout().filter(|timeout| !timeout.is_zero()) {
        socket.set_tcp_user_timeout(Some(*timeout))?;
    }
    Ok(())
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
