"""Runs the jobs that a test hands over on stdin through one client library, and prints what was seen as JSON.

A job is one connection and what to do on it; tests/e2e/src/clients.rs documents both shapes. A step that fails says so
in its own outcome and does not end the job: the test decides what should have worked.
"""

import asyncio
import json
import sys
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
    return {"code": code if isinstance(code, int) else None, "message": message}


async def outcome(step):
    try:
        return {"ok": await step}
    except Exception as error:  # what any library raises is an outcome here
        return {"error": describe(error)}


async def progress(client, step):
    seen = []
    answer = await client.call(step["name"], step["arguments"], seen.append)
    # Some libraries deliver notifications from another task: those sent before the answer may be a moment behind it.
    for _ in range(50):
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


async def job(connect, wanted):
    seen = {"id": wanted["id"]}
    async with connect(wanted["connect"]) as client:
        seen["protocol"] = client.protocol
        lists = set(wanted.get("lists", ["tools"]))
        for key in ("tools", "resources", "templates", "prompts"):
            if key in lists:
                seen[key] = await outcome(getattr(client, key)())
        if wanted.get("ping"):
            seen["ping"] = await outcome(client.ping())
        seen["parts"] = {key: await part(client, steps) for key, steps in wanted.get("parts", {}).items()}
        if "cancel" in wanted:
            seen["cancel"] = await outcome(client.cancel(wanted["cancel"]["name"], wanted["cancel"]["arguments"]))
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
