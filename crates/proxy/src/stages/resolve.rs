//! Which server's tool, prompt or resource is really meant, and what is put in place of what the client wrote.

use bytes::Bytes;
use tollgate_catalog::{ListKind, Named, Shape, uris};
use tollgate_mcp::{JsonKind, json, methods};
use tollgate_model::{Code, Refusal, ServerName, Stage};
use tollgate_policy::is_same_but_for_case;
use tollgate_upstream::Server;

use super::{block, limits, policy};
use crate::bridge::Target;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::lists;
use crate::tasks::id;

/// What a request means. Only this module makes one.
pub(crate) struct Resolved {
    server: Server,
    target: Target,
}

impl Resolved {
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// What the server's request says instead of the client's.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Sets arguments to what a guard has made of them: they leave in place of what the client wrote, and policy decides on
    /// them.
    pub(crate) fn set_arguments(&mut self, arguments: Vec<(String, Bytes)>) {
        let pinned = &mut self.target.pinned;
        for (name, value) in arguments {
            match pinned.iter_mut().find(|(other, _)| *other == name) {
                Some((_, before)) => *before = value,
                None => pinned.push((name, value)),
            }
        }
    }

    /// Leaves these arguments out, whoever put them in.
    pub(crate) fn drop_arguments(&mut self, names: Vec<String>) {
        self.target.pinned.retain(|(name, _)| !names.contains(name));
        self.target.dropped = names;
    }

    /// The server's own name or URI of what is meant.
    pub(crate) fn native(&self) -> Option<&str> {
        self.target.key.as_ref().map(|(_, native)| native.as_str())
    }
}

/// Finds out what a call, a read, a prompt or a completion means at its endpoint.
pub(crate) async fn resolve(gateway: &Gateway, inbound: &Inbound) -> Result<Resolved, Refusal> {
    match inbound.message.method() {
        methods::TOOLS_CALL => tool(gateway, inbound).await,
        methods::PROMPTS_GET => {
            let prompt = inbound.required_text("name")?;
            Box::pin(named_prompt(gateway, inbound, &prompt)).await
        }
        methods::RESOURCES_READ => {
            let uri = inbound.required_text("uri")?;
            Box::pin(resource(gateway, inbound, &uri)).await
        }
        methods::COMPLETION_COMPLETE => Box::pin(completion(gateway, inbound)).await,
        _ => Err(Refusal::new(Stage::Envelope, Code::MethodNotFound, "this method is not served here")),
    }
}

/// Finds out which task is meant. One of a server that is not behind this endpoint is unknown here.
pub(crate) fn task(gateway: &Gateway, inbound: &Inbound) -> Result<Resolved, Refusal> {
    let id = inbound.required_text("taskId")?;
    task_named(gateway, inbound, &id)
}

/// Finds out which resource is meant that a client wants to hear of.
pub(crate) async fn watched(gateway: &Gateway, inbound: &Inbound, uri: &str) -> Result<Resolved, Refusal> {
    Box::pin(resource(gateway, inbound, uri)).await
}

/// Finds out which task a client's id means.
pub(crate) fn task_named(gateway: &Gateway, inbound: &Inbound, id: &str) -> Result<Resolved, Refusal> {
    let task = id::unwrap(gateway.sealer(), &inbound.caller, id).ok_or_else(id::unknown)?;
    let name = task.server.name();
    if !inbound.endpoint.servers().contains(name) {
        return Err(id::unknown());
    }
    let server = inbound.server(name)?;
    // The name may have come to stand for another since.
    if *server.id() != task.server {
        return Err(id::unknown());
    }
    Ok(Resolved { server, target: Target { key: Some(("taskId", task.native)), ..Target::default() } })
}

/// The one server of an endpoint, for what is asked of it as a whole.
pub(crate) fn only_server(inbound: &Inbound) -> Result<Resolved, Refusal> {
    let server = inbound.endpoint.native_server().ok_or_else(|| {
        Refusal::new(Stage::Envelope, Code::MethodNotFound, "this method is not served at this endpoint")
    })?;
    Ok(Resolved { server: inbound.server(server)?, target: Target::default() })
}

async fn tool(gateway: &Gateway, inbound: &Inbound) -> Result<Resolved, Refusal> {
    let public = inbound.required_text("name")?;
    if let Some(arguments) = inbound.message.member("arguments")
        && inbound.message.kind_of(arguments) != JsonKind::Object
    {
        return Err(Refusal::new(
            Stage::Envelope,
            Code::InvalidParams,
            "`params.arguments` must be an object",
        ));
    }
    let unknown = || unknown_tool(&public);
    let mut name = public.as_str();
    let alias;
    if inbound.endpoint.tool(name) == Named::Unknown {
        alias = Box::pin(alias_of(gateway, inbound, name)).await?.ok_or_else(unknown)?;
        name = &alias;
    }
    let (server, native, pinned) = match inbound.endpoint.tool(name) {
        Named::Known { server, native, choice } => {
            let pinned = choice.map(|choice| choice.pinned.clone()).unwrap_or_default();
            (server, native.into_owned(), pinned)
        }
        Named::Cut { server } => {
            let native = if gateway.policing().is_on() {
                gateway.policing().definitions().uncut(inbound.server(server)?.id(), name)
            } else {
                Box::pin(uncut(gateway, inbound, server, ListKind::Tools, name)).await?
            };
            let native = native.ok_or_else(unknown)?;
            (server, native, Vec::new())
        }
        Named::Unknown => return Err(unknown()),
    };
    Ok(Resolved {
        server: inbound.server(server)?,
        target: Target { key: Some(("name", native)), pinned, dropped: Vec::new() },
    })
}

