//! What MCP asks of a session, answered by its [`Hub`]. The revisions with sessions and those
//! without are one server: only whose tasks a call may touch is found out in another way.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use futures::StreamExt as _;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse,
        Implementation, InitializeRequestParams, InitializeResult, ListPromptsResult,
        ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
        ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
        ResourceUpdatedNotificationParam, ServerCapabilities, ServerConfig, SubscribeRequestParams,
        SubscriptionFilter, Tool, UnsubscribeRequestParams,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use sinew_model::limits::{MCP_CALLS, MCP_SUBSCRIPTIONS};
use tokio::task::AbortHandle;

use super::{
    http::Lobby,
    hub::Hub,
    prompt,
    reply::Told,
    resource::{self, Address, Changes},
    tools::{self, Call},
};

/// How a face finds the session that a request belongs to.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// There is one: the process that started this one.
    One(Arc<Hub>),
    /// The token of the request says whose it is.
    Many(Arc<Lobby>),
}

/// The server as one MCP session, or one stateless request, meets it.
#[derive(Debug)]
pub struct Face {
    door: Door,
    /// The session's own hub, once it has begun.
    own: OnceLock<Arc<Hub>>,
    /// The tasks that tell of changes, by the address of the resource.
    telling: Mutex<BTreeMap<String, Telling>>,
}

/// Tells of changes until it is dropped.
#[derive(Debug)]
struct Telling(AbortHandle);

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Face {
    pub(crate) const fn new(door: Door) -> Self {
        Self { door, own: OnceLock::new(), telling: Mutex::new(BTreeMap::new()) }
    }

    /// The hub of a request.
    fn hub(&self, context: &RequestContext<RoleServer>) -> Result<Arc<Hub>, ErrorData> {
        match (&self.door, self.own.get()) {
            (Door::One(hub), _) => Ok(Arc::clone(hub)),
            (Door::Many(lobby), Some(own)) => {
                lobby.met(&context.extensions, own);
                Ok(Arc::clone(own))
            }
            (Door::Many(lobby), None) => lobby.stateless(&context.extensions),
        }
    }
}

/// An error of the protocol, for what is no tool.
fn invalid(told: impl std::fmt::Display) -> ErrorData {
    ErrorData::invalid_params(told.to_string(), None)
}

