"""The client of PyPI `mcp` 1.x: legacy only."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import driver
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


class Client:
    def __init__(self, session, protocol):
        self.session, self.protocol = session, protocol

    async def tools(self):
        return [tool.name for tool in await driver.paged(self.session.list_tools, "tools")]

    async def resources(self):
        return [str(item.uri) for item in await driver.paged(self.session.list_resources, "resources")]

    async def templates(self):
        found = await driver.paged(self.session.list_resource_templates, "resourceTemplates")
        return [item.uriTemplate for item in found]

    async def prompts(self):
        return [prompt.name for prompt in await driver.paged(self.session.list_prompts, "prompts")]

    async def call(self, name, arguments, seen):
        async def progress(done, _total, _message):
            seen(done)

        return driver.called(await self.session.call_tool(name, arguments, progress_callback=progress if seen else None))

    async def read(self, uri):
        return {"text": driver.text_of((await self.session.read_resource(uri)).contents)}

    async def prompt(self, name, arguments):
        return driver.prompted(await self.session.get_prompt(name, arguments))

    async def complete(self, ref, argument):
        if ref["type"] == "ref/prompt":
            ref = types.PromptReference(**ref)
        else:
            ref = types.ResourceTemplateReference(**ref)
        return {"values": (await self.session.complete(ref, argument)).completion.values}

    async def ping(self):
        await self.session.send_ping()
        return {}

    async def cancel(self, name, arguments):
        """This library has no call for it: an application sends the notification itself."""
        started, ids = asyncio.Event(), self.session._request_id
        task = asyncio.ensure_future(self.call(name, arguments, lambda _: started.set()))
        await asyncio.wait_for(started.wait(), 15)
        params = types.CancelledNotificationParams(requestId=ids, reason="the test says so")
        notification = types.CancelledNotification(method="notifications/cancelled", params=params)
        await self.session.send_notification(types.ClientNotification(notification))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return {"started": True}


@asynccontextmanager
async def connect(to):
    async with AsyncExitStack() as stack:
        if "url" in to:
            read, write, *_ = await stack.enter_async_context(streamable_http_client(to["url"]))
        elif "sse" in to:
            read, write = await stack.enter_async_context(sse_client(to["sse"]))
        else:
            command, *args = to["command"]
            parameters = StdioServerParameters(command=command, args=args, env=to.get("env"))
            read, write = await stack.enter_async_context(stdio_client(parameters))
        session = await stack.enter_async_context(ClientSession(read, write))
        hello = await session.initialize()
        yield Client(session, hello.protocolVersion)


asyncio.run(driver.run(connect))
