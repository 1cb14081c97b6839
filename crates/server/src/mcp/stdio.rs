//! MCP over stdin and stdout, for the host that started this process. When the host is gone, its
//! tasks go back at once.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rmcp::{ServiceExt as _, service::ServerInitializeError, transport::stdio_pipes};
use sinew_model::{InstanceId, Role, limits::MCP_CLOSE};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::{
    face::{Door, Face},
    hub::{Hub, Origin, Speaker},
};

/// Why a host was not served.
#[derive(Debug, thiserror::Error)]
#[error("the host does not speak MCP")]
pub struct StdioError(#[from] Box<ServerInitializeError>);

/// Serves the host on stdin and stdout until it is gone, or `stop`. Nothing else may be printed on
/// stdout meanwhile.
///
/// # Errors
/// When what the host says is not MCP.
pub async fn serve(
    origin: Origin,
    role: Role,
    instance: Option<InstanceId>,
    stop: CancellationToken,
) -> Result<(), StdioError> {
    serve_on(origin, (role, instance), stdio_pipes(), stop).await
}

/// Serves the host at the other ends of a reader and a writer.
///
/// # Errors
/// As [`serve`].
pub async fn serve_on<R, W>(
    origin: Origin,
    (role, instance): (Role, Option<InstanceId>),
    (reader, writer): (R, W),
    stop: CancellationToken,
) -> Result<(), StdioError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let closing = origin.closing.clone();
    let hub = Hub::new(origin, Speaker { role, instance });
    let gone = hub.end().clone();
    let reader = Watched { reader, gone: gone.clone() };
    let face = Face::new(Door::One(Arc::clone(&hub)));
    let served = face.serve_with_ct((reader, writer), stop.child_token()).await;
    let outcome = match served {
        Ok(running) => {
            if let Err(error) = running.waiting().await {
                tracing::error!(%error, "the session broke");
            }
            Ok(())
        }
        // A host that looked whether the program starts, and left.
        Err(_) if gone.is_cancelled() || stop.is_cancelled() => Ok(()),
        Err(error) => Err(StdioError(Box::new(error))),
    };
    hub.leave();
    drop(hub);
    closing.close();
    if tokio::time::timeout(MCP_CLOSE, closing.wait()).await.is_err() {
        tracing::warn!("not all tasks could be given back; they are as those of a dead agent");
    }
    outcome
}

/// A reader that tells of its end: the session learns of it before the calls in flight are over.
struct Watched<R> {
    reader: R,
    gone: CancellationToken,
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(context, buffer);
        let is_over = match &polled {
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if is_over {
            self.gone.cancel();
        }
        polled
    }
}
