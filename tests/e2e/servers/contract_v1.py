"""A legacy server on PyPI `mcp` 1.x, with the contract of contract_v1.mjs but for tasks and streams that are cut. `stdio`,
`http` and `sse` choose how it is reached; over HTTP it prints its URL as one line of JSON."""

import asyncio
import json
import socket
import sys
from contextlib import asynccontextmanager

import contract
import uvicorn
from contract import CONTRACT, observed
from mcp import McpError, types
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.message import ServerMessageMetadata
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route

class Contract(Server):
    """Says of itself what the handlers cannot tell."""

    def create_initialization_options(self, *_):
        told = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        made = super().create_initialization_options(told)
        made.capabilities.resources.subscribe = True
        return made


server = Contract("python-legacy", "1.0.0")
grown = 0


class Conversation:
    def __init__(self, session):
        self.session, self.count, self.level, self.watched = session, 0, 0, set()


conversations = {}


def here():
    """The conversation that the request under way belongs to."""
    session = server.request_context.session
    return conversations.setdefault(id(session), Conversation(session))


def handles(kind, result):
    """Registers what answers a request, as JSON."""

    def register(function):
        async def handler(request):
            return types.ServerResult(result.model_validate(await function(request.params)))

        server.request_handlers[kind] = handler
        return function

    return register


def refuse(code, message):
    raise McpError(types.ErrorData(code=code, message=message))


async def ask(method, params, result):
    """Asks the client, as a part of the call under way."""
    context = server.request_context
    request = types.ServerRequest.model_validate({"method": method, "params": params})
    part_of = ServerMessageMetadata(related_request_id=context.request_id)
    answer = await context.session.send_request(request, result, metadata=part_of)
    return answer.model_dump(mode="json", by_alias=True, exclude_none=True)


async def tell(method, params):
    context = server.request_context
    notification = types.ServerNotification.model_validate({"method": method, "params": params})
    await context.session.send_notification(notification, related_request_id=context.request_id)


async def report(step):
    token = server.request_context.meta and server.request_context.meta.progressToken
    if token is not None:
        await tell("notifications/progress", {"progressToken": token, "progress": step, "total": 3})


async def form(message):
    asked = {"mode": "form", "message": message, "requestedSchema": CONTRACT["form"]}
    return await ask("elicitation/create", asked, types.ElicitResult)


@handles(types.ListToolsRequest, types.ListToolsResult)
async def list_tools(params):
    entries, following = contract.page(contract.definitions(True, grown), params and params.cursor)
    if not entries:
        refuse(-32602, "no such cursor")
    return {"tools": entries, **following}


@handles(types.ListResourcesRequest, types.ListResourcesResult)
async def list_resources(_params):
    return {"resources": CONTRACT["resources"]}


@handles(types.ListResourceTemplatesRequest, types.ListResourceTemplatesResult)
async def list_templates(_params):
    return {"resourceTemplates": CONTRACT["templates"]}


@handles(types.ReadResourceRequest, types.ReadResourceResult)
async def read(params):
    return {"contents": [contract.contents(str(params.uri)) or refuse(-32002, "Resource not found")]}


@handles(types.ListPromptsRequest, types.ListPromptsResult)
async def list_prompts(_params):
    return {"prompts": CONTRACT["prompts"]}


@handles(types.GetPromptRequest, types.GetPromptResult)
async def get_prompt(params):
    who = (params.arguments or {}).get("who")
    if params.name == "ask_in_prompt":
        who = (await form("Who is it?"))["content"]["name"]
    return contract.introduction(who)


@handles(types.CompleteRequest, types.CompleteResult)
async def complete(params):
    values = contract.completions(params.argument.value, params.context and params.context.arguments)
    return {"completion": {"values": values}}


@handles(types.SetLevelRequest, types.EmptyResult)
async def set_level(params):
    observed["levels"].append(params.level)
    here().level = CONTRACT["levels"].index(params.level)
    return {}


@handles(types.SubscribeRequest, types.EmptyResult)
async def subscribe(params):
    observed["subscribed"] += 1
    here().watched.add(str(params.uri))
    return {}


@handles(types.UnsubscribeRequest, types.EmptyResult)
async def unsubscribe(params):
    here().watched.discard(str(params.uri))
    return {}


