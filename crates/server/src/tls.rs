//! The certificates of `sinew up --tls`: an authority of the data folder's own, and what it signs.
//! They are made once, are for their owner alone, and are made anew when they come close to their
//! end. Nothing here is trusted by anybody who was not given the authority's file.
//!
//! | file in `tls/` | what it is |
//! |---|---|
//! | `ca.pem` | the authority, which clients are told to trust |
//! | `server.pem`, `server-key.pem` | what the server shows: for `localhost` and the loopback addresses |
//! | `client.pem`, `client-key.pem` | what clients show where the server asks for it |
//! | `ca-key.pem` | the authority's key: whoever has it can be any server or client |
//! | `made.json` | until when each is valid |

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use serde::{Deserialize, Serialize};
use sinew_bus::{Tls, clock};
use sinew_model::{
    Time,
    limits::{TLS_AUTHORITY_DAYS, TLS_CERTIFICATE_DAYS, TLS_RENEW_DAYS},
};

use crate::private;

/// The folder of the certificates, within the data folder.
pub(crate) const FOLDER: &str = "tls";

/// What the engine asks of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// They know the server by its certificate.
    Server,
    /// They show a certificate of the same authority as well.
    Mutual,
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file can't be read or written.
    #[error("{} can't be read or written", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate can't be made.
    #[error("a certificate can't be made")]
    Make(#[from] rcgen::Error),
    /// This machine's clock says a year that no certificate has.
    #[error("the clock of this machine says {now}")]
    Clock {
        /// What it says.
        now: Time,
    },
}

/// Until when each is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    authority: Time,
    certificates: Time,
}

/// What is to be done before the engine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Certificates,
    Everything,
}

impl Made {
    fn due(made: Option<Self>, now: Time) -> Due {
        let soon = now.plus(days(TLS_RENEW_DAYS));
        match made {
            Some(made) if made.authority <= soon => Due::Everything,
            Some(made) if made.certificates <= soon => Due::Certificates,
            Some(_) => Due::Nothing,
            None => Due::Everything,
        }
    }
}

fn days(days: i64) -> Duration {
    Duration::from_secs(u64::try_from(days).unwrap_or(0).saturating_mul(24 * 3600))
}

/// Makes sure that a data folder has certificates that are valid for a while, and says with which
/// of them a client connects.
///
/// # Errors
/// See [`TlsError`].
pub fn prepare(data_dir: &Path, encryption: Encryption) -> Result<Tls, TlsError> {
    prepare_at(data_dir, encryption, clock::now())
}

fn prepare_at(data_dir: &Path, encryption: Encryption, now: Time) -> Result<Tls, TlsError> {
    let files = Files { folder: data_dir.join(FOLDER) };
    private::folder(&files.folder).map_err(|source| files.failed(FOLDER, source))?;
    let made = files.made();
    let due = Made::due(made, now);
    if due == Due::Everything {
        let key = KeyPair::generate()?;
        let until = now.plus(days(TLS_AUTHORITY_DAYS));
        let authority = authority(now, until)?.self_signed(&key)?;
        files.write("ca-key.pem", &key.serialize_pem())?;
        files.write("ca.pem", &authority.pem())?;
        files.renew(now, until)?;
    } else if let (Due::Certificates, Some(made)) = (due, made) {
        files.renew(now, made.authority)?;
    }
    let path = |name: &str| Some(files.folder.join(name));
    Ok(match encryption {
        Encryption::Server => Tls { ca: path("ca.pem"), cert: None, key: None },
        Encryption::Mutual => {
            Tls { ca: path("ca.pem"), cert: path("client.pem"), key: path("client-key.pem") }
        }
    })
}

struct Files {
    folder: PathBuf,
}

impl Files {
    fn failed(&self, name: &str, source: io::Error) -> TlsError {
        TlsError::File { path: self.folder.join(name), source }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), TlsError> {
        private::write(&self.folder.join(name), text.as_bytes())
            .map_err(|source| self.failed(name, source))
    }

    fn read(&self, name: &str) -> Result<String, TlsError> {
        std::fs::read_to_string(self.folder.join(name)).map_err(|source| self.failed(name, source))
    }

    /// What was made; `None` where a file is missing, for then all of it is made anew.
    fn made(&self) -> Option<Made> {
        let all = ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem", "client.pem"];
        let there = all.iter().chain(&["client-key.pem"]).all(|it| self.folder.join(it).is_file());
        let text = self.read("made.json").ok().filter(|_| there)?;
        serde_json::from_str(&text).ok()
    }

