"""A small modern server on PyPI `mcp` 2.x. `stdio` and `http` choose how it is reached; over HTTP it prints its URL as
one line of JSON."""

import asyncio
import json
import socket
import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import Completion

server = MCPServer("python-modern", log_level="WARNING")
observed = {"calls": 0, "waiting": 0, "cancelled": 0}


@server.tool()
def greet(who: str) -> str:
    """Greets"""
    observed["calls"] += 1
    return f"Hello, {who}, from Python"


@server.tool()
def fail() -> str:
    """Fails"""
    raise ValueError("this tool fails on purpose")


@server.tool()
async def slow(ctx: Context) -> str:
    """Reports progress"""
    for step in (1, 2, 3):
        await ctx.report_progress(step, 3)
        await asyncio.sleep(0.02)
    return "three steps done"


@server.tool()
async def wait(ctx: Context) -> str:
    """Answers only when cancelled"""
    observed["waiting"] += 1
    try:
        await ctx.report_progress(1, 3)
        await asyncio.Event().wait()
    finally:
        observed["waiting"] -= 1
        observed["cancelled"] += 1
    return "never"


@server.tool()
def observations() -> str:
    """What happened"""
    return json.dumps(observed)


@server.resource("note://greeting", mime_type="text/plain")
def note() -> str:
    return "A greeting in a note"


@server.prompt()
def introduce(who: str) -> str:
    """Introduces"""
    return f"Introduce yourself to {who}"


@server.completion()
async def complete(_ref, argument, _context):
    return Completion(values=[name for name in ("ada", "alan", "grace") if name.startswith(argument.value)])


async def serve_http():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"}), flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="warning", access_log=False)
    await uvicorn.Server(config).serve(sockets=[listener])


if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    asyncio.run(serve_http())