/// The name here of the only tool of this native name. The pages of MCP Apps call their server's tools by native names,
/// since they know no others. Names that this endpoint gives itself win; what it does not show has no name here.
async fn alias_of(gateway: &Gateway, inbound: &Inbound, native: &str) -> Result<Option<String>, Refusal> {
    if inbound.endpoint.native_server().is_some() {
        return Ok(None);
    }
    if gateway.policing().is_on() {
        // No server is asked before policy has spoken, or the time that it takes would tell names apart.
        return Ok(lists::known_alias(gateway, inbound, native));
    }
    let index = lists::tool_index(gateway, inbound).await?;
    Ok(index.only(native).map(str::to_owned))
}

async fn named_prompt(gateway: &Gateway, inbound: &Inbound, public: &str) -> Result<Resolved, Refusal> {
    let unknown = || unknown_prompt(public);
    let (server, native) = match inbound.endpoint.prompt(public) {
        Named::Known { server, native, .. } => (server, native.into_owned()),
        Named::Cut { server } => {
            let native =
                uncut(gateway, inbound, server, ListKind::Prompts, public).await?.ok_or_else(unknown)?;
            (server, native)
        }
        Named::Unknown => return Err(unknown()),
    };
    Ok(Resolved {
        server: inbound.server(server)?,
        target: Target { key: Some(("name", native)), ..Target::default() },
    })
}

/// The native name behind a cut one: remembered from an earlier list, or looked up in the server's list now.
async fn uncut(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerName,
    kind: ListKind,
    public: &str,
) -> Result<Option<String>, Refusal> {
    if policy::look(gateway, &inbound.caller, inbound.endpoint.name(), server).is_none() {
        let is_seen = policy::sees(gateway, &inbound.caller, inbound.endpoint.name(), server);
        return if is_seen {
            block::server(gateway, &inbound.caller, server).map(|()| None)
        } else {
            Ok(None)
        };
    }
    let known = inbound.server(server)?;
    if let Some(native) = gateway.cut_names().native(known.id(), public) {
        return Ok(Some(native));
    }
    limits::admit_look(gateway, inbound, known.id(), kind).await?;
    lists::learn(gateway, inbound, server, kind).await?;
    Ok(gateway.cut_names().native(known.id(), public))
}

async fn completion(gateway: &Gateway, inbound: &Inbound) -> Result<Resolved, Refusal> {
    let invalid = || {
        let text = "`params.ref` must be {\"type\":\"ref/prompt\",\"name\":…} or {\"type\":\"ref/resource\",\"uri\":…}";
        Refusal::new(Stage::Envelope, Code::InvalidParams, text)
    };
    let bytes = inbound.message.bytes();
    let reference = inbound.message.member("ref").ok_or_else(invalid)?;
    let text = |member: &str| json::text(bytes, json::find(bytes, reference, member)?);
    match text("type").as_deref() {
        Some("ref/prompt") => named_prompt(gateway, inbound, &text("name").ok_or_else(invalid)?).await,
        Some("ref/resource") => resource(gateway, inbound, &text("uri").ok_or_else(invalid)?).await,
        _ => Err(invalid()),
    }
}

/// Exact URI, then template, then the only server that uses the scheme.
async fn resource(gateway: &Gateway, inbound: &Inbound, uri: &str) -> Result<Resolved, Refusal> {
    let endpoint = &inbound.endpoint;
    let found = |server: &ServerName, native: &str| {
        let target = Target { key: Some(("uri", native.to_owned())), ..Target::default() };
        Ok(Resolved { server: inbound.server(server)?, target })
    };
    if let Some(server) = endpoint.native_server() {
        return found(server, uri);
    }
    if let Some((server, native)) = endpoint.rewritten_uri(uri) {
        if lets_through(gateway, inbound, server, &native).await? {
            return found(server, &native);
        }
    } else {
        for server in owners(gateway, inbound, uri).await? {
            if lets_through(gateway, inbound, &server, uri).await? {
                return found(&server, uri);
            }
        }
    }
    Err(unknown_resource(uri))
}

fn unknown_tool(public: &str) -> Refusal {
    Refusal::new(Stage::Resolve, Code::UnknownTool, format!("Unknown tool: {public}"))
}

