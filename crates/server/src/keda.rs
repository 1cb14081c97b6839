//! What KEDA asks over gRPC: whether a role is to be awake, and how many instances it is to have.
//! It decides nothing: it tells what the leader of the scalers says (`model::scale::outside`), and
//! refuses to answer where nobody has said anything for long, so that KEDA keeps what there is.

mod follow;

use std::{io, net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc};

use follow::{Latest, Told};
use futures::{Stream, StreamExt as _};
use sinew_bus::{Bus, Tls, clock};
use sinew_model::{
    OrgId,
    limits::OUTSIDE_STREAMS,
    scale::outside::{Answer, INSTANCES, INSTANCES_EACH, NoAnswer, Question, QuestionError},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};
use wire::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec,
    MetricValue, ScaledObjectRef,
    external_scaler_server::{ExternalScaler, ExternalScalerServer},
};

/// The messages of the contract, as they are made from `proto/externalscaler.proto`.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "the contract is KEDA's, and so is its code"
)]
pub mod wire {
    tonic::include_proto!("externalscaler");
}

/// Why KEDA can't be answered, or no longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KedaError {
    /// Nothing can listen there.
    #[error("nothing can listen on {address}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the machine says.
        #[source]
        source: io::Error,
    },
    /// A file of the encryption can't be read.
    #[error("{} can't be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the machine says.
        #[source]
        source: io::Error,
    },
    /// The encryption lacks a certificate or its key.
    #[error("whoever is asked over TLS needs a certificate and its private key")]
    NoCertificate,
    /// The connection broke, or the files of the encryption are not what they are to be.
    #[error("the face for KEDA is broken")]
    Broken(#[from] tonic::transport::Error),
}

/// The face, bound and not yet answering.
#[derive(Debug)]
pub struct Face {
    listener: TcpListener,
    address: SocketAddr,
    server: Server,
    encrypted: bool,
}

impl Face {
    /// Listens. With `tls` it shows that certificate, and where an authority is named too, whoever
    /// asks must show one that it has signed.
    ///
    /// # Errors
    /// See [`KedaError`].
    pub async fn bind(address: SocketAddr, tls: Option<&Tls>) -> Result<Self, KedaError> {
        let server = match tls {
            Some(tls) => Server::builder().tls_config(encryption(tls).await?)?,
            None => Server::builder(),
        };
        let failed = |source| KedaError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, server, encrypted: tls.is_some() })
    }

    /// Where it listens, as the `scalerAddress` of a ScaledObject wants it.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Answers until `shutdown`.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn run(mut self, bus: Bus, shutdown: CancellationToken) -> Result<(), KedaError> {
        let org = bus.subjects().org().clone();
        let told = Told::default();
        let scaler = Scaler {
            org,
            latest: told.latest(),
            streams: Arc::new(Semaphore::new(OUTSIDE_STREAMS)),
            shutdown: shutdown.clone(),
        };
        let asked = self
            .server
            .add_service(ExternalScalerServer::new(scaler))
            .serve_with_incoming_shutdown(
                TcpIncoming::from(self.listener),
                shutdown.clone().cancelled_owned(),
            );
        let (asked, ()) = tokio::join!(
            async {
                let asked = asked.await;
                shutdown.cancel();
                asked
            },
            told.follow(&bus, shutdown.clone())
        );
        Ok(asked?)
    }
}

async fn encryption(tls: &Tls) -> Result<ServerTlsConfig, KedaError> {
    let read = async |path: &PathBuf| {
        let failed = |source| KedaError::File { path: path.clone(), source };
        tokio::fs::read(path).await.map_err(failed)
    };
    let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else {
        return Err(KedaError::NoCertificate);
    };
    let own = Identity::from_pem(read(cert).await?, read(key).await?);
    let config = ServerTlsConfig::new().identity(own);
    Ok(match &tls.ca {
        Some(ca) => config.client_ca_root(Certificate::from_pem(read(ca).await?)),
        None => config,
    })
}

/// Answers each question from the newest signal.
#[derive(Debug)]
struct Scaler {
    org: OrgId,
    latest: Latest,
    /// A permit for each stream of answers that is open.
    streams: Arc<Semaphore>,
    /// Ends the streams, for a server that drains waits for them.
    shutdown: CancellationToken,
}

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Scaler {
    fn question(&self, asked: &ScaledObjectRef) -> Result<Question, Status> {
        let get = |key: &str| asked.scaler_metadata.get(key).map(String::as_str);
        Question::read(get, &self.org).map_err(refused)
    }

    fn answer(&self, asked: &ScaledObjectRef) -> Result<Answer, Status> {
        let latest = self.latest.borrow().clone();
        self.question(asked)?.answer(latest.as_deref(), clock::now()).map_err(unanswered)
    }

    /// Tells at once how it stands, and again whenever that changes.
    fn stream<T: Send + 'static>(
        &self,
        asked: &ScaledObjectRef,
        say: impl Fn(Answer) -> T + Send + 'static,
    ) -> Result<Response<Answers<T>>, Status> {
        let question = self.question(asked)?;
        let permit = Arc::clone(&self.streams)
            .try_acquire_owned()
            .map_err(|_all_taken| Status::resource_exhausted("too many streams are open"))?;
        let answers = follow::answers(self.latest.clone(), question)
            .map(move |answer| {
                let _open = &permit;
                answer.map(&say).map_err(unanswered)
            })
            .take_until(self.shutdown.clone().cancelled_owned());
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    async fn is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<IsActiveResponse>, Status> {
        let answer = self.answer(request.get_ref())?;
        Ok(Response::new(IsActiveResponse { result: answer.active }))
    }

    type StreamIsActiveStream = Answers<IsActiveResponse>;

    async fn stream_is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        self.stream(request.get_ref(), |it| IsActiveResponse { result: it.active })
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        self.question(request.get_ref())?;
        Ok(Response::new(spec()))
    }

    async fn get_metrics(
        &self,
        request: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        let GetMetricsRequest { scaled_object_ref, metric_name } = request.into_inner();
        if metric_name != INSTANCES {
            let words = format!("the only metric is {INSTANCES}, not `{metric_name}`");
            return Err(Status::not_found(words));
        }
        let answer = self.answer(&scaled_object_ref.unwrap_or_default())?;
        let value = MetricValue {
            metric_name,
            metric_value: answer.instances.into(),
            metric_value_float: answer.instances.into(),
        };
        Ok(Response::new(GetMetricsResponse { metric_values: vec![value] }))
    }

    type StreamMetricSpecStream = Answers<GetMetricSpecResponse>;

    async fn stream_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamMetricSpecStream>, Status> {
        self.question(request.get_ref())?;
        // The target is a constant, so there is never a change to tell: KEDA then asks by itself.
        Err(Status::unimplemented("the target never changes: ask GetMetricSpec"))
    }
}

fn spec() -> GetMetricSpecResponse {
    let spec = MetricSpec {
        metric_name: INSTANCES.to_owned(),
        target_size: INSTANCES_EACH.into(),
        target_size_float: INSTANCES_EACH.into(),
    };
    GetMetricSpecResponse { metric_specs: vec![spec] }
}

fn refused(error: QuestionError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// KEDA keeps what there is while it gets an error, or goes by the `fallback` of the ScaledObject.
fn unanswered(error: NoAnswer) -> Status {
    let words = error.to_string();
    if matches!(error, NoAnswer::UnknownRole(_)) {
        Status::not_found(words)
    } else {
        Status::unavailable(words)
    }
}
