"""A rerank service on loopback that answers honestly, or with the faults that a test wants."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = Callable[["_Handler"], bool]
"""What a test wants of one call in place of the honest answer; True if it has answered."""


class Server:
    """A rerank server that answers honestly unless `faults` has something for the next call."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.faults: list[Fault] = []
        self.busy = self.most_busy = 0
        self.delay = 0.0
        self.place_counts = 0.0
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"state": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # a client that hung up is part of the tests
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1/rerank"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        state = self.state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with state.lock:
            state.calls.append(body)
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            state.paths.append(self.path)
            state.times.append(time.monotonic())
            state.busy += 1
            state.most_busy = max(state.most_busy, state.busy)
            fault = state.faults.pop(0) if state.faults else None
        try:
            time.sleep(state.delay)
            if fault is None or not fault(self):
                self.send(200, answer_honestly(body, state.place_counts))
        finally:
            with state.lock:
                state.busy -= 1

    def send(self, status: int, answer: object, **headers: str) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""


def text_of(side: Any) -> str:
    if isinstance(side, str):
        return side
    if "content" in side:  # vLLM's parts
        return " ".join(part["text"] for part in side["content"] if part["type"] == "text")
    return str(side.get("text", ""))  # OpenRouter's document


def answer_honestly(body: dict[str, Any], place_counts: float = 0.0) -> object:
    """Scores by shared words, best first as the services sort them; only the `top_n` best.

    A call with `texts` is one of text-embeddings-inference, answered by a bare list, all others by `results`.
    """
    words = set(text_of(body["query"]).split())
    documents = body["texts"] if "texts" in body else body["documents"]
    shared = [len(words & set(text_of(document).split())) + n * place_counts for n, document in enumerate(documents)]
    best = sorted(range(len(shared)), key=lambda n: -shared[n])
    if "texts" in body:
        return [{"index": n, "score": shared[n]} for n in best]
    results = [{"index": n, "relevance_score": shared[n]} for n in best[: body["top_n"]]]
    return {"model": body["model"], "results": results}


def answer(status: int, content: object, **headers: str) -> Fault:
    def fault(handler: _Handler) -> bool:
        handler.send(status, content, **headers)
        return True

    return fault


def drop(handler: _Handler) -> bool:
    """Close the connection without a word."""
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True
    return True


def half(handler: _Handler) -> bool:
    """Promise more bytes than are sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"results": [')
    handler.wfile.flush()
    return drop(handler)


def sleep(seconds: float) -> Fault:
    def fault(handler: _Handler) -> bool:
        time.sleep(seconds)
        return False

    return fault