fn unknown_prompt(public: &str) -> Refusal {
    Refusal::new(Stage::Resolve, Code::UnknownPrompt, format!("Unknown prompt: {public}"))
}

fn unknown_resource(uri: &str) -> Refusal {
    Refusal::new(Stage::Resolve, Code::UnknownResource, format!("Resource not found: {uri}"))
        .with_data(format!("\"uri\":{}", String::from_utf8_lossy(&json::quote(uri))))
}

/// The refusal of what was found all the same: the very one that the client would get if it were not there.
pub(crate) fn unknown(inbound: &Inbound, resolved: &Resolved) -> Refusal {
    let (message, native) = (&inbound.message, resolved.native().unwrap_or_default());
    let named = |member: &str| {
        // A completion names its prompt or template inside `ref`.
        let within =
            message.member("ref").and_then(|reference| json::find(message.bytes(), reference, member));
        let within = within.filter(|_| message.method() == methods::COMPLETION_COMPLETE);
        let span = within.or_else(|| message.member(member));
        span.and_then(|span| json::text(message.bytes(), span)).unwrap_or_else(|| native.into())
    };
    match &resolved.target.key {
        Some(("name", _)) if message.method() == methods::TOOLS_CALL => unknown_tool(&named("name")),
        Some(("name", _)) => unknown_prompt(&named("name")),
        Some(("uri", _)) => unknown_resource(&named("uri")),
        Some(_) => id::unknown(),
        None => policy::no_endpoint(),
    }
}

/// The servers that may have a resource, the likeliest first.
async fn owners(gateway: &Gateway, inbound: &Inbound, uri: &str) -> Result<Vec<ServerName>, Refusal> {
    let resources = lists::uri_index(gateway, inbound, ListKind::Resources).await?;
    let mut exact = resources.exact(uri).to_vec();
    // The view of an MCP App need not be listed: the tool that it belongs to names it.
    if uris::is_ui(uri) {
        let tools = lists::tool_index(gateway, inbound).await?;
        exact.extend(tools.views.exact(uri).iter().cloned());
    }
    if !exact.is_empty() {
        return Ok(exact);
    }
    let templates = lists::uri_index(gateway, inbound, ListKind::Templates).await?;
    // A completion names the template itself.
    let mut owners = templates.exact(uri).to_vec();
    let made_it: Vec<&ServerName> = templates.templates_for(uri).map(|(_, server)| server).collect();
    // Templates come in no order of their own, so the configuration's is taken.
    owners.extend(inbound.endpoint.servers().iter().filter(|server| made_it.contains(server)).cloned());
    if owners.is_empty() {
        let mut users = resources.scheme_owners(uri).chain(templates.scheme_owners(uri));
        if let Some(first) = users.next()
            && users.all(|other| other == first)
        {
            owners.push(first.clone());
        }
    }
    Ok(owners)
}

/// Whether the endpoint gives access: a toolset only to what it chose, by URI or by a template that makes the URI.
async fn lets_through(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerName,
    uri: &str,
) -> Result<bool, Refusal> {
    let endpoint = &inbound.endpoint;
    if endpoint.takes_uri(server, uri) {
        return Ok(true);
    }
    if !matches!(endpoint.shape(), Shape::Toolset(_)) {
        return Ok(false);
    }
    // Who may use a tool may see its view.
    if uris::is_ui(uri) && lists::tool_index(gateway, inbound).await?.views.exact(uri).contains(server) {
        return Ok(true);
    }
    let templates = lists::uri_index(gateway, inbound, ListKind::Templates).await?;
    let made_by_chosen = templates
        .templates_for(uri)
        .any(|(template, owner)| owner == server && endpoint.takes_uri(server, template));
    Ok(made_by_chosen)
}

/// Refuses arguments that a lenient server would take for pinned ones. Asked of what policy allows: it says what is pinned.
pub(crate) fn refuse_look_alikes(inbound: &Inbound, resolved: &Resolved) -> Result<(), Refusal> {
    let pinned = &resolved.target().pinned;
    if pinned.is_empty() {
        return Ok(());
    }
    let message = &inbound.message;
    let Some(arguments) = message.member("arguments") else { return Ok(()) };
    if message.kind_of(arguments) != JsonKind::Object {
        return Ok(());
    }
    for member in tollgate_mcp::members(message.bytes(), arguments) {
        let sent = tollgate_mcp::text(message.bytes(), member.key).unwrap_or_default();
        let is_like = |(name, _): &&(String, Bytes)| *name != *sent && is_same_but_for_case(name, &sent);
        if let Some((name, _)) = pinned.iter().find(is_like) {
            let text = format!("an argument is too like `{name}`, which is set here");
            return Err(Refusal::new(Stage::Resolve, Code::InvalidParams, text).of(resolved.server().name()));
        }
    }
    Ok(())
}
