"""The client of PyPI `fastmcp`: finds the era by itself."""

import asyncio
from contextlib import asynccontextmanager

import driver
import mcp.types as types
from fastmcp import Client as Library
from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport


LOG_LEVEL = "io.modelcontextprotocol/logLevel"


class Client:
    def __init__(self, client, heard):
        self.client, self.protocol = client, getattr(client.session, "protocol_version", None)
        self.heard, self.meta = heard, None

    async def result(self, wanted):
        if wanted.get("task"):
            raise ValueError("this client has no tasks")
        progress = {"progress_handler": self.heard.progress} if wanted.get("progress") else {}
        return await self.client.call_tool_mcp(wanted["name"], wanted["arguments"], meta=self.meta, **progress)

    async def page(self, wanted):
        asked = {
            "tools": self.client.list_tools_mcp,
            "resources": self.client.list_resources_mcp,
            "templates": self.client.list_resource_templates_mcp,
            "prompts": self.client.list_prompts_mcp,
        }[wanted["list"]]
        return await asked(cursor=wanted.get("cursor"))

    async def readResource(self, wanted):
        return await self.client.read_resource_mcp(wanted["uri"])

    async def getPrompt(self, wanted):
        return await self.client.get_prompt_mcp(wanted["name"], wanted.get("arguments"))

    async def completed(self, wanted):
        prompt = wanted["ref"]["type"] == "ref/prompt"
        ref = (types.PromptReference if prompt else types.ResourceTemplateReference)(**wanted["ref"])
        context = wanted.get("context", {}).get("arguments")
        return await self.client.complete_mcp(ref, wanted["argument"], context)

    async def setLevel(self, wanted):
        if self.protocol == "2026-07-28":
            self.meta = {LOG_LEVEL: wanted["level"]}
            return {}
        await self.client.set_logging_level(wanted["level"])
        return {}

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


def handlers(answers, heard):
    """What the client is told that it can do: what there are answers for."""

    async def elicitation(_message, _kind, params, _context):
        heard.asked("elicitation/create", params)
        return types.ElicitResult(**answers["url" if params.mode == "url" else "form"])

    async def sampling(_messages, params, _context):
        heard.asked("sampling/createMessage", params)
        if params.tools:
            return types.CreateMessageResultWithTools(**answers["samplingTools"])
        return types.CreateMessageResult(**answers["sampling"])

    async def message(message):
        if (method := getattr(message, "method", None)) and not hasattr(message, "id"):
            heard.notification(method, message.params)

    async def log(_message):
        """Noted by the handler of messages."""

    given = {"message_handler": message, "log_handler": log}
    if "form" in answers or "url" in answers:
        given["elicitation_handler"] = elicitation
    if "sampling" in answers:
        given["sampling_handler"] = sampling
        if "samplingTools" in answers:
            given["sampling_capabilities"] = types.SamplingCapability(tools=types.SamplingToolsCapability())
    if "roots" in answers:

        async def roots(_context):
            heard.asked("roots/list", {})
            return [types.Root(**root) for root in answers["roots"]]

        given["roots"] = roots
    return given


@asynccontextmanager
async def connect(to, heard):
    if "url" in to:
        transport = StreamableHttpTransport(to["url"])
    elif "sse" in to:
        transport = SSETransport(to["sse"])
    else:
        command, *args = to["command"]
        transport = StdioTransport(command=command, args=args, env=to.get("env"), keep_alive=False)
    async with Library(transport, mode=to.get("mode", "auto"), cache=False, **handlers(to.get("answers", {}), heard)) as client:
        yield Client(client, heard)


asyncio.run(driver.run(connect))
