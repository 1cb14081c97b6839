//! The MCP server with what the conformance suite of MCP asks for besides: tools, prompts and resources
//! whose names and answers the suite prescribes. All else is the server as it is; `tools/conformance/run`
//! runs the suite against it.
//!
//! It prints its address and a token as a line of JSON, and serves until its stdin ends.

use std::{error::Error, time::Duration};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities,
        GetPromptRequestParams, GetPromptResponse, GetPromptResult, InitializeRequestParams,
        InitializeResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
        ListToolsResult, PaginatedRequestParams, ProgressNotificationParam, Prompt,
        ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource,
        ResourceTemplate, ServerConfig, SubscribeRequestParams, SubscriptionFilter, Tool,
        UnsubscribeRequestParams,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sinew_agent::{Bus, Config};
use sinew_bus::{Topology, clock, ensure::Consent};
use sinew_server::mcp::{Face, Origin, http::Server, token::Tokens};
use sinew_testkit::{NatsServer, TempDir};
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

/// A picture of one pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg==";

/// Two samples of silence.
const WAV: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQIAAACAgA==";

/// How long a tool takes between two words about its progress.
const STEP: Duration = Duration::from_millis(50);

/// What the suite watches; in its place the host's own queue is.
const WATCHED: &str = "test://watched-resource";
const QUEUE: &str = "sinew://queue";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nats = NatsServer::start();
    let bus = Bus::connect(Config::new(nats.url(), "acme".parse()?)).await?;
    let topology = Topology::standard(&bus);
    let plan = topology.plan(&bus).await?;
    topology.apply(&bus, &plan, Consent::KeepMessages).await?;
    let folder = TempDir::new("conformance");
    let tokens = Tokens::of(folder.path());
    let (token, _) = tokens.make("acme".parse()?, "ceo".parse()?, None)?;
    let server = Server::bind(Origin::new(bus).await?, Some(0)).await?;
    let ready = json!({ "url": server.url(), "token": token.expose() });
    writeln(&ready.to_string())?;
    let stop = CancellationToken::new();
    let ending = stop.clone();
    tokio::spawn(async move {
        // Whoever started it is gone, or wants no more of it.
        tokio::io::stdin().read_to_end(&mut Vec::new()).await.ok();
        ending.cancel();
    });
    server.run_as(tokens, stop, Fixture).await?;
    Ok(())
}

fn writeln(line: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}")
}

/// The server, with what the suite asks for besides.
struct Fixture(Face);

/// What is written down here is what the types of the protocol say.
fn typed<T: DeserializeOwned>(mut what: Value) -> Result<T, ErrorData> {
    if let Some(result) = what.as_object_mut().filter(|it| !it.contains_key("name")) {
        result.insert("resultType".to_owned(), "complete".into());
    }
    serde_json::from_value(what)
        .map_err(|error| ErrorData::internal_error(format!("a fixture is wrong: {error}"), None))
}

/// The tools that give the same answer to everybody.
fn answer(tool: &str) -> Option<Value> {
    let text = |text: &str| json!({ "type": "text", "text": text });
    let image = json!({ "type": "image", "data": PNG, "mimeType": "image/png" });
    let content = match tool {
        "test_simple_text" => json!([text("This is a simple text response for testing.")]),
        "test_image_content" => json!([image]),
        "test_audio_content" => json!([{ "type": "audio", "data": WAV, "mimeType": "audio/wav" }]),
        "test_embedded_resource" => json!([{ "type": "resource", "resource": {
            "uri": "test://embedded-resource", "mimeType": "text/plain",
            "text": "This is an embedded resource content." } }]),
        "test_multiple_content_types" => json!([text("Multiple content types test:"), image,
            { "type": "resource", "resource": {
                "uri": "test://mixed-content-resource", "mimeType": "application/json",
                "text": "{\"test\":\"data\",\"value\":123}" } }]),
        "test_error_handling" => {
            let told = text("This tool intentionally returns an error for testing");
            return Some(json!({ "content": [told], "isError": true }));
        }
        // Nothing here asks a client for anything or writes to its log, and so they just end.
        "test_streaming_elicitation"
        | "test_logging_tool"
        | "test_custom_headers"
        | "json_schema_2020_12_tool" => json!([text("done")]),
        _ => return None,
    };
    Some(json!({ "content": content }))
}

/// The tools that there are besides.
fn tools() -> Result<Vec<Tool>, ErrorData> {
    let plain = json!({ "type": "object" });
    let header = json!({ "type": "object", "properties": {
        "region": { "type": "string", "x-mcp-header": "Region" } } });
    let broad = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": { "address": { "$anchor": "addressDef", "type": "object", "properties": {
            "street": { "type": "string" }, "city": { "type": "string" } } } },
        "properties": {
            "name": { "type": "string" }, "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" }, "email": { "type": "string" } },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } },
                "required": ["contactMethod"] },
        "then": { "required": ["phone"] }, "else": { "required": ["email"] },
        "additionalProperties": false });
    let all = [
        ("test_simple_text", &plain),
        ("test_image_content", &plain),
        ("test_audio_content", &plain),
        ("test_embedded_resource", &plain),
        ("test_multiple_content_types", &plain),
        ("test_error_handling", &plain),
        ("test_tool_with_progress", &plain),
        ("test_missing_capability", &plain),
        ("test_streaming_elicitation", &plain),
        ("test_logging_tool", &plain),
        ("test_custom_headers", &header),
        ("json_schema_2020_12_tool", &broad),
    ];
    let tool = |(name, schema): (&str, &Value)| {
        typed(json!({ "name": name, "description": "A fixture", "inputSchema": schema }))
    };
    all.into_iter().map(tool).collect()
}

