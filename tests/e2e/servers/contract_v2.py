"""A modern server on PyPI `mcp` 2.x, with the contract of contract_v2.mjs but for tasks. `stdio` and `http` choose how it
is reached; over HTTP it prints its URL as one line of JSON."""

import asyncio
import json
import socket
import sys

import contract
import mcp.types as types
import uvicorn
from contract import CONTRACT, observed
from mcp import MCPError
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ToolsListChanged,
)

bus = InMemorySubscriptionBus()
grown = 0


def answers(result):
    """What answers a request, as JSON, or asks for more."""

    def made(function):
        async def handler(context, params):
            said = await function(context, params)
            kind = types.InputRequiredResult if said.get("resultType") == "input_required" else result
            return kind.model_validate(said)

        return handler

    return made


def written(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


def ask(params, method, asked, then=contract.text):
    """Asks for one thing, or says what came of it."""
    answer = (params.input_responses or {}).get("asked")
    if answer is None:
        request = {"method": method, "params": asked} if asked else {"method": method}
        return {"resultType": "input_required", "inputRequests": {"asked": request}}
    return then(written(answer))


def form(message):
    return {"mode": "form", "message": message, "requestedSchema": CONTRACT["form"]}


@answers(types.ListToolsResult)
async def list_tools(_context, params):
    entries, following = contract.page(contract.definitions(False, grown), params and params.cursor)
    if not entries:
        raise MCPError(-32602, "no such cursor")
    return {"tools": entries, **following}


@answers(types.ListResourcesResult)
async def list_resources(_context, _params):
    return {"resources": CONTRACT["resources"]}


@answers(types.ListResourceTemplatesResult)
async def list_templates(_context, _params):
    return {"resourceTemplates": CONTRACT["templates"]}


@answers(types.ReadResourceResult)
async def read(_context, params):
    found = contract.contents(str(params.uri))
    if found is None:
        raise MCPError(-32602, "Resource not found")
    return {"contents": [found]}


@answers(types.ListPromptsResult)
async def list_prompts(_context, _params):
    return {"prompts": CONTRACT["prompts"]}


@answers(types.GetPromptResult)
async def get_prompt(_context, params):
    if params.name != "ask_in_prompt":
        return contract.introduction((params.arguments or {}).get("who"))
    asked = form("Who is it?")
    return ask(params, "elicitation/create", asked, lambda answer: contract.introduction(answer["content"]["name"]))


@answers(types.CompleteResult)
async def complete(_context, params):
    values = contract.completions(params.argument.value, params.context and params.context.arguments)
    return {"completion": {"values": values}}


@answers(types.EmptyResult)
async def set_level(_context, _params):
    """By it the library says that the server logs; a modern client never sends it."""
    return {}


@answers(types.CallToolResult)
async def call(context, params):
    global grown
    observed["calls"] += 1
    arguments = params.arguments or {}
    message = arguments.get("message")
    match params.name:
        case "echo":
            return {**contract.text(f"Echo: {message}"), "structuredContent": {"message": message}}
        case "fail":
            return {**contract.text("this tool fails on purpose"), "isError": True}
        case "slow":
            for step in (1, 2, 3):
                await context.session.report_progress(step, 3)
                # Libraries forget what they read together with the answer.
                await asyncio.sleep(0.2)
            return contract.text("three steps done")
        case "wait":
            observed["waiting"] += 1
            try:
                await context.session.report_progress(1, 3)
                await asyncio.Event().wait()
            finally:
                observed["waiting"] -= 1
                observed["cancelled"].append(arguments.get("key"))
        case "observations":
            return contract.text(observed)
        case "contents":
            return CONTRACT["contents"]
        case "mirrored":
            request = getattr(context, "request", None)
            observed["mirrored"].append(request and request.headers.get("mcp-param-region"))
            return contract.text(f"In {arguments['place']['region']}")
        case "view":
            return contract.text("viewed")
        case "log":
            for level in CONTRACT["levels"]:
                await context.session.send_log_message(level, f"said at {level}", "contract", context.request_id)
            return contract.text("logged")
        case "touch":
            await bus.publish(ResourceUpdated(arguments["uri"]))
            return contract.text("touched")
        case "grow":
            grown += 1
            for event in (ToolsListChanged(), PromptsListChanged(), ResourcesListChanged()):
                await bus.publish(event)
            return contract.text(f"grown_{grown}")
        case "ask_form":
            return ask(params, "elicitation/create", form(message))
        case "ask_twice":
            # The answer of the first round stands in the state of the second.
            given = json.loads(params.request_state or "[]")
            if answer := (params.input_responses or {}).get("asked"):
                given.append(written(answer))
            if len(given) == 2:
                return contract.text(given)
            question = f"Who knows {given[0]['content']['name']}?" if given else "What is your name?"
            requests = {"asked": {"method": "elicitation/create", "params": form(question)}}
            return {"resultType": "input_required", "inputRequests": requests, "requestState": json.dumps(given)}
        case "ask_url":
            asked = {"mode": "url", "message": message, "url": "https://example.com/consent"}
            return ask(params, "elicitation/create", asked)
        case "ask_model":
            return ask(params, "sampling/createMessage", contract.model_request(message, False))
        case "ask_model_with_tools":
            return ask(params, "sampling/createMessage", contract.model_request(message, True))
        case "ask_roots":
            return ask(params, "roots/list", None)
        case other if other.startswith("grown_"):
            return contract.text(other)
        case other:
            raise MCPError(-32602, f"Unknown tool: {other}")


server = Server(
    "python-modern",
    version="1.0.0",
    cache_hints={
        "tools/list": CacheHint(ttl_ms=60_000, scope="public"),
        "prompts/list": CacheHint(ttl_ms=5000, scope="private"),
        "resources/list": CacheHint(ttl_ms=30_000, scope="public"),
        "resources/read": CacheHint(ttl_ms=20_000, scope="public"),
    },
    on_list_tools=list_tools,
    on_call_tool=call,
    on_list_resources=list_resources,
    on_list_resource_templates=list_templates,
    on_read_resource=read,
    on_list_prompts=list_prompts,
    on_get_prompt=get_prompt,
    on_completion=complete,
    on_set_logging_level=set_level,
    on_subscriptions_listen=ListenHandler(bus),
)


async def over_stdio():
    told = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
    async with stdio_server() as (read_stream, write_stream):
        await server.run(read_stream, write_stream, server.create_initialization_options(told))


async def over_http():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"}), flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="warning", access_log=False)
    await uvicorn.Server(config).serve(sockets=[listener])


asyncio.run(over_stdio() if sys.argv[1] == "stdio" else over_http())
