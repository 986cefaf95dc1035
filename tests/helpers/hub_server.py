"""As much of the Hugging Face hub's interface as fetching and uploading takes, on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

_MOST_SENT = 1 << 29  # of a body without an end, should nobody hang up


@dataclass
class Hub:
    """Repositories by name: commits, oldest first, each with its files. `lies` changes what is served of a file."""

    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    lies: dict[str, bytes] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)  # stated in place of the true ones
    endless: set[str] = field(default_factory=set)  # files whose body goes on until the reader hangs up
    sent: int = 0  # bytes of such bodies
    asked: list[str] = field(default_factory=list)
    base: str = ""

    def add(self, repo: str, files: dict[str, bytes]) -> str:
        """A new commit with these files; returns its hash."""
        commit = hashlib.sha1(repr((repo, sorted(files.items()))).encode()).hexdigest()
        self.repos.setdefault(repo, {})[commit] = files
        return commit

    def commit(self, repo: str, revision: str) -> str | None:
        """The commit that a revision names."""
        commits = self.repos.get(repo, {})
        return list(commits)[-1] if revision == "main" and commits else revision if revision in commits else None

    @property
    def fetched(self) -> list[str]:
        """Names of the files whose content was asked for."""
        return [line.rpartition("/")[2] for line in self.asked if line.startswith("GET") and "/resolve/" in line]


def git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@contextmanager
def serve_hub(hub: Hub) -> Iterator[Hub]:
    """The hub, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            _get(self, hub)

        def do_HEAD(self) -> None:
            _get(self, hub)

        def do_POST(self) -> None:
            _post(self, hub)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _get(handler: BaseHTTPRequestHandler, hub: Hub) -> None:
    path = unquote(urlsplit(handler.path).path)
    hub.asked.append(f"{handler.command} {path}")
    if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
        repo, commit = found[1], hub.commit(found[1], found[2] or "main")
        if commit is None:
            return _missing(handler, "RevisionNotFound" if repo in hub.repos else "RepoNotFound")
        files = hub.repos[repo][commit]
        siblings = [
            {"rfilename": name, "size": hub.sizes.get(name, len(content)), "blobId": git_hash(content)}
            for name, content in files.items()
        ]
        return _json(handler, {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings, "private": False})
    if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
        files = hub.repos[found[1]][found[2]]
        rows = [{"type": "file", "path": n, "size": len(c), "oid": git_hash(c)} for n, c in files.items()]
        return _json(handler, rows)
    if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
        commit = hub.commit(found[1], found[2])
        content = hub.repos[found[1]][commit].get(found[3]) if commit else None
        if content is None:
            return _missing(handler, "EntryNotFound")
        headers = {"ETag": f'"{git_hash(content)}"', "X-Repo-Commit": str(commit)}
        if found[3] in hub.endless and handler.command == "GET":
            return _send_on(handler, hub, headers)
        return _send(handler, hub.lies.get(found[3], content), headers)
    return _missing(handler, "EntryNotFound")


def _post(handler: BaseHTTPRequestHandler, hub: Hub) -> None:
    body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    path = unquote(urlsplit(handler.path).path)
    hub.asked.append(f"POST {path}")
    if path == "/api/repos/create":
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        hub.repos.setdefault(name, {})
        return _json(handler, {"url": f"{hub.base}/{name}", "id": name})
    if path == "/api/validate-yaml":
        return _json(handler, {"errors": [], "warnings": []})
    if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
        rows = [
            {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
            for each in json.loads(body)["files"]
        ]
        return _json(handler, {"files": rows})
    if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
        lines = [json.loads(line) for line in body.splitlines() if line]
        files = {
            each["value"]["path"]: base64.b64decode(each["value"]["content"]) for each in lines if each["key"] == "file"
        }
        commit = hub.add(found[1], files)
        return _json(
            handler, {"success": True, "commitUrl": f"{hub.base}/{found[1]}/commit/{commit}", "commitOid": commit}
        )
    return _missing(handler, "EntryNotFound")


def _missing(handler: BaseHTTPRequestHandler, code: str) -> None:
    body = json.dumps({"error": code}).encode()
    handler.send_response(404)
    handler.send_header("X-Error-Code", code)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def _send_on(handler: BaseHTTPRequestHandler, hub: Hub, headers: dict[str, str]) -> None:
    handler.send_response(200)
    for name, value in {**headers, "Connection": "close"}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.close_connection = True
    with suppress(ConnectionError):
        while hub.sent < _MOST_SENT:
            handler.wfile.write(bytes(1 << 20))
            hub.sent += 1 << 20


def _json(handler: BaseHTTPRequestHandler, value: Any) -> None:
    _send(handler, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _send(handler: BaseHTTPRequestHandler, body: bytes, headers: dict[str, str]) -> None:
    start = 0
    if asked := re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", "")):
        start = int(asked[1])
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body) - start))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body[start:])
