"""A real HTTP server on loopback that speaks the chat completions protocol, and can misbehave."""

from __future__ import annotations

import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

#: A chat whose last turn has this word is not answered before `Endpoint.released` is set.
HOLD = "HOLD"


@dataclass(frozen=True, kw_only=True)
class Canned:
    """A reply that the endpoint gives instead of a completion. Status 0: it hangs up."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class Endpoint:
    """What the server was asked, and what it says next."""

    def __init__(self) -> None:
        self.url = ""
        self.context = 4096
        self.models: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.canned: deque[Canned] = deque()
        #: What it says to a body that it does not take; None where it does.
        self.refuses: Callable[[dict[str, Any]], Canned | None] = lambda _: None
        self.paths: list[str] = []
        self.released = threading.Event()
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()

    @contextmanager
    def serving(self, body: dict[str, Any], headers: dict[str, str]) -> Iterator[Canned | None]:
        with self._lock:
            self.asked.append(body)
            self.headers.append(headers)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            canned = self.canned.popleft() if self.canned else None
        try:
            yield canned
        finally:
            with self._lock:
                self._now -= 1

    def complete(self, body: dict[str, Any]) -> Canned:
        """A completion that depends on the whole request, so that no two can be mixed up."""
        last = body["messages"][-1]["content"]
        if HOLD in last:
            self.released.wait(30)
        prompt = sum(len(turn["content"].split()) for turn in body["messages"])
        most = body.get("max_tokens", body.get("max_completion_tokens", 64))
        if prompt + most > self.context:
            message = (
                f"This model's maximum context length is {self.context} tokens. However, you"
                f" requested {prompt + most} tokens"
            )
            return Canned(status=400, body={"error": {"message": message}})
        text = f"seed {body.get('seed')} heat {body.get('temperature')} heard {last}"
        for stop in body.get("stop", []):
            text = text.split(stop)[0]
        words = text.split()
        full = len(words) > most
        words = words[:most]
        return completion(
            " ".join(words), "length" if full else "stop", prompt=prompt, written=len(words)
        )


def completion(text: str, reason: str = "stop", *, prompt: int = 3, written: int = 2) -> Canned:
    return Canned(
        body={
            "choices": [{"message": {"content": text}, "finish_reason": reason}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": written},
        }
    )


class _Handler(BaseHTTPRequestHandler):
    endpoint: ClassVar[Endpoint]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        sent = self.rfile.read(length)
        if len(sent) < length:
            self.close_connection = True  # the client was cancelled while it asked
            return
        body = json.loads(sent)
        with self.endpoint.serving(body, dict(self.headers)) as canned:
            self.endpoint.paths.append(self.path)
            reply = canned or self.endpoint.refuses(body) or self.endpoint.complete(body)
        if reply.status == 0:
            self.close_connection = True
            return
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        try:
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(data)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True  # the client was cancelled, or is out of time

    def do_GET(self) -> None:
        models = [{"id": model, "object": "model"} for model in self.endpoint.models]
        data = json.dumps({"object": "list", "data": models}).encode()
        self.send_response(200 if self.path.endswith("/v1/models") else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running_endpoint(secured: ssl.SSLContext | None = None) -> Iterator[Endpoint]:
    endpoint = Endpoint()
    handler = type("Handler", (_Handler,), {"endpoint": endpoint})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if secured is not None:
        server.socket = secured.wrap_socket(server.socket, server_side=True)
    endpoint.url = f"http{'s' if secured else ''}://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
