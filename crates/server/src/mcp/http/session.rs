//! The sessions of the transport, watched: a host that is gone shows it by its streams alone.

use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use rmcp::{
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    transport::streamable_http_server::session::{
        ServerSseMessage, SessionId, SessionManager,
        local::{LocalSessionManager, LocalSessionManagerError},
    },
};
use sinew_bus::clock;
use sinew_model::limits::{MCP_GRACE, MCP_SILENCE_EVERY};

use super::{RETRY, lobby::Lobby};
use crate::mcp::token::Tokens;

/// Sessions in memory. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    inner: Arc<LocalSessionManager>,
    lobby: Arc<Lobby>,
}

impl Sessions {
    pub(super) fn new(lobby: Arc<Lobby>) -> Self {
        let mut inner = LocalSessionManager::default();
        // How long a session lives is decided here, and not by a timer: a model may think for long.
        inner.session_config.keep_alive = None;
        inner.session_config.sse_retry = Some(RETRY);
        Self { inner: Arc::new(inner), lobby }
    }

    /// Ends the sessions of hosts that are silent for too long, on and on.
    pub(super) async fn watch(&self, tokens: &Tokens) {
        loop {
            clock::pause(MCP_SILENCE_EVERY).await;
            match tokens.list() {
                Ok(valid) => {
                    for id in self.lobby.silent(&valid) {
                        self.end(&id.into()).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no look at tokens");
                }
            }
        }
    }

    async fn end(&self, id: &SessionId) {
        self.lobby.ended(id);
        if let Err(error) = self.inner.close_session(id).await {
            tracing::debug!(%error, "a session had ended already");
        }
    }

    /// A stream whose end is noticed.
    fn watched<S>(
        &self,
        id: &SessionId,
        stands: bool,
        stream: S,
    ) -> impl Stream<Item = ServerSseMessage> + Send + Sync + use<S>
    where
        S: Stream<Item = ServerSseMessage> + Send + Sync + 'static,
    {
        self.lobby.opened(id, stands);
        let open = Open { sessions: self.clone(), id: id.clone() };
        stream.map(move |message| {
            let _held = &open;
            message
        })
    }
}

/// An open stream of a session.
struct Open {
    sessions: Sessions,
    id: SessionId,
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(opened) = self.sessions.lobby.shut(&self.id) else { return };
        let (sessions, id) = (self.sessions.clone(), self.id.clone());
        tokio::spawn(async move {
            clock::pause(MCP_GRACE).await;
            if sessions.lobby.is_gone(&id, opened) {
                tracing::info!(session = %id, "a host is gone; its tasks go back");
                sessions.end(&id).await;
            }
        });
    }
}

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        self.inner.create_session().await
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.inner.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.inner.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.lobby.ended(id);
        self.inner.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        Ok(self.watched(id, false, self.inner.create_stream(id, message).await?))
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Self::Error> {
        self.inner.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        Ok(self.watched(id, true, self.inner.create_standalone_stream(id).await?))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        Ok(self.watched(id, true, self.inner.resume(id, last_event_id).await?))
    }
}
