"""The client of PyPI `mcp` 2.x: finds the era by itself."""

import asyncio
from contextlib import asynccontextmanager

import driver
import mcp.types as types
from mcp import StdioServerParameters
from mcp.client.client import Client as Library
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client


class Client:
    def __init__(self, client):
        self.client, self.protocol = client, client.protocol_version

    async def tools(self):
        return [tool.name for tool in await driver.paged(lambda c: self.client.list_tools(cursor=c), "tools")]

    async def resources(self):
        found = await driver.paged(lambda c: self.client.list_resources(cursor=c), "resources")
        return [str(item.uri) for item in found]

    async def templates(self):
        found = await driver.paged(lambda c: self.client.list_resource_templates(cursor=c), "resource_templates")
        return [item.uri_template for item in found]

    async def prompts(self):
        return [item.name for item in await driver.paged(lambda c: self.client.list_prompts(cursor=c), "prompts")]

    async def call(self, name, arguments, seen):
        async def progress(done, _total, _message):
            seen(done)

        return driver.called(await self.client.call_tool(name, arguments, progress_callback=progress if seen else None))

    async def read(self, uri):
        return {"text": driver.text_of((await self.client.read_resource(uri)).contents)}

    async def prompt(self, name, arguments):
        return driver.prompted(await self.client.get_prompt(name, arguments))

    async def complete(self, ref, argument):
        if ref["type"] == "ref/prompt":
            ref = types.PromptReference(**ref)
        else:
            ref = types.ResourceTemplateReference(**ref)
        return {"values": (await self.client.complete(ref, argument)).completion.values}

    async def ping(self):
        await self.client.send_ping()
        return {}

    async def cancel(self, name, arguments):
        return await driver.cancelled(lambda seen: self.call(name, arguments, seen))


@asynccontextmanager
async def connect(to):
    mode = to.get("mode", "auto")
    if "url" in to:
        target = to["url"]
    elif "sse" in to:
        target = sse_client(to["sse"])
        mode = "legacy"
    else:
        command, *args = to["command"]
        target = stdio_client(StdioServerParameters(command=command, args=args, env=to.get("env")))
    async with Library(target, mode=mode) as client:
        yield Client(client)


asyncio.run(driver.run(connect))