@handles(types.CallToolRequest, types.CallToolResult)
async def call(params):
    global grown
    observed["calls"] += 1
    conversation, arguments = here(), params.arguments or {}
    message = arguments.get("message")
    match params.name:
        case "echo":
            return {**contract.text(f"Echo: {message}"), "structuredContent": {"message": message}}
        case "fail":
            return {**contract.text("this tool fails on purpose"), "isError": True}
        case "slow":
            for step in (1, 2, 3):
                await report(step)
                # Libraries forget what they read together with the answer.
                await asyncio.sleep(0.2)
            return contract.text("three steps done")
        case "wait":
            observed["waiting"] += 1
            try:
                await report(1)
                await asyncio.Event().wait()
            finally:
                observed["waiting"] -= 1
                observed["cancelled"].append(arguments.get("key"))
        case "observations":
            return contract.text(observed)
        case "contents":
            return CONTRACT["contents"]
        case "mirrored":
            return contract.text(f"In {arguments['place']['region']}")
        case "view":
            return contract.text("viewed")
        case "count":
            conversation.count += 1
            return contract.text(str(conversation.count))
        case "log":
            for place, level in enumerate(CONTRACT["levels"]):
                if place >= conversation.level:
                    said = {"level": level, "logger": "contract", "data": f"said at {level}"}
                    await tell("notifications/message", said)
            return contract.text("logged")
        case "touch":
            for other in [other for other in conversations.values() if arguments["uri"] in other.watched]:
                try:
                    await other.session.send_resource_updated(arguments["uri"])
                except Exception:  # whoever has left needs no update
                    other.watched.clear()
            return contract.text("touched")
        case "grow":
            grown += 1
            for key, other in list(conversations.items()):
                try:
                    await other.session.send_tool_list_changed()
                    await other.session.send_prompt_list_changed()
                    await other.session.send_resource_list_changed()
                except Exception:  # whoever has left
                    conversations.pop(key, None)
            return contract.text(f"grown_{grown}")
        case "ping_client":
            await ask("ping", None, types.EmptyResult)
            return contract.text("the client is there")
        case "ask_form":
            return contract.text(await form(message))
        case "ask_twice":
            first = await form("What is your name?")
            return contract.text([first, await form(f"Who knows {first['content']['name']}?")])
        case "ask_url":
            asked = {"mode": "url", "message": message, "url": "https://example.com/consent", "elicitationId": "one"}
            answer = await ask("elicitation/create", asked, types.ElicitResult)
            await tell("notifications/elicitation/complete", {"elicitationId": "one"})
            return contract.text(answer)
        case "ask_model":
            asked = contract.model_request(message, False)
            return contract.text(await ask("sampling/createMessage", asked, types.CreateMessageResult))
        case "ask_model_with_tools":
            asked = contract.model_request(message, True)
            return contract.text(await ask("sampling/createMessage", asked, types.CreateMessageResultWithTools))
        case "ask_roots":
            return contract.text(await ask("roots/list", None, types.ListRootsResult))
        case other if other.startswith("grown_"):
            return contract.text(other)
        case other:
            refuse(-32602, f"Unknown tool: {other}")


async def over_stdio():
    async with stdio_server() as (read_stream, write_stream):
        await server.run(read_stream, write_stream, server.create_initialization_options())


def over_http():
    manager = StreamableHTTPSessionManager(server)

    @asynccontextmanager
    async def lifespan(_app):
        async with manager.run():
            yield

    return Starlette(routes=[Mount("/mcp", app=manager.handle_request)], lifespan=lifespan)


def over_sse():
    transport = SseServerTransport("/messages/")

    async def stream(request):
        async with transport.connect_sse(request.scope, request.receive, request._send) as streams:
            await server.run(streams[0], streams[1], server.create_initialization_options())
        return Response()

    return Starlette(routes=[Route("/sse", stream), Mount("/messages/", app=transport.handle_post_message)])


async def serve(app, path):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}{path}"}), flush=True)
    await uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).serve(sockets=[listener])


match sys.argv[1]:
    case "stdio":
        asyncio.run(over_stdio())
    case "sse":
        asyncio.run(serve(over_sse(), "/sse"))
    case _:
        asyncio.run(serve(over_http(), "/mcp/"))
