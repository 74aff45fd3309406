//! HTTPS: the certificate and its key, read again when they change.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    config::Watched,
    error::{Code, Error, Result},
};

/// The files of a certificate and its key, and what they held when they were last right.
#[derive(Clone)]
pub struct TlsFiles(Arc<Inner>);

struct Inner {
    certificate: Watched,
    key: Watched,
    config: ArcSwap<ServerConfig>,
}

impl TlsFiles {
    /// Reads both; a server whose certificate cannot be read does not start.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Self> {
        let (certificate, key) = (Watched::new(certificate), Watched::new(key));
        let config = ArcSwap::from(read(&certificate, &key)?);
        Ok(Self(Arc::new(Inner { certificate, key, config })))
    }

    /// Reads them again if one has changed; returns whether it had. What cannot be read leaves what was.
    pub fn reload(&self) -> Result<bool> {
        let Inner { certificate, key, config } = &*self.0;
        // Both are asked, so that neither is left over for the next time.
        if !(certificate.has_changed() | key.has_changed()) {
            return Ok(false);
        }
        config.store(read(certificate, key)?);
        Ok(true)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.config.load_full())
    }
}

fn read(certificate: &Watched, key: &Watched) -> Result<Arc<ServerConfig>> {
    let wrong =
        |file: &Watched, what: String| Error::new(Code::InvalidConfig, format!("{}: {what}", file.path().display()));
    let chain = CertificateDer::pem_file_iter(certificate.path())
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificate, format!("is no certificate in PEM: {error}")))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "has no certificate in PEM".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key.path())
        .map_err(|error| wrong(key, format!("is no private key in PEM: {error}")))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| wrong(key, format!("is not the key of the certificate: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
