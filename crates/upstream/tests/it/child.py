"""A server on standard input and output that behaves, or misbehaves, as it is told.

The first argument is what it does with `server/discover`: `legacy` refuses it, `modern` answers it, `silent` ignores
it, `fragile` dies of it. What a call does is the name of its tool.
"""

import json
import os
import subprocess
import sys
import time

ERA = sys.argv[1]
STARTS = sys.argv[2] if len(sys.argv) > 2 else None


def say(message):
    raw(json.dumps(message))


def raw(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def result(request, value):
    say({"jsonrpc": "2.0", "id": request["id"], "result": value})


def text(request, words):
    result(request, {"content": [{"type": "text", "text": words}]})


def tell(state, method):
    """On every subscription of a modern server; a legacy one just says it."""
    if ERA != "modern":
        say({"jsonrpc": "2.0", "method": method})
    for stream in state["listening"]:
        say({"jsonrpc": "2.0", "method": method,
             "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": stream}}})


def call(request, state):
    tool = request["params"]["name"]
    arguments = request["params"].get("arguments", {})
    token = request["params"].get("_meta", {}).get("progressToken")
    if tool == "echo":
        text(request, json.dumps(arguments))
    elif tool == "initialize":
        text(request, json.dumps(state["initialize"]))
    elif tool == "pid":
        text(request, str(os.getpid()))
    elif tool == "environment":
        text(request, json.dumps(dict(os.environ)))
    elif tool == "die":
        sys.exit(3)
    elif tool == "hang":
        state["hanging"] = request
    elif tool == "release":
        text(state.pop("hanging"), "released")
        text(request, "done")
    elif tool == "cancelled":
        text(request, json.dumps(state["cancelled"]))
    elif tool == "answers":
        text(request, json.dumps(state["answers"]))
    elif tool == "progress":
        for step in range(3):
            say({"jsonrpc": "2.0", "method": "notifications/progress",
                 "params": {"progressToken": token, "progress": step, "total": 3}})
        text(request, "done")
    elif tool == "log":
        say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "hello"}})
        text(request, "done")
    elif tool == "listening":
        text(request, json.dumps(list(state["listening"].values()), separators=(",", ":"), sort_keys=True))
    elif tool == "touch":
        for stream, wanted in state["listening"].items():
            if arguments["uri"] in wanted.get("resourceSubscriptions", []):
                say({"jsonrpc": "2.0", "method": "notifications/resources/updated",
                     "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": stream},
                                "uri": arguments["uri"]}})
        text(request, "done")
    elif tool == "change":
        tell(state, "notifications/tools/list_changed")
        text(request, "done")
    elif tool == "ask":
        say({"jsonrpc": "2.0", "id": "roots-1", "method": "roots/list"})
        say({"jsonrpc": "2.0", "id": "ping-1", "method": "ping"})
        text(request, "done")
    elif tool == "print":
        raw("some debugging output")
        text(request, "done")
    elif tool == "malformed":
        raw('{"jsonrpc": "2.0", "id": %d, "result": {' % request["id"])
    elif tool == "malformed-inside":
        raw('{"jsonrpc": "2.0", "id": %d, "result": 5}' % request["id"])
    elif tool == "not-utf8":
        sys.stdout.buffer.write(b'{"jsonrpc":"2.0","id":%d,"result":{"a":"\xff"}}\n' % request["id"])
        sys.stdout.buffer.flush()
    elif tool == "strays":
        say({"jsonrpc": "2.0", "id": 999999, "result": {}})
        say({"jsonrpc": "2.0", "id": "mine", "result": {}})
        text(request, "first")
        text(request, "second")
    elif tool == "huge":
        raw('{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"%s"}]}}'
            % (request["id"], "x" * arguments["bytes"]))
    elif tool == "family":
        inside = subprocess.Popen(["sleep", "1000"])
        outside = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        text(request, json.dumps([os.getpid(), inside.pid, outside.pid]))
    elif tool == "stderr":
        for number in range(arguments["lines"]):
            sys.stderr.write("line %d\n" % number)
        sys.stderr.flush()
        text(request, "done")
    elif tool == "stubborn":
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        text(request, "done")
        sys.stdin = None
        while True:
            time.sleep(1)
    else:
        say({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32602, "message": "Unknown tool"}})


def main():
    if STARTS:
        with open(STARTS, "a") as file:
            file.write("%d\n" % os.getpid())
    state = {"initialize": None, "cancelled": [], "answers": [], "listening": {}}
    for line in sys.stdin:
        message = json.loads(line)
        method = message.get("method")
        if method == "server/discover":
            if ERA == "modern":
                result(message, {
                    "resultType": "complete", "supportedVersions": ["2026-07-28"],
                    "capabilities": {"tools": {"listChanged": True}, "resources": {"subscribe": True}}, "ttlMs": 0, "cacheScope": "public",
                    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "child", "version": "1"}}})
            elif ERA == "fragile":
                sys.exit(1)
            elif ERA != "silent":
                say({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "Method not found"}})
        elif method == "subscriptions/listen":
            state["listening"][message["id"]] = message["params"]["notifications"]
            say({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                 "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": message["id"]},
                            "notifications": message["params"]["notifications"]}})
        elif method == "initialize":
            if ERA == "refusing":
                say({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32603, "message": "secret reason"}})
            elif ERA == "strange":
                result(message, {"protocolVersion": "1999-01-01", "capabilities": {}, "serverInfo": {}})
            else:
                state["initialize"] = message["params"]
                result(message, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": True}},
                                 "serverInfo": {"name": "child", "version": "1"}, "instructions": "Be kind."})
        elif method == "notifications/cancelled":
            state["cancelled"].append(message["params"]["requestId"])
            state["listening"].pop(message["params"]["requestId"], None)
        elif method == "tools/call":
            call(message, state)
        elif "id" in message and method is None:
            state["answers"].append(message)
        elif method == "silence":
            pass
        elif "id" in message:
            result(message, {})


main()
