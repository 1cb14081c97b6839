//! An encrypted connection: whose certificate the server must have, and which one this end shows.
//! The files are read again at each reconnect, so that renewed ones need no restart.

use std::{error::Error, fmt, io, path::PathBuf};

use async_nats::{ConnectOptions, rustls};
use serde::{Deserialize, Serialize};

use super::ConnectError;

/// The files of an encrypted connection. Without any, the connection is encrypted where the server
/// wants it to be, and its certificate is held against those that the system trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// The certificate authority that must have signed the server's certificate, as PEM. Where it
    /// is set, no other is trusted, and nothing is sent in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The certificate that is shown to a server that asks for one, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// The private key of that certificate, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// What stood in the way of an encrypted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The server's certificate is of another authority.
    OtherAuthority,
    /// The server's certificate has expired, or is not valid yet.
    Expired,
    /// The server's certificate is for another name.
    OtherName,
    /// The server wants a certificate of this end.
    CertificateWanted,
    /// The server does not take the certificate of this end.
    CertificateRefused,
    /// The server does not speak TLS.
    Plain,
    /// Something else.
    Other,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherAuthority => "the server's certificate is not of a known authority",
            Self::Expired => "the server's certificate has expired, or is not valid yet",
            Self::OtherName => "the server's certificate is for another host name",
            Self::CertificateWanted => "the server wants a certificate of the client",
            Self::CertificateRefused => "the server does not take the client's certificate",
            Self::Plain => "the server does not speak TLS",
            Self::Other => "the handshake failed",
        })
    }
}

impl Tls {
    /// Whether anything is set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ca.is_none() && self.cert.is_none() && self.key.is_none()
    }

    /// Connects with these files.
    ///
    /// # Errors
    /// [`ConnectError::Tls`], where a file is not there or not what it is to be: the client itself
    /// would try for ever.
    pub(super) async fn apply(
        &self,
        options: ConnectOptions,
    ) -> Result<ConnectOptions, ConnectError> {
        let Self { ca, cert, key } = self;
        for (path, what) in [(ca, "CERTIFICATE"), (cert, "CERTIFICATE"), (key, "PRIVATE KEY")] {
            let Some(path) = path else { continue };
            let failed = |source| ConnectError::Tls { path: path.clone(), source };
            let text = tokio::fs::read_to_string(path).await.map_err(failed)?;
            if !text.contains("-----BEGIN ") || !text.contains(&format!("{what}-----")) {
                let what = what.to_lowercase();
                let why = format!("there is no {what} in it, as PEM");
                return Err(failed(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
        }
        let options = match ca {
            Some(ca) => options.add_root_certificates(ca.clone()).require_tls(true),
            None => options,
        };
        match (cert, key) {
            (Some(cert), Some(key)) => {
                Ok(options.add_client_certificate(cert.clone(), key.clone()).require_tls(true))
            }
            (Some(path), None) | (None, Some(path)) => {
                let why = "a certificate and its private key belong together".to_owned();
                let source = io::Error::new(io::ErrorKind::InvalidInput, why);
                Err(ConnectError::Tls { path: path.clone(), source })
            }
            (None, None) => Ok(options),
        }
    }
}

/// What a failure to connect has to do with the encryption; `None` where nothing.
pub(super) fn fault(error: &async_nats::ConnectError) -> Option<Fault> {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(inner) = source {
        if let Some(fault) = inner.downcast_ref::<rustls::Error>() {
            return Some(of(fault));
        }
        // An error of I/O tells what it wraps only when asked for it.
        let wrapped = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(fault) = wrapped.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(of(fault));
        }
        source = inner.source();
    }
    (error.kind() == async_nats::ConnectErrorKind::Tls).then_some(Fault::Other)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "little of what rustls tells needs its own words"
)]
const fn of(error: &rustls::Error) -> Fault {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error as Tls};
    match error {
        Tls::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer | Bad::BadSignature => Fault::OtherAuthority,
            Bad::Expired
            | Bad::ExpiredContext { .. }
            | Bad::NotValidYet
            | Bad::NotValidYetContext { .. } => Fault::Expired,
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Fault::OtherName,
            _ => Fault::Other,
        },
        Tls::AlertReceived(alert) => match alert {
            Alert::CertificateRequired => Fault::CertificateWanted,
            Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown => Fault::CertificateRefused,
            _ => Fault::Other,
        },
        Tls::InvalidMessage(_) => Fault::Plain,
        _ => Fault::Other,
    }
}
