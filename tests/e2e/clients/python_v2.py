"""The client of PyPI `mcp` 2.x: finds the era by itself."""

import asyncio
from contextlib import asynccontextmanager

import driver
import httpx2
import oauth
import mcp.types as types
from mcp import StdioServerParameters
from mcp.client.client import Client as Library
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


LOG_LEVEL = "io.modelcontextprotocol/logLevel"


class Client:
    def __init__(self, client, heard):
        self.client, self.protocol, self.heard = client, client.protocol_version, heard
        self.meta, self.listening, self.stop = None, None, asyncio.Event()

    async def result(self, wanted):
        if wanted.get("task"):
            raise ValueError("this client has no tasks")
        progress = {"progress_callback": self.heard.progress} if wanted.get("progress") else {}
        return await self.client.call_tool(wanted["name"], wanted["arguments"], meta=self.meta, **progress)

    async def page(self, wanted):
        asked = {
            "tools": self.client.list_tools,
            "resources": self.client.list_resources,
            "templates": self.client.list_resource_templates,
            "prompts": self.client.list_prompts,
        }[wanted["list"]]
        return await asked(cursor=wanted.get("cursor"), cache_mode="bypass")

    async def readResource(self, wanted):
        return await self.client.read_resource(wanted["uri"], cache_mode="bypass")

    async def getPrompt(self, wanted):
        return await self.client.get_prompt(wanted["name"], wanted.get("arguments"))

    async def completed(self, wanted):
        prompt = wanted["ref"]["type"] == "ref/prompt"
        ref = (types.PromptReference if prompt else types.ResourceTemplateReference)(**wanted["ref"])
        context = wanted.get("context", {}).get("arguments")
        return await self.client.complete(ref, wanted["argument"], context)

    async def setLevel(self, wanted):
        if self.protocol == "2026-07-28":
            self.meta = {LOG_LEVEL: wanted["level"]}
            return {}
        return await self.client.set_logging_level(wanted["level"])

    async def watch(self, wanted):
        uris, lists = wanted.get("uris", []), wanted.get("lists", [])
        if self.protocol != "2026-07-28":
            for uri in uris:
                await self.client.subscribe_resource(uri)
            return {"resourceSubscriptions": uris}
        honored = asyncio.get_running_loop().create_future()
        self.listening = asyncio.ensure_future(self.listen(uris, lists, honored))
        done, _ = await asyncio.wait([honored, self.listening], return_when=asyncio.FIRST_COMPLETED)
        return await done.pop()

    async def listen(self, uris, lists, honored):
        wanted = {f"{name}_list_changed": True for name in lists}

        async def follow(subscription):
            async for event in subscription:
                if uri := getattr(event, "uri", None):
                    self.heard.add("updated", uri)
                else:
                    self.heard.add("changed", type(event).__name__.removesuffix("ListChanged").lower())

        async with self.client.listen(resource_subscriptions=uris, **wanted) as subscription:
            honored.set_result(subscription.honored)
            following = asyncio.ensure_future(follow(subscription))
            await asyncio.wait([following, asyncio.ensure_future(self.stop.wait())], return_when=asyncio.FIRST_COMPLETED)
            following.cancel()

    async def unwatch(self, wanted):
        if self.listening:
            self.stop.set()
            await self.listening
            self.listening = None
        elif self.protocol != "2026-07-28":
            for uri in wanted.get("uris", []):
                await self.client.unsubscribe_resource(uri)
        return {}

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


def callbacks(answers, heard):
    """What the client is told that it can do: what there are answers for."""

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
        method = getattr(message, "method", None)
        # What comes on the stream of a subscription comes here too, and is noted there.
        subscribed = "io.modelcontextprotocol/subscriptionId" in (driver.written(message.params) or {}).get("_meta", {})
        if method and not hasattr(message, "id") and not subscribed:
            heard.notification(method, message.params)

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
    mode = to.get("mode", "auto")
    account = oauth.Account(to["url"], to["oauth"]) if "oauth" in to else None
    if account or "headers" in to:
        http = account.http() if account else httpx2.AsyncClient(headers=to["headers"], timeout=30)
        target = streamable_http_client(to["url"], http_client=http)
    elif "url" in to:
        target = to["url"]
    elif "sse" in to:
        target = sse_client(to["sse"])
        mode = "legacy"
    else:
        command, *args = to["command"]
        target = stdio_client(StdioServerParameters(command=command, args=args, env=to.get("env")))
    async with Library(target, mode=mode, **callbacks(to.get("answers", {}), heard)) as library:
        client = Client(library, heard)
        client.account = account
        yield client
        await client.unwatch({})


asyncio.run(driver.run(connect))
