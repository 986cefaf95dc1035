"""A server on this machine that gives one file, well or badly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Serving:
    """What the server does, and what it was asked. All of it may be changed while it runs."""

    content: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True
    obeys_if_range: bool = True
    status: int = 200
    cut_after: list[int] = field(default_factory=list)  # of the next answers, bytes after which each breaks off
    drip_s: float = 0.0  # before each byte
    stall_after: int | None = None
    endless: bool = False
    length: bool = True
    location: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], None] | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    base: str = ""

    @property
    def url(self) -> str:
        """Of the file."""
        return f"{self.base}/w.safetensors"

    @property
    def ranges_asked(self) -> list[str | None]:
        """The `Range` of each request."""
        return [each.get("Range") for each in self.asked]


@contextmanager
def serve(serving: Serving) -> Iterator[Serving]:
    """The server, until the block ends."""
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            serving.asked.append(dict(self.headers.items()))
            if serving.before is not None:
                serving.before()
            with suppress(BrokenPipeError, ConnectionResetError):
                _answer(self, serving, stop)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    serving.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield serving
    finally:
        stop.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(handler: BaseHTTPRequestHandler, serving: Serving, stop: threading.Event) -> None:
    if serving.location is not None:
        handler.send_response(302)
        handler.send_header("Location", serving.location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    content, start = serving.content, 0
    asked = handler.headers.get("Range", "")
    same = handler.headers.get("If-Range") == serving.etag or not serving.obeys_if_range
    if serving.ranges and asked and same:
        start = int(asked.removeprefix("bytes=").partition("-")[0])
    handler.send_response(206 if start and serving.status == 200 else serving.status)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    if serving.etag:
        handler.send_header("ETag", serving.etag)
    for name, value in serving.headers.items():
        handler.send_header(name, value)
    body = content[start:] if serving.status == 200 else b""
    if serving.length and not serving.endless:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    _send(handler, serving, body, stop)


def _send(handler: BaseHTTPRequestHandler, serving: Serving, body: bytes, stop: threading.Event) -> None:
    if serving.endless:
        while not stop.is_set():
            handler.wfile.write(b"x" * 65536)
    if serving.cut_after:
        handler.wfile.write(body[: serving.cut_after.pop(0)])
        handler.close_connection = True
        return
    if serving.stall_after is not None:
        handler.wfile.write(body[: serving.stall_after])
        stop.wait(20)
        return
    if serving.drip_s:
        for k in range(len(body)):
            if stop.is_set():
                return
            time.sleep(serving.drip_s)
            handler.wfile.write(body[k : k + 1])
        return
    handler.wfile.write(body)
