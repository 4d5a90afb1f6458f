"""The client of PyPI `fastmcp`: finds the era by itself."""

import asyncio
from contextlib import asynccontextmanager

import driver
import mcp.types as types
from fastmcp import Client as Library
from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport


class Client:
    def __init__(self, client):
        self.client, self.protocol = client, getattr(client.session, "protocol_version", None)

    async def tools(self):
        return [tool.name for tool in await self.client.list_tools()]

    async def resources(self):
        return [str(item.uri) for item in await self.client.list_resources()]

    async def templates(self):
        found = await self.client.list_resource_templates()
        return [getattr(item, "uri_template", None) or item.uriTemplate for item in found]

    async def prompts(self):
        return [prompt.name for prompt in await self.client.list_prompts()]

    async def call(self, name, arguments, seen):
        async def progress(done, _total, _message):
            seen(done)

        handler = {"progress_handler": progress} if seen else {}
        return driver.called(await self.client.call_tool_mcp(name, arguments, **handler))

    async def read(self, uri):
        return {"text": driver.text_of(await self.client.read_resource(uri))}

    async def prompt(self, name, arguments):
        return driver.prompted(await self.client.get_prompt(name, arguments))

    async def complete(self, ref, argument):
        if ref["type"] == "ref/prompt":
            ref = types.PromptReference(**ref)
        else:
            ref = types.ResourceTemplateReference(**ref)
        return {"values": (await self.client.complete(ref, argument)).values}

    async def ping(self):
        await self.client.ping()
        return {}

    async def cancel(self, name, arguments):
        return await driver.cancelled(lambda seen: self.call(name, arguments, seen))


@asynccontextmanager
async def connect(to):
    if "url" in to:
        transport = StreamableHttpTransport(to["url"])
    elif "sse" in to:
        transport = SSETransport(to["sse"])
    else:
        command, *args = to["command"]
        transport = StdioTransport(command=command, args=args, env=to.get("env"), keep_alive=False)
    async with Library(transport) as client:
        yield Client(client)


asyncio.run(driver.run(connect))
