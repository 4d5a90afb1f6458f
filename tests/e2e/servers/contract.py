"""What the Python servers of both generations offer to the test `features`: the contract, as Python."""

import json
from pathlib import Path

CONTRACT = json.loads(Path(__file__).with_suffix(".json").read_text())

# What happened since the process started.
observed = {"calls": 0, "waiting": 0, "cancelled": [], "mirrored": [], "subscribed": 0, "levels": []}


def definitions(legacy, grown):
    """The tools. `legacy` adds what only a legacy server can do, `grown` the tools that were added later."""
    tools = [
        {
            "name": tool["name"],
            "description": tool["description"],
            "inputSchema": {"type": "object", "properties": tool["arguments"]},
            **tool.get("more", {}),
        }
        for tool in CONTRACT["tools"]
        # Tasks, and streams that are cut, are left to the TypeScript servers.
        if (legacy or not tool.get("legacy")) and tool["name"] not in ("job", "ask_job", "cut", "ask_alone")
    ]
    added = range(1, grown + 1)
    return tools + [{"name": f"grown_{number}", "inputSchema": {"type": "object"}} for number in added]


def page(entries, cursor):
    """Five entries from a cursor on, and the next cursor; no entries for a cursor that is none."""
    start = int(cursor or 0) if str(cursor or 0).isdigit() else len(entries)
    following = {"nextCursor": str(start + 5)} if start + 5 < len(entries) else {}
    return entries[start : start + 5], following


def contents(uri):
    """What a resource holds; nothing if there is none."""
    if uri == CONTRACT["view"]["uri"]:
        return CONTRACT["view"]
    if uri == CONTRACT["note"]:
        return {"uri": uri, "mimeType": "text/plain", "text": "A greeting in a note"}
    if uri.startswith("note://people/"):
        return {"uri": uri, "mimeType": "text/plain", "text": f"A note on {uri.removeprefix('note://people/')}"}
    return None


def completions(value, context):
    values = [name for name in CONTRACT["completions"] if name.startswith(value)]
    team = (context or {}).get("team")
    return [f"{name} of {team}" for name in values] if team else values


def text(said):
    return {"content": [{"type": "text", "text": said if isinstance(said, str) else json.dumps(said)}]}


def introduction(who):
    return {"messages": [{"role": "user", "content": {"type": "text", "text": f"Introduce yourself to {who}"}}]}


def model_request(message, tools):
    asked = {"messages": [{"role": "user", "content": {"type": "text", "text": message}}], "maxTokens": 64}
    return {**asked, "tools": CONTRACT["sampling_tools"], "toolChoice": {"mode": "auto"}} if tools else asked
