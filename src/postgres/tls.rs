//! Encryption of connections to the source, as libpq's `sslmode` defines it, by rustls.
//!
//! Owns: which certificates are trusted and what is verified. Must not know: sockets, the PostgreSQL protocol.
//! Source: PostgreSQL documentation, "SSL Support", "SSL Mode Descriptions".

use std::{path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};

use super::dsn::TlsMode;
use crate::error::{Code, Error, Result};

/// What a connection string says about encryption.
#[derive(Default)]
pub(super) struct TlsOptions {
    pub(super) mode: TlsMode,
    pub(super) root_certificate: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    /// `sslnegotiation=direct`: the handshake begins at once, without asking the server (PostgreSQL 17).
    pub(super) direct: bool,
}

/// Encryption, ready to use: the certificates have been read, so that a wrong path refuses to start.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) mode: TlsMode,
    pub(super) direct: bool,
    pub(super) client: Option<Arc<ClientConfig>>,
}

impl Tls {
    pub(super) fn new(options: TlsOptions) -> Result<Self> {
        let TlsOptions { mode, root_certificate, certificate, key, direct } = options;
        // A root certificate turns `require` into `verify-ca`, as in libpq.
        let mode = match (mode, &root_certificate) {
            (TlsMode::Require, Some(path)) if path.as_os_str() != "system" => TlsMode::VerifyCa,
            (mode, _) => mode,
        };
        if root_certificate.as_ref().is_some_and(|path| path.as_os_str() == "system") && mode != TlsMode::VerifyFull {
            return Err(Error::new(Code::InvalidConfig, "sslrootcert=system needs sslmode=verify-full").with_hint(
                "anybody can get a certificate from a public authority; only the host's name tells them apart",
            ));
        }
        if direct && !matches!(mode, TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull) {
            return Err(Error::new(Code::InvalidConfig, "sslnegotiation=direct needs sslmode=require or stricter"));
        }
        if mode == TlsMode::Disable {
            return Ok(Self { mode, direct, client: None });
        }
        let provider = Arc::new(ring::default_provider());
        let check = match mode {
            TlsMode::VerifyFull => Check::AuthorityAndName,
            TlsMode::VerifyCa => Check::Authority,
            _ => Check::Nothing,
        };
        let roots = if check == Check::Nothing { Roots::none() } else { Roots::read(root_certificate)? };
        let verifier = Verifier { provider: provider.clone(), roots, check };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::internal("ring offers no TLS version").with_cause(error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut client = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let chain = read_certificates(&certificate)?;
                let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| {
                    Error::new(Code::InvalidConfig, format!("cannot read sslkey {}: {error}", key.display()))
                })?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    Error::new(Code::InvalidConfig, format!("sslcert and sslkey do not fit: {error}"))
                })?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => return Err(Error::new(Code::InvalidConfig, "sslcert and sslkey must be given together")),
        };
        client.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self { mode, direct, client: Some(Arc::new(client)) })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Nothing,
    Authority,
    AuthorityAndName,
}

#[derive(Debug)]
struct Roots {
    store: RootCertStore,
    /// A server's own certificate given as the root: webpki takes no authority for a server, though libpq does.
    pinned: Vec<CertificateDer<'static>>,
}

impl Roots {
    fn none() -> Self {
        Self { store: RootCertStore::empty(), pinned: Vec::new() }
    }

    fn read(path: Option<PathBuf>) -> Result<Self> {
        let mut store = RootCertStore::empty();
        match path.filter(|path| path.as_os_str() != "system") {
            Some(path) => {
                let pinned = read_certificates(&path)?;
                // What cannot be an authority can still be pinned.
                store.add_parsable_certificates(pinned.iter().cloned());
                Ok(Self { store, pinned })
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                store.add_parsable_certificates(found.certs);
                if store.is_empty() {
                    let mut error = Error::new(
                        Code::InvalidConfig,
                        "this system has no trusted certificates to verify the source with",
                    )
                    .with_hint("install ca-certificates, or give sslrootcert=/path/to/ca.pem");
                    if let Some(cause) = found.errors.into_iter().next() {
                        error = error.with_cause(cause);
                    }
                    return Err(error);
                }
                Ok(Self { store, pinned: Vec::new() })
            }
        }
    }
}

fn read_certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |why: String| {
        Error::new(Code::InvalidConfig, format!("cannot read certificates from {}: {why}", path.display()))
            .with_hint("give a PEM file with at least one BEGIN CERTIFICATE")
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() { Err(wrong("it holds none".to_owned())) } else { Ok(certificates) }
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    roots: Roots,
    check: Check,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if self.check == Check::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !self.roots.pinned.iter().any(|pinned| pinned == end_entity) {
            if self.roots.store.is_empty() {
                return Err(TlsError::InvalidCertificate(CertificateError::UnknownIssuer));
            }
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots.store,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        if self.check == Check::AuthorityAndName {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
