"""A Hub of one process: the endpoints that huggingface_hub needs to create, look at and fill."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_canaryCanaryCanaryCanaryCanary1234"


class FakeHub:
    """`repos` maps "type/owner/name" to its files, `private` to whether it is private.

    The next requests to commit are answered with the codes in `failures` (409 is one that
    huggingface_hub does not try again by itself).
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.failures: list[int] = []
        self.bodies: list[bytes] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self, b"")

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                hub.bodies.append(body)
                hub.answer(self, body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        serve = self.server.serve_forever
        threading.Thread(target=serve, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        status, content = 401, {"error": "Invalid username or password."}
        if request.headers.get("Authorization") == f"Bearer {TOKEN}":
            status, content = self.route(request.path.split("?")[0], body)
        data = json.dumps(content).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def route(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        parts = path.strip("/").split("/")
        match parts:
            case ["api", "whoami-v2"]:
                return 200, {"type": "user", "name": "ann", "auth": {}}
            case ["api", "repos", "create"]:
                return self.create(json.loads(body))
            case ["api", "validate-yaml"]:
                return self.validate(json.loads(body)["content"])
            case ["api", kind, owner, name, "preupload", _]:
                files = json.loads(body)["files"]
                modes = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in files
                ]
                return 200, {"files": modes}
            case ["api", kind, owner, name, "commit", _]:
                return self.commit(f"{kind.rstrip('s')}/{owner}/{name}", body)
            case ["api", kind, owner, name]:
                key = f"{kind.rstrip('s')}/{owner}/{name}"
                if key not in self.repos:
                    return 404, {"error": "Repository not found"}
                found = {"id": f"{owner}/{name}", "private": self.private[key], "sha": "0" * 40}
                return 200, found
        return 404, {"error": f"no {path}"}

    def create(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        kind = asked.get("type") or "model"
        owner = asked.get("organization") or "ann"
        key = f"{kind}/{owner}/{asked['name']}"
        answer = {"url": self.place(kind, owner, asked["name"])}
        if key in self.repos:
            return 409, answer
        self.repos[key] = {}
        private = asked.get("private") or asked.get("visibility") == "private"
        self.private[key] = bool(private)
        return 200, answer

    def validate(self, content: str) -> tuple[int, dict[str, Any]]:
        from huggingface_hub import RepoCard

        try:
            found = RepoCard(content).data.to_dict()
        except ValueError as error:
            return 400, {"errors": [{"message": str(error)}]}
        return 200, {"errors": [], "warnings": [] if found else [{"message": "empty"}]}

    def commit(self, key: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if self.failures:
            return self.failures.pop(0), {"error": "come back later"}
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                content = base64.b64decode(entry["value"]["content"])
                self.repos[key][entry["value"]["path"]] = content
        place = self.place(*key.split("/"))
        return 200, {"commitUrl": f"{place}/commit/{'1' * 40}", "commitOid": "1" * 40}

    def place(self, kind: str, owner: str, name: str) -> str:
        return f"{self.url}/{'' if kind == 'model' else kind + 's/'}{owner}/{name}"
