"""A Hub on loopback: the part of its HTTP API that `huggingface_hub` and `datasets` use to read data sets.

Listing of a revision, file contents with ETag and Range; and, on demand, the faults of the real one.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
_ROUTE = re.compile(r"/(?:api/)?datasets/([^/]+/[^/]+)/(resolve|tree|revision|paths-info)/([^/]+)/?(.*)")


class Hub:
    """Serves `repositories`: {(name, revision): {path: bytes}}. `faults` maps a part of a URL to the faults of the
    next requests that hold it: `drop`, `429`, `500`, `slow`, `corrupt`, `gated`. `requests` lists what was asked."""

    def __init__(self, repositories: dict[tuple[str, str], Files]) -> None:
        self.repositories = repositories
        self.faults: dict[str, list[str]] = {}
        self.requests: list[str] = []

        class Handler(_Handler):
            hub = self

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fault(self, url: str) -> str | None:
        """The fault that this request meets, if any; it is then used up."""
        for part, faults in self.faults.items():
            if part in url and faults:
                return faults.pop(0)
        return None

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # header and body in one packet: two would wait for each other's acknowledgement

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        url = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append(f"{self.command} {url}")
        fault = self.hub.fault(f"{self.command} {url}")
        if fault in ("429", "500"):
            return self.send(int(fault), b"{}", {"Retry-After": "1"} if fault == "429" else {})
        if fault == "gated":
            return self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        match = _ROUTE.fullmatch(url)
        if match is None:
            return self.send(404, b"{}", {})
        name, action, revision, path = match.groups()
        if not any(repository == name for repository, _ in self.hub.repositories):
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        files = self.hub.repositories.get((name, revision))
        if files is None:
            return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        if action == "resolve":
            return self.resolve(files, revision, path, fault)
        if action == "revision":
            return self.json({"_id": "0", "id": name, "sha": revision, "private": False, "tags": [], "siblings": []})
        if action == "paths-info":
            wanted = re.findall(r"paths=([^&]*)", body.decode()) or json.loads(body or b"{}").get("paths", [])
            wanted = [unquote(one) for one in wanted]
            return self.json([_entry(one, files[one]) for one in wanted if one in files])
        return self.json([_entry(one, data) for one, data in sorted(files.items())])

    def resolve(self, files: Files, revision: str, path: str, fault: str | None) -> None:
        data = files.get(path)
        commit = {"X-Repo-Commit": revision}
        if data is None:
            return self.send(404, b"", {**commit, "X-Error-Code": "EntryNotFound"})
        etag = _sha256(data) if _is_large(path) else _git(data)
        headers = {**commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if _is_large(path):
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data))}
        if fault == "corrupt":
            data = bytes([data[0] ^ 1]) + data[1:]
        status = 200
        if (wanted := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")) is not None:
            start = int(wanted[1]) if wanted[1] else max(0, len(data) - int(wanted[2]))
            end = min(int(wanted[2]) if wanted[1] and wanted[2] else len(data) - 1, len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            data, status = data[start : end + 1], 206
        return self.send(status, data, headers, fault)

    def json(self, value: object) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, data: bytes, headers: dict[str, str], fault: str | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "drop":
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        if fault == "slow":
            for start in range(0, len(data), max(1, len(data) // 8)):
                self.wfile.write(data[start : start + max(1, len(data) // 8)])
                self.wfile.flush()
                time.sleep(0.2)
            return
        self.wfile.write(data)


def _is_large(path: str) -> bool:
    return path.endswith((".parquet", ".jsonl"))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": _git(data)}
    if _is_large(path):
        entry["lfs"] = {"oid": _sha256(data), "size": len(data), "pointerSize": 130}
    return entry
