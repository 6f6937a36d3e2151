"""Asks every route of Firstlight's API with what its document allows and what it does not, and looks for answers that it does not promise.

Usage: schemathesis.py BINARY. Starts the service on a folder of its own, without GitHub or Slack; exits non-zero when a route breaks.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

PASSWORD = "a password of the check"
# Streams never end, and the way to a provider leads out of here.
LEFT_OUT = ["/stream", "/oauth/", "/docs", "/logout", "/phases/"]


def main():
    binary = sys.argv[1]
    tool = pathlib.Path(sys.executable).with_name("schemathesis")
    with tempfile.TemporaryDirectory() as folder:
        env = {"PATH": os.environ["PATH"], "ADMIN_PASSWORD": PASSWORD, "MANAGED_REPOS": "acme/site", "WEBHOOK_SECRET": "hush"}
        service = subprocess.Popen(
            [binary, "serve", "--listen", "127.0.0.1:0", "--state-dir", "state"],
            cwd=folder, env=env, stderr=subprocess.PIPE, text=True,
        )
        try:
            for line in service.stderr:
                said = json.loads(line)
                if said.get("message") == "ready":
                    base = "http://" + said["address"]
                    break
            else:
                raise SystemExit("the service did not get ready")
            # What it goes on to say is not read; a full pipe would stop it.
            drain = subprocess.Popen(["cat"], stdin=service.stderr, stdout=subprocess.DEVNULL)
            login = urllib.request.Request(
                base + "/admin/api/login", json.dumps({"password": PASSWORD}).encode(), {"content-type": "application/json"}
            )
            token = json.load(urllib.request.urlopen(login))["token"]
            bearer = {"authorization": "Bearer " + token}
            document = json.load(urllib.request.urlopen(urllib.request.Request(base + "/api/openapi.json", headers=bearer)))
            document["paths"] = {
                path: item for path, item in document["paths"].items() if not any(part in path for part in LEFT_OUT)
            }
            assert len(document["paths"]) > 50, len(document["paths"])
            file = pathlib.Path(folder, "openapi.json")
            file.write_text(json.dumps(document))
            began = time.monotonic()
            done = subprocess.run([
                tool, "run", file, "--url", base, "--header", "Authorization: Bearer " + token,
                "--checks", "not_a_server_error,status_code_conformance,content_type_conformance",
                "--phases", "examples,fuzzing", "--max-examples", "60", "--seed", "7", "--workers", "2",
            ], cwd=folder)
            print(f"{len(document['paths'])} paths in {time.monotonic() - began:.0f} s")
            assert service.poll() is None, "the service is gone"
            drain.kill()
            raise SystemExit(done.returncode)
        finally:
            service.kill()


main()
