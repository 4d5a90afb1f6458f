"""Runs the jobs that a test hands over on stdin through one client library, and prints what was seen as JSON.

A job is one connection and what to do on it; tests/e2e/src/clients.rs documents both shapes. A step that fails says so
in its own outcome and does not end the job: the test decides what should have worked.
"""

import asyncio
import json
import sys
import time
import traceback


def describe(error):
    """The innermost cause of an exception, with its JSON-RPC code where it carries one."""
    while getattr(error, "exceptions", None):
        error = error.exceptions[0]
    inner = getattr(error, "error", None)
    code = getattr(inner, "code", None)
    if code is None:
        code = getattr(error, "code", None)
    message = getattr(inner, "message", None) or f"{type(error).__name__}: {error}"
    data = getattr(inner, "data", None)
    said = {"code": code if isinstance(code, int) else None, "message": message}
    return said if data is None else {**said, "data": data}


async def outcome(step):
    try:
        return {"ok": await step}
    except Exception as error:  # what any library raises is an outcome here
        return {"error": describe(error)}


async def progress(client, step):
    seen = []
    answer = await client.call(step["name"], step["arguments"], seen.append)
    # Some libraries deliver notifications from another task: those sent before the answer may be a moment behind it.
    for _ in range(500):
        if len(seen) >= step.get("atLeast", 1):
            break
        await asyncio.sleep(0.02)
    increasing = all(a < b for a, b in zip(seen, seen[1:], strict=False))
    return {**answer, "notifications": len(seen), "increasing": increasing}


async def part(client, steps):
    """The steps that concern one server."""
    done = {}
    for key in ("tool", "toolError", "unknownTool"):
        if key in steps:
            done[key] = await outcome(client.call(steps[key]["name"], steps[key]["arguments"], None))
    if "resource" in steps:
        done["resource"] = await outcome(client.read(steps["resource"]))
    if "prompt" in steps:
        done["prompt"] = await outcome(client.prompt(steps["prompt"]["name"], steps["prompt"]["arguments"]))
    if "completion" in steps:
        completion = steps["completion"]
        done["completion"] = await outcome(client.complete(completion["ref"], completion["argument"]))
    if "progress" in steps:
        done["progress"] = await outcome(progress(client, steps["progress"]))
    return done


class Heard:
    """What the client was told without asking for it, in the order in which it came."""

    def __init__(self):
        self.all = {"asked": [], "logs": [], "updated": [], "changed": [], "completed": [], "progress": []}
        self.arrived = asyncio.Event()

    def add(self, kind, what):
        self.all[kind].append(what)
        self.arrived.set()

    def asked(self, method, params):
        self.add("asked", {"method": method, "params": written(params)})

    def notification(self, method, params):
        """Notes a notification by its method."""
        match method:
            case "notifications/message":
                self.add("logs", written(params))
            case "notifications/resources/updated":
                self.add("updated", str(params.uri))
            case "notifications/tools/list_changed":
                self.add("changed", "tools")
            case "notifications/prompts/list_changed":
                self.add("changed", "prompts")
            case "notifications/resources/list_changed":
                self.add("changed", "resources")
            case "notifications/elicitation/complete":
                self.add("completed", written(params).get("elicitationId"))

    async def progress(self, done, _total, _message):
        self.add("progress", done)

    async def wait(self, wanted):
        """All of a kind, once there are enough of them or the time is over."""
        async def enough():
            while len(self.all[wanted["what"]]) < wanted.get("atLeast", 1):
                self.arrived.clear()
                await self.arrived.wait()

        try:
            await asyncio.wait_for(enough(), wanted.get("withinMs", 20000) / 1000)
        except TimeoutError:
            pass
        return self.all[wanted["what"]]


def written(value):
    """A value of the library as the JSON that it stands for."""
    if value is None or isinstance(value, str | int | float | dict):
        return value
    if isinstance(value, list | tuple):
        return [written(item) for item in value]
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


async def until(client, wanted):
    """Calls a tool again and again, until what it says contains something."""
    late = time.monotonic() + wanted.get("withinMs", 20000) / 1000
    while True:
        said = await client.call(wanted["name"], {}, None)
        if wanted["contains"] in said["text"]:
            return said
        if time.monotonic() > late:
            raise TimeoutError(f"no {wanted['contains']} in {said['text']}")
        await asyncio.sleep(0.05)


async def step(client, heard, wanted):
    match wanted["do"]:
        case "hear":
            return await heard.wait(wanted)
        case "until":
            return await until(client, wanted)
        case "ping":
            return await client.ping()
        case "call":
            return written(await client.result(wanted))
        case "whole":
            member = "resourceTemplates" if wanted["list"] == "templates" else wanted["list"]
            items, cursor = [], {}
            while True:
                page = written(await client.page({**wanted, **cursor}))
                items += page[member]
                if "nextCursor" not in page:
                    return items
                cursor = {"cursor": page["nextCursor"]}
        case other:
            if not hasattr(client, other):
                raise ValueError(f"this client does not know the step {other}")
            return written(await getattr(client, other)(wanted))


async def job(connect, wanted):
    seen = {"id": wanted["id"]}
    heard = Heard()
    async with connect(wanted["connect"], heard) as client:
        seen["protocol"] = client.protocol
        lists = set(wanted.get("lists", [] if "script" in wanted else ["tools"]))
        for key in ("tools", "resources", "templates", "prompts"):
            if key in lists:
                seen[key] = await outcome(getattr(client, key)())
        if wanted.get("ping"):
            seen["ping"] = await outcome(client.ping())
        seen["parts"] = {key: await part(client, steps) for key, steps in wanted.get("parts", {}).items()}
        if "cancel" in wanted:
            seen["cancel"] = await outcome(client.cancel(wanted["cancel"]["name"], wanted["cancel"]["arguments"]))
        if "script" in wanted:
            seen["script"] = [await outcome(step(client, heard, one)) for one in wanted["script"]]
        seen["heard"] = heard.all
        if getattr(client, "account", None):
            seen["oauth"] = client.account.seen()
    return seen


async def run(connect):
    for line in sys.stdin:
        wanted = json.loads(line)
        try:
            seen = await asyncio.wait_for(job(connect, wanted), wanted.get("timeoutS", 30))
        except BaseException as error:
            traceback.print_exc()
            seen = {"id": wanted["id"], "error": describe(error)}
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
        print(json.dumps(seen), flush=True)


async def paged(fetch, key):
    """Every item of a list, over all its pages."""
    items, cursor = [], None
    while True:
        result = await fetch(cursor)
        items += getattr(result, key)
        cursor = getattr(result, "next_cursor", None) or getattr(result, "nextCursor", None)
        if cursor is None:
            return items


def text_of(content):
    return "\n".join(item.text for item in content if getattr(item, "text", None) is not None)


def called(result):
    is_error = getattr(result, "is_error", None)
    if is_error is None:
        is_error = getattr(result, "isError", False)
    return {"isError": bool(is_error), "text": text_of(result.content)}


def prompted(result):
    return {"text": text_of([message.content for message in result.messages])}


async def cancelled(call):
    """Starts a call, and cancels it once its first progress notification shows that the server is at work."""
    started = asyncio.Event()
    task = asyncio.ensure_future(call(lambda _: started.set()))
    try:
        await asyncio.wait_for(started.wait(), 15)
    finally:
        task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return {"started": True}
    return {"started": True, "answered": True}