/// The prompts that there are besides.
fn prompts() -> Result<Vec<Prompt>, ErrorData> {
    let argument = |name: &str| json!({ "name": name, "required": true });
    typed(json!([
        { "name": "test_simple_prompt", "description": "A fixture" },
        { "name": "test_prompt_with_arguments", "description": "A fixture",
          "arguments": [argument("arg1"), argument("arg2")] },
        { "name": "test_prompt_with_embedded_resource", "description": "A fixture",
          "arguments": [argument("resourceUri")] },
        { "name": "test_prompt_with_image", "description": "A fixture" },
    ]))
}

/// One of them, filled in.
fn prompt(name: &str, given: &Value) -> Option<Value> {
    let user = |content: Value| json!({ "role": "user", "content": content });
    let text = |text: String| user(json!({ "type": "text", "text": text }));
    let word = |name: &str| given.get(name).and_then(Value::as_str).unwrap_or_default();
    let messages = match name {
        "test_simple_prompt" => json!([text("This is a simple prompt for testing.".to_owned())]),
        "test_prompt_with_arguments" => {
            let (one, two) = (word("arg1"), word("arg2"));
            json!([text(format!("Prompt with arguments: arg1='{one}', arg2='{two}'"))])
        }
        "test_prompt_with_embedded_resource" => {
            let resource = json!({ "uri": word("resourceUri"), "mimeType": "text/plain",
                                   "text": "Embedded resource content for testing." });
            json!([
                user(json!({ "type": "resource", "resource": resource })),
                text("Please process the embedded resource above.".to_owned())
            ])
        }
        "test_prompt_with_image" => {
            let image = json!({ "type": "image", "data": PNG, "mimeType": "image/png" });
            json!([user(image), text("Please analyze the image above.".to_owned())])
        }
        _ => return None,
    };
    Some(json!({ "messages": messages }))
}

/// The resources that there are besides.
fn resource(uri: &str) -> Option<Value> {
    let contents = match uri {
        "test://static-text" | WATCHED => json!({ "uri": uri, "mimeType": "text/plain",
            "text": "This is the content of the static text resource." }),
        "test://static-binary" => json!({ "uri": uri, "mimeType": "image/png", "blob": PNG }),
        _ => {
            let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
            let data =
                json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            json!({ "uri": uri, "mimeType": "application/json", "text": data.to_string() })
        }
    };
    Some(json!({ "contents": [contents] }))
}

/// Where the suite's own resource stands for one that changes.
fn watched(uri: String) -> String {
    if uri == WATCHED { QUEUE.to_owned() } else { uri }
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        self.0.get_info()
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        self.0.initialize(request, context).await
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.0.on_initialized(context).await;
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut listed = self.0.list_tools(request, context).await?;
        listed.tools.splice(0..0, tools()?);
        Ok(listed)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        let known = tools().ok()?.into_iter().find(|tool| tool.name == name);
        known.or_else(|| self.0.get_tool(name))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if let Some(answer) = answer(&request.name) {
            return Ok(typed::<CallToolResult>(answer)?.into());
        }
        match request.name.as_ref() {
            "test_missing_capability" => {
                let needed: ClientCapabilities = typed(json!({ "sampling": {} }))?;
                Err(ErrorData::missing_required_client_capability(needed))
            }
            "test_tool_with_progress" => {
                if let Some(token) = context.meta.get_progress_token() {
                    for percent in [0.0, 50.0, 100.0] {
                        let told = ProgressNotificationParam::new(token.clone(), percent);
                        context.peer.notify_progress(told.with_total(100.0)).await.ok();
                        clock::pause(STEP).await;
                    }
                }
                let told = json!({ "content": [{ "type": "text", "text": "done" }] });
                Ok(typed::<CallToolResult>(told)?.into())
            }
            _ => self.0.call_tool(request, context).await,
        }
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let mut listed = self.0.list_resources(request, context).await?;
        for uri in ["test://static-text", "test://static-binary", WATCHED] {
            listed.resources.push(Resource::new(uri, uri).with_description("A fixture"));
        }
        Ok(listed)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let mut listed = self.0.list_resource_templates(request, context).await?;
        listed.resource_templates.push(ResourceTemplate::new("test://template/{id}/data", "it"));
        Ok(listed)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        match resource(&request.uri) {
            Some(contents) => Ok(typed::<ReadResourceResult>(contents)?.into()),
            None => self.0.read_resource(request, context).await,
        }
    }

    #[expect(deprecated, reason = "revisions with sessions subscribe in this way")]
    async fn subscribe(
        &self,
        mut request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        request.uri = watched(request.uri);
        self.0.subscribe(request, context).await
    }

    #[expect(deprecated, reason = "revisions with sessions subscribe in this way")]
    async fn unsubscribe(
        &self,
        mut request: UnsubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        request.uri = watched(request.uri);
        self.0.unsubscribe(request, context).await
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        self.0.accepted_subscription_filter(requested)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.0.listen(context).await
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let mut listed = self.0.list_prompts(request, context).await?;
        listed.prompts.extend(prompts()?);
        Ok(listed)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let given = request.arguments.clone().map(Value::Object).unwrap_or_default();
        match prompt(&request.name, &given) {
            Some(filled) => Ok(typed::<GetPromptResult>(filled)?.into()),
            None => self.0.get_prompt(request, context).await,
        }
    }
}