    /// Makes the certificates of the server and of its clients.
    fn renew(&self, now: Time, authority_until: Time) -> Result<(), TlsError> {
        let key = KeyPair::from_pem(&self.read("ca-key.pem")?)?;
        let issuer = Issuer::new(authority(now, authority_until)?, key);
        let until = now.plus(days(TLS_CERTIFICATE_DAYS)).min(authority_until);
        for (name, usage) in [
            ("server", ExtendedKeyUsagePurpose::ServerAuth),
            ("client", ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
            let mut params = CertificateParams::new(names)?;
            params.distinguished_name.push(DnType::CommonName, format!("sinew {name}"));
            params.extended_key_usages = vec![usage];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.use_authority_key_identifier_extension = true;
            set_validity(&mut params, now, until)?;
            let own = KeyPair::generate()?;
            let certificate = params.signed_by(&own, &issuer)?;
            self.write(&format!("{name}-key.pem"), &own.serialize_pem())?;
            self.write(&format!("{name}.pem"), &certificate.pem())?;
        }
        let made = Made { authority: authority_until, certificates: until };
        let text = serde_json::to_string_pretty(&made).map_err(io::Error::from);
        let text = text.map_err(|source| self.failed("made.json", source))?;
        self.write("made.json", &text)
    }
}

/// The authority. Its name and key are all that a certificate which it signed knows of it, so it is
/// the same authority however often this is called.
fn authority(now: Time, until: Time) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "sinew local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, until)?;
    Ok(params)
}

/// Valid from the day before, since clocks differ, to the day of the end.
fn set_validity(params: &mut CertificateParams, now: Time, until: Time) -> Result<(), TlsError> {
    let (from, to) = (date(now.minus(days(1)))?, date(until)?);
    params.not_before = date_time_ymd(from.0, from.1, from.2);
    params.not_after = date_time_ymd(to.0, to.1, to.2);
    Ok(())
}

/// The year, month and day of a moment.
fn date(at: Time) -> Result<(i32, u8, u8), TlsError> {
    let text = at.to_string();
    let mut parts = text.split(['-', 'T']);
    let mut next = || parts.next().and_then(|part| part.parse::<u16>().ok());
    let (Some(year), Some(month), Some(day)) = (next(), next(), next()) else {
        return Err(TlsError::Clock { now: at });
    };
    let small = |number: u16| u8::try_from(number).unwrap_or(1);
    Ok((i32::from(year), small(month), small(day)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    use sinew_testkit::TempDir;

    #[test]
    fn certificates_stay_until_they_come_close_to_their_end() {
        let folder = TempDir::new("tls");
        let now: Time = "2026-05-10T14:23:01Z".parse().unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.join(FOLDER).join(name)).unwrap();
        let all = || ["ca.pem", "server.pem", "client.pem"].map(read);
        let made = |at: Time| prepare_at(folder.path(), Encryption::Mutual, at).unwrap();
        let tls = made(now);
        assert!(tls.ca.is_some() && tls.cert.is_some() && tls.key.is_some());
        let [ca, server, client] = all();
        made(now.plus(days(TLS_CERTIFICATE_DAYS - TLS_RENEW_DAYS - 1)));
        assert_eq!(all(), [ca.clone(), server.clone(), client]);
        let later = now.plus(days(TLS_CERTIFICATE_DAYS - TLS_RENEW_DAYS));
        made(later);
        assert_eq!(read("ca.pem"), ca, "clients need no new file");
        assert_ne!(read("server.pem"), server);
        made(now.plus(days(TLS_AUTHORITY_DAYS)));
        assert_ne!(read("ca.pem"), ca);
        std::fs::remove_file(folder.join(FOLDER).join("client-key.pem")).unwrap();
        made(now.plus(days(TLS_AUTHORITY_DAYS)));
        assert!(folder.join(FOLDER).join("client-key.pem").is_file());
    }

    #[test]
    fn all_of_it_is_for_its_owner_alone() {
        let folder = TempDir::new("tls");
        let tls = prepare(folder.path(), Encryption::Server).unwrap();
        assert_eq!((tls.cert, tls.key), (None, None));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.join(FOLDER)), 0o700);
        for file in std::fs::read_dir(folder.join(FOLDER)).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
    }

    #[tokio::test]
    async fn a_certificate_that_has_expired_is_not_taken() {
        let folder = TempDir::new("tls");
        let past = clock::now().minus(days(TLS_CERTIFICATE_DAYS + 2));
        let tls = prepare_at(folder.path(), Encryption::Server, past).unwrap();
        let file = |name: &str| folder.join(FOLDER).join(name).display().to_string();
        let (cert, key) = (file("server.pem"), file("server-key.pem"));
        let config = format!("tls {{ cert_file: \"{cert}\", key_file: \"{key}\" }}");
        let server = sinew_testkit::NatsServer::builder().extra_config(&config).start();
        let connect = async |tls: &Tls| {
            let mut config = sinew_bus::Config::new(server.url(), "acme".parse().unwrap());
            config.tls = tls.clone();
            sinew_bus::Bus::connect(config).await
        };
        let error = connect(&tls).await.unwrap_err();
        assert!(error.to_string().contains("has expired"), "{error}");
        prepare(folder.path(), Encryption::Server).unwrap();
        server.stop();
        server.restart();
        connect(&tls).await.unwrap();
    }
}
