//! `sinew server --keda`: where a scaler of somebody else's may ask how many instances a role is to
//! have. A build without the feature `keda` has neither the flags nor what answers.

#[cfg(feature = "keda")]
use std::net::SocketAddr;

use sinew_bus::{Bus, Tls};
#[cfg(feature = "keda")]
use sinew_server::keda::{Face, KedaError};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "keda")]
use crate::exit::{Code, Fault};

/// Who may ask, and where.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Askers {
    /// Where KEDA may ask over gRPC how many instances each role of the org is to have
    #[cfg(feature = "keda")]
    #[arg(long, value_name = "ADDRESS:PORT")]
    keda: Option<SocketAddr>,
    /// Answer KEDA over TLS, with --tls-cert and --tls-key; with --tls-ca, whoever asks must show a
    /// certificate that it has signed
    #[cfg(feature = "keda")]
    #[arg(long, requires = "keda")]
    keda_tls: bool,
}

/// What answers.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    #[cfg(feature = "keda")]
    keda: Option<Face>,
}

#[cfg(feature = "keda")]
impl Askers {
    /// Listens where it was told to.
    ///
    /// # Errors
    /// When nothing can listen there, or the files of the encryption are not what they are to be.
    pub(crate) async fn bind(&self, tls: &Tls) -> anyhow::Result<Outside> {
        let Some(address) = self.keda else { return Ok(Outside::default()) };
        let tls = self.keda_tls.then_some(tls);
        let face = Face::bind(address, tls).await.map_err(|error| match &error {
            KedaError::Listen { source, .. } => {
                Fault::new(Code::Refused, format!("{error}: {source}"))
                    .hint("name another --keda ADDRESS:PORT")
                    .into()
            }
            KedaError::NoCertificate => Fault::usage(error.to_string())
                .hint("name --tls-cert FILE and --tls-key FILE")
                .into(),
            KedaError::File { .. } | KedaError::Broken(_) | _ => anyhow::Error::from(error),
        })?;
        Ok(Outside { keda: Some(face) })
    }
}

#[cfg(not(feature = "keda"))]
impl Askers {
    /// There is nobody who may ask.
    ///
    /// # Errors
    /// Never.
    pub(crate) async fn bind(&self, _: &Tls) -> anyhow::Result<Outside> {
        std::future::ready(Ok(Outside::default())).await
    }
}

impl Outside {
    /// Where KEDA may ask.
    pub(crate) fn keda(&self) -> Option<String> {
        #[cfg(feature = "keda")]
        return self.keda.as_ref().map(|face| {
            let scheme = if face.is_encrypted() { "grpcs" } else { "grpc" };
            format!("{scheme}://{}", face.address())
        });
        #[cfg(not(feature = "keda"))]
        None
    }

    /// Answers until `stop`.
    ///
    /// # Errors
    /// When a connection breaks.
    #[cfg(feature = "keda")]
    pub(crate) async fn run(self, bus: Bus, stop: CancellationToken) -> anyhow::Result<()> {
        match self.keda {
            Some(face) => Ok(face.run(bus, stop).await?),
            None => Ok(()),
        }
    }

    /// Answers nobody.
    ///
    /// # Errors
    /// Never.
    #[cfg(not(feature = "keda"))]
    pub(crate) async fn run(self, _: Bus, _: CancellationToken) -> anyhow::Result<()> {
        std::future::ready(Ok(())).await
    }
}
