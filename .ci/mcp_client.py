"""Speaks with Firstlight through the official Python client of the Model Context Protocol: over HTTP and over stdio.

Usage: mcp_client.py BINARY. Starts the service on a folder of its own; exits non-zero at the first thing that is not as the contract says.
"""

import asyncio
import hashlib
import hmac
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.request

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

TOOLS = [
    "integrations_state",
    "integration_webhook_list",
    "integration_webhook_register",
    "integration_webhook_delete",
    "integration_git_auto_commit_get",
    "integration_git_auto_commit_set",
    "integration_notify",
    "integration_emit_event",
]
SECRET = "hush-hush"
GOT = []


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        GOT.append((dict(self.headers), body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


async def said(client, tool, arguments, fails=False):
    result = await client.call_tool(tool, arguments)
    assert bool(result.is_error) == fails, (tool, result)
    if fails:
        return result.content[0].text
    answer = json.loads(result.content[0].text)
    # The client itself holds the structure against the tool's output schema; it says the same as the text.
    assert result.structured_content == (answer if isinstance(answer, dict) else {"result": answer}), (tool, result)
    return answer


async def holds(client, url):
    tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools][:8] == TOOLS, tools
    for tool in tools:
        assert tool.description and tool.input_schema["type"] == "object" and tool.output_schema["type"] == "object", tool
        hints = tool.annotations
        assert hints.read_only_hint == ("list" in tool.name or "get" in tool.name or "state" in tool.name), tool
        assert None not in (hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint), tool
    destructive = [tool.name for tool in tools if tool.annotations.destructive_hint]
    assert destructive == ["integration_webhook_delete", "approval_respond"], destructive
    state = await said(client, "integrations_state", {})
    assert state["version"] == 1 and state["webhooks"] == [], state
    made = await said(client, "integration_webhook_register", {"url": url, "secret": SECRET})
    assert made["created"] and made["webhook"]["has_secret"], made
    assert await said(client, "integration_webhook_list", {}) == [made["webhook"]]
    again = await said(client, "integration_webhook_register", {"url": url, "events": ["task.completed"]})
    assert again["created"] is False and again["webhook"]["id"] == made["webhook"]["id"], again
    assert again["webhook"]["has_secret"] and again["webhook"]["events"] == ["task.completed"], again
    skipped = await said(client, "integration_emit_event", {"eventName": "session.start"})
    assert (skipped["sent"], skipped["skipped"]) == (0, 1), skipped
    before = len(GOT)
    emitted = await said(client, "integration_emit_event", {"eventName": "task.completed", "payload": {"n": 1}})
    assert (emitted["sent"], emitted["failed"], emitted["skipped"]) == (1, 0, 0), emitted
    headers, body = GOT[before]
    expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-Ams-Signature" if "X-Ams-Signature" in headers else "x-ams-signature"] == expected, headers
    assert json.loads(body)["payload"] == {"n": 1}
    told = await said(client, "integration_notify", {"channel": "webhook", "message": "hi", "webhook_url": url})
    assert told["success"] and told["delivered"], told
    assert json.loads(GOT[-1][1]) == {"message": "hi", "attachments": []}, GOT[-1]
    stored = await said(client, "integration_notify", {"channel": "email", "message": "hi", "priority": "low"})
    assert stored["success"] and not stored["delivered"] and stored["delivery"] is None, stored
    assert (await said(client, "integration_git_auto_commit_get", {}))["enabled"] is False
    changed = await said(client, "integration_git_auto_commit_set", {"on_events": ["error"]})
    assert changed == {"enabled": False, "on_events": ["error"]}, changed
    for tool, arguments, expected in [
        ("integration_emit_event", {"eventName": "nonsense"}, "session.start"),
        ("integration_notify", {"channel": "slack", "message": "m", "retry_count": -1}, "retry_count: must be 0 to 10"),
        ("integration_webhook_register", {"url": "ftp://a.example"}, "url: must be an http or https URL"),
        ("integration_webhook_register", {"url": url, "secret": "x" * 2**20}, "at most 1024 bytes"),
    ]:
        words = await said(client, tool, arguments, fails=True)
        assert expected in words, words
    removed = await said(client, "integration_webhook_delete", {"webhookId": made["webhook"]["id"]})
    assert removed == {"removed": True, "webhook_id": made["webhook"]["id"]}, removed


def ready(process):
    for line in process.stderr:
        if json.loads(line)["message"] == "ready":
            return "http://" + json.loads(line)["address"]
    raise SystemExit("the service did not get ready")


def token(base, password):
    body = json.dumps({"password": password}).encode()
    request = urllib.request.Request(base + "/admin/api/login", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["token"]


async def over_stdio(binary, folder, env, url):
    arguments = ["mcp", "--state-dir", os.path.join(folder, "state")]
    stdio = StdioServerParameters(command=binary, args=arguments, env=env, cwd=folder)
    async with Client(stdio_client(stdio)) as client:
        await holds(client, url)
        assert "runs" in await said(client, "runs_list", {"limit": 1})


async def main(binary):
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{receiver.server_address[1]}/hook"
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "firstlight.yaml"), "w") as settings:
            settings.write("outbound: {allow: [127.0.0.0/8]}\n")
        env = {"PATH": os.environ["PATH"], "ADMIN_PASSWORD": "a password", "WEBHOOK_SECRET": "a secret"}
        serve = [binary, "serve", "--listen", "127.0.0.1:0", "--state-dir", os.path.join(folder, "state")]
        process = subprocess.Popen(serve, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
        try:
            base = ready(process)
            threading.Thread(target=process.stderr.read, daemon=True).start()
            bearer = {"Authorization": "Bearer " + token(base, "a password")}
            async with create_mcp_http_client(headers=bearer) as http_client:
                async with Client(streamable_http_client(base + "/mcp", http_client=http_client)) as client:
                    await holds(client, url)
            print("MCP over HTTP holds, by the official Python client")
            env |= {"FIRSTLIGHT_URL": base, "FIRSTLIGHT_TOKEN": bearer["Authorization"].split()[1]}
            await over_stdio(binary, folder, env, url)
            print("MCP over stdio holds beside the service, by the official Python client")
        finally:
            process.terminate()
            assert process.wait(timeout=15) == 0
        await over_stdio(binary, folder, env, url)
        print("MCP over stdio holds without the service, by the official Python client")


asyncio.run(main(sys.argv[1]))
