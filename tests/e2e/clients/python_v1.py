"""The client of PyPI `mcp` 1.x: legacy only."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import driver
import httpx
import oauth
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


class Client:
    def __init__(self, session, protocol, heard):
        self.session, self.protocol, self.heard = session, protocol, heard

    async def result(self, wanted):
        name, arguments = wanted["name"], wanted["arguments"]
        if wanted.get("task"):
            return await self.as_task(name, arguments, wanted.get("ttl", 60_000))
        progress = {"progress_callback": self.heard.progress} if wanted.get("progress") else {}
        return await self.session.call_tool(name, arguments, **progress)

    async def as_task(self, name, arguments, ttl):
        """Runs a tool as a task: what was said of it, and its result."""
        tasks = self.session.experimental
        made = await tasks.call_tool_as_task(name, arguments, ttl=ttl)
        said, task_id = [driver.written(made.task)], made.task.taskId
        async for status in tasks.poll_task(task_id):
            said.append(driver.written(status))
            if status.status == "input_required":
                # What the task asks comes with its result.
                break
        result = await tasks.get_task_result(task_id, types.CallToolResult)
        return {**driver.written(result), "said": said}

    async def page(self, wanted):
        asked = {
            "tools": self.session.list_tools,
            "resources": self.session.list_resources,
            "templates": self.session.list_resource_templates,
            "prompts": self.session.list_prompts,
        }[wanted["list"]]
        cursor = wanted.get("cursor")
        return await asked(params=None if cursor is None else types.PaginatedRequestParams(cursor=cursor))

    async def readResource(self, wanted):
        return await self.session.read_resource(wanted["uri"])

    async def getPrompt(self, wanted):
        return await self.session.get_prompt(wanted["name"], wanted.get("arguments"))

    async def completed(self, wanted):
        prompt = wanted["ref"]["type"] == "ref/prompt"
        ref = (types.PromptReference if prompt else types.ResourceTemplateReference)(**wanted["ref"])
        context = wanted.get("context", {}).get("arguments")
        return await self.session.complete(ref, wanted["argument"], context)

    async def setLevel(self, wanted):
        return await self.session.set_logging_level(wanted["level"])

    async def watch(self, wanted):
        for uri in wanted.get("uris", []):
            await self.session.subscribe_resource(uri)
        return {"resourceSubscriptions": wanted.get("uris", [])}

    async def unwatch(self, wanted):
        for uri in wanted.get("uris", []):
            await self.session.unsubscribe_resource(uri)
        return {}

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


def callbacks(answers, heard):
    """What the session is told that it can do: what there are answers for."""

    async def elicitation(_context, params):
        heard.asked("elicitation/create", params)
        return types.ElicitResult(**answers["url" if params.mode == "url" else "form"])

    async def sampling(_context, params):
        heard.asked("sampling/createMessage", params)
        if params.tools:
            return types.CreateMessageResultWithTools(**answers["samplingTools"])
        return types.CreateMessageResult(**answers["sampling"])

    async def roots(_context):
        heard.asked("roots/list", {})
        return types.ListRootsResult(roots=answers["roots"])

    async def message(message):
        if isinstance(message, types.ServerNotification):
            heard.notification(message.root.method, message.root.params)

    # This library asks for both modes of elicitation at once.
    given = {"message_handler": message}
    if "form" in answers or "url" in answers:
        given["elicitation_callback"] = elicitation
    if "sampling" in answers:
        given["sampling_callback"] = sampling
        if "samplingTools" in answers:
            given["sampling_capabilities"] = types.SamplingCapability(tools=types.SamplingToolsCapability())
    if "roots" in answers:
        given["list_roots_callback"] = roots
    return given


@asynccontextmanager
async def connect(to, heard):
    async with AsyncExitStack() as stack:
        account = oauth.Account(to["url"], to["oauth"]) if "oauth" in to else None
        if "url" in to:
            http = None
            if account or "headers" in to:
                http = account.http() if account else httpx.AsyncClient(headers=to["headers"], timeout=30)
                await stack.enter_async_context(http)
            read, write, *_ = await stack.enter_async_context(streamable_http_client(to["url"], http_client=http))
        elif "sse" in to:
            read, write = await stack.enter_async_context(sse_client(to["sse"]))
        else:
            command, *args = to["command"]
            parameters = StdioServerParameters(command=command, args=args, env=to.get("env"))
            read, write = await stack.enter_async_context(stdio_client(parameters))
        given = callbacks(to.get("answers", {}), heard)
        session = await stack.enter_async_context(ClientSession(read, write, **given))
        hello = await session.initialize()
        client = Client(session, hello.protocolVersion, heard)
        client.account = account
        yield client


asyncio.run(driver.run(connect))
