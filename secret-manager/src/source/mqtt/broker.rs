//! How the broker is reached: a Unix socket, TLS, or TCP in the clear.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// Where the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broker {
    /// On this machine. Who may connect is the matter of the socket's directory and mode.
    Unix(PathBuf),
    /// By TLS 1.2 or 1.3. The broker's certificate must be for `host` and lead to a certificate in
    /// the file `ca`, PEM, which is read at every connection. There is no way to leave that out.
    Tls {
        /// Name or address.
        host: String,
        /// TCP port, 8883 as a rule.
        port: u16,
        /// The authorities; `/etc/ssl/certs/ca-certificates.crt` are those of the system.
        ca: PathBuf,
    },
    /// In the clear: secrets and password can be read, and secrets be forged, by whoever is on
    /// the way. For a broker on the loopback address.
    DangerClear {
        /// Name or address.
        host: String,
        /// TCP port, 1883 as a rule.
        port: u16,
    },
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the broker cannot be reached: {0}")]
    Reach(io::Error),
    #[error("TLS with the broker failed: {0}")]
    Tls(io::Error),
    #[error("the file of authorities {path} cannot be used: {reason}")]
    Authorities { path: PathBuf, reason: String },
    #[error("the broker's host is neither a name nor an address")]
    Host,
}

/// What packets are read from and written to.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Broker {
    /// Its TCP port; none on this machine's socket.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Unix(_) => None,
            Self::Tls { port, .. } | Self::DangerClear { port, .. } => Some(*port),
        }
    }

    /// The file of authorities that it is checked by.
    #[must_use]
    pub const fn authorities(&self) -> Option<&PathBuf> {
        match self {
            Self::Tls { ca, .. } => Some(ca),
            Self::Unix(_) | Self::DangerClear { .. } => None,
        }
    }

    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>, ConnectError> {
        match self {
            Self::Unix(path) => {
                Ok(Box::new(UnixStream::connect(path).await.map_err(ConnectError::Reach)?))
            }
            Self::DangerClear { host, port } => Ok(Box::new(reach(host, *port).await?)),
            Self::Tls { host, port, ca } => {
                let config = tls_config(ca)?;
                let name =
                    ServerName::try_from(host.clone()).map_err(|_name| ConnectError::Host)?;
                let stream = reach(host, *port).await?;
                let connector = TlsConnector::from(Arc::new(config));
                let stream = connector.connect(name, stream).await.map_err(ConnectError::Tls)?;
                Ok(Box::new(stream))
            }
        }
    }
}

async fn reach(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let stream = TcpStream::connect((host, port)).await.map_err(ConnectError::Reach)?;
    // Packets are small and answered: there is nothing to gather.
    stream.set_nodelay(true).map_err(ConnectError::Reach)?;
    Ok(stream)
}

fn tls_config(ca: &Path) -> Result<ClientConfig, ConnectError> {
    let unusable = |reason: String| ConnectError::Authorities { path: ca.to_owned(), reason };
    let pem = fs::read(ca).map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