impl ServerHandler for Face {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_prompts()
            .build();
        let role = match (&self.door, self.own.get()) {
            (Door::One(hub), _) | (_, Some(hub)) => hub.role().as_str(),
            (Door::Many(_), None) => "of your token",
        };
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("sinew", env!("CARGO_PKG_VERSION")))
            .with_instructions(prompt::instructions(role))
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        if let Door::Many(lobby) = &self.door {
            let hub = lobby.session(&context.extensions)?;
            // A second `initialize` of one session changes nothing.
            let _own = self.own.get_or_init(|| hub);
        }
        context.peer.set_peer_info(request.clone());
        self.negotiate_initialize(&request)
    }

    async fn on_initialized(&self, _context: NotificationContext<RoleServer>) {
        let hub = match (&self.door, self.own.get()) {
            (Door::One(hub), _) | (_, Some(hub)) => Arc::clone(hub),
            (Door::Many(_), None) => return,
        };
        // So that the team sees it before it takes its first task.
        if let Err(error) = hub.desk().await {
            tracing::warn!(%error, "a session can't take tasks yet");
        }
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::find(name).map(|entry| entry.tool.clone())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let hub = self.hub(&context)?;
        let Some(entry) = tools::find(&request.name) else {
            let name: String = request.name.chars().take(64).collect();
            let like = tools::like(&name);
            let hint = match like.is_empty() {
                true => "tools/list shows those that there are".to_owned(),
                false => format!("did you mean {}?", like.join(" or ")),
            };
            return Err(invalid(format!("there is no tool {name:?}: {hint}")));
        };
        let Ok(_place) = hub.calls().try_acquire() else {
            let told = Told::new(
                format!("{MCP_CALLS} calls of this session are in flight already"),
                "Nothing was done. Wait for some of them, then call again.",
            );
            return Ok(told.into_result().into());
        };
        let _entered = hub.enter();
        let listener = context.meta.get_progress_token().map(|token| (context.peer.clone(), token));
        let call = Call { hub: Arc::clone(&hub), listener };
        let cut_off = |why: &str| Told::new(why.to_owned(), "Call again if it is still wanted.");
        tokio::select! {
            result = entry.call(call, request.arguments) => Ok(result.into()),
            () = context.ct.cancelled() => Ok(cut_off("the call was cancelled").into_result().into()),
            () = hub.gone() => Ok(cut_off("the session has ended").into_result().into()),
        }
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resource::all(self.hub(&context)?.role())))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resource::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let hub = self.hub(&context)?;
        let contents = known(&request.uri)?.read(&hub).await;
        let contents =
            contents.map_err(|told| ErrorData::resource_not_found(told.to_string(), None))?;
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let hub = self.hub(&context)?;
        let address = known(&request.uri)?;
        let telling = || self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = {
            let telling = telling();
            telling.len() >= MCP_SUBSCRIPTIONS && !telling.contains_key(&request.uri)
        };
        if is_full {
            return Err(invalid(format!(
                "a session is subscribed to at most {MCP_SUBSCRIPTIONS} resources: unsubscribe first"
            )));
        }
        let mut changes = Changes::of(&hub, address).await.map_err(invalid)?;
        let peer = context.peer.clone();
        let task = tokio::spawn(async move {
            while let Some(uri) = changes.next().await {
                let told = ResourceUpdatedNotificationParam::new(uri);
                if peer.notify_resource_updated(told).await.is_err() {
                    break;
                }
            }
        });
        telling().insert(request.uri, Telling(task.abort_handle()));
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let removed = {
            let mut telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
            telling.remove(&request.uri)
        };
        match removed {
            Some(_stopped) => Ok(()),
            None => Err(invalid(format!("this session is not subscribed to {:?}", request.uri))),
        }
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        let known = |uri: &&String| Address::parse(uri).is_some_and(|it| it != Address::Org);
        let uris = requested.resource_subscriptions.iter().flatten().filter(known);
        let uris: Vec<String> = uris.take(MCP_SUBSCRIPTIONS).cloned().collect();
        Some(SubscriptionFilter::builder().resource_subscriptions(uris).build())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let hub = self.hub(context.request_context())?;
        let _entered = hub.enter();
        let mut changes = Vec::new();
        for uri in context.accepted().resource_subscriptions.iter().flatten() {
            changes.push(Changes::of(&hub, known(uri)?).await.map_err(invalid)?);
        }
        // It was acknowledged before it is listened to: what changed in between is told now.
        for uri in context.accepted().resource_subscriptions.iter().flatten() {
            if context.sink().notify_resource_updated(uri.clone()).await.is_err() {
                return Ok(());
            }
        }
        let each = changes.into_iter().map(|changes| {
            Box::pin(futures::stream::unfold(changes, |mut changes| async move {
                let uri = changes.next().await?;
                Some((uri, changes))
            }))
        });
        let mut all = futures::stream::select_all(each);
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                () = hub.gone() => return Ok(()),
                Some(uri) = all.next() => {
                    if context.sink().notify_resource_updated(uri).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompt::all()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let hub = self.hub(&context)?;
        match prompt::get(&hub, &request.name, request.arguments.as_ref()) {
            Some(Ok(result)) => Ok(result.into()),
            Some(Err(missing)) => Err(invalid(format!("the argument {missing:?} is missing"))),
            None => {
                Err(invalid("there is no such prompt: prompts/list shows those that there are"))
            }
        }
    }
}

/// The resource of an address.
fn known(uri: &str) -> Result<Address, ErrorData> {
    Address::parse(uri).ok_or_else(|| {
        let uri: String = uri.chars().take(100).collect();
        let text = format!(
            "there is no resource {uri:?}: there are sinew://queue, sinew://inbox, \
             sinew://meetings, sinew://org, sinew://tasks/ID and sinew://meetings/ID"
        );
        ErrorData::resource_not_found(text, None)
    })
}
