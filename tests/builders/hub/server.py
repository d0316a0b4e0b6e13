"""A Hub on loopback: the part of its HTTP API that `huggingface_hub` and `datasets` use to read data sets and to write
them (`hub_upload.py`).

Listing of a revision, in pages, file contents with ETag and Range; and, on demand, the faults of the real one.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

Files = dict[str, bytes]
_REPOSITORY = r"(?:/api/models|(?:/api)?/datasets|)/([^/]+/[^/]+)"  # files of a model have no word before its name
_ROUTE = re.compile(_REPOSITORY + r"/(resolve|tree|revision|paths-info|preupload|commit)/([^/]+)/?(.*)")
_INFO = re.compile(r"/api/(?:datasets|models)/([^/]+/[^/]+)")
TOKEN = "hf_writes_on_loopback"


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed in mid file are what some tests are about: no traceback for these."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Hub:
    """Serves `repositories`: {(name, commit): {path: bytes}}. `faults` maps a part of a URL to the faults of the
    next requests that hold it: `drop`, `429`, `limited`, `500`, `slow`, `stall`, `corrupt`, `gated`, `token`,
    `forbidden`. `requests` lists what was asked, `sent` counts the bytes of files that went out. A `429` and `limited`
    ask to wait `retry_after` seconds, a
    `stall` sends half and then nothing for `stall` seconds. `branches` maps (name, branch) to a commit; `private`
    repositories, and all writing, want `TOKEN`. Listings come in pages of `page` entries. `xet` says how the storage
    behind the files does (`hub_xet.py`), empty where there is none. Large files are redirected to `storage` where it is
    set; `URL/storage/403` on this server answers 403."""

    def __init__(self, repositories: dict[tuple[str, str], Files]) -> None:
        self.repositories = repositories
        self.branches: dict[tuple[str, str], str] = {}
        self.private: set[str] = set()
        self.uploads: dict[str, bytes] = {}
        self.page = 1000
        self.xet = ""
        self.storage = ""
        self.blocks: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = {}
        self.requests: list[str] = []
        self.sent = 0
        self.retry_after = 1
        self.stall = 2.0
        self.lock = threading.Lock()

        from tests.builders.hub.uploads import Uploads
        from tests.builders.hub.xet import Xet

        class Handler(Uploads, Xet, _Handler):
            hub = self

        self._server = _Server(("127.0.0.1", 0), Handler)
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

    def has(self, name: str) -> bool:
        """Whether there is a repository of this name, at any commit."""
        return any(repository == name for repository, _ in self.repositories)

    def commit(self, name: str, revision: str) -> str:
        """The commit of a branch; anything else is taken for a commit."""
        return self.branches.get((name, revision), revision)

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

    def do_PUT(self) -> None:
        self.answer()

    @property
    def known(self) -> bool:
        """Whether the request carries the token."""
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def upload(self, path: str, body: bytes) -> bool:
        """Answer a request that writes; False if it is none."""
        raise NotImplementedError

    def xet(self, path: str) -> bool:
        """Answer a request of Xet; False if it is none."""
        raise NotImplementedError

    def pointers(self, data: bytes) -> dict[str, str]:
        """The headers by which a file points to Xet."""
        raise NotImplementedError

    def answer(self) -> None:
        asked = urlsplit(self.path)
        url = unquote(asked.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append(f"{self.command} {url}")
        fault = self.hub.fault(f"{self.command} {url}")
        if fault in ("429", "500"):
            wait = {"Retry-After": str(self.hub.retry_after)} if fault == "429" else {}
            return self.send(int(fault), b"{}", wait)
        if fault == "limited":  # as the live Hub says it
            left = {
                "RateLimit": f'"api";r=0;t={self.hub.retry_after}',
                "RateLimit-Policy": '"fixed window";"api";q=500;w=300',
            }
            return self.send(429, b'{"error": "We had to rate limit your IP (127.0.0.1)"}', left)
        if fault == "token":
            return self.send(401, b"{}", {"X-Error-Message": "Invalid credentials in Authorization header"})
        if fault == "gated":
            return self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        if fault == "forbidden":
            return self.send(403, b'{"error": "You have no write access"}', {"Content-Type": "application/json"})
        if self.xet(asked.path) or self.upload(asked.path, body):
            return None
        if (status := re.match(r"/storage/(\d+)/", url)) is not None:
            return self.send(int(status[1]), b"", {})
        match = _ROUTE.fullmatch(asked.path) or _INFO.fullmatch(asked.path)
        if match is None:
            return self.send(404, b"{}", {})
        name, action, revision, path = (unquote(part) for part in (*match.groups(), "revision", "main", "")[:4])
        if not self.hub.has(name) or (name in self.hub.private and not self.known):
            return self.send(401 if name in self.hub.private else 404, b"{}", {"X-Error-Code": "RepoNotFound"})
        commit = self.hub.commit(name, revision)
        files = self.hub.repositories.get((name, commit))
        if files is None:
            return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        if action == "resolve":
            return self.resolve(files, commit, path, fault)
        if action == "revision":
            about = {"_id": "0", "id": name, "sha": commit, "private": name in self.hub.private}
            return self.json({**about, "tags": [], "siblings": []})
        if action == "paths-info":
            wanted = re.findall(r"paths=([^&]*)", body.decode()) or json.loads(body or b"{}").get("paths", [])
            wanted = [unquote(one) for one in wanted]
            return self.json([entry(one, files[one]) for one in wanted if one in files])
        return self.tree(files, path, {key: values[0] for key, values in parse_qs(asked.query).items()})

    def tree(self, files: Files, folder: str, asked: Mapping[str, str]) -> None:
        prefix = f"{folder}/" if folder else ""
        below = {path: data for path, data in files.items() if path.startswith(prefix)}
        if folder and not below:
            return self.send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        entries = [entry(path, data) for path, data in sorted(below.items())]
        if asked.get("recursive", "").lower() != "true":
            inner = {path[len(prefix) :].partition("/")[0] for path in below if "/" in path[len(prefix) :]}
            folders = [{"type": "directory", "path": prefix + one, "size": 0, "oid": "0" * 40} for one in sorted(inner)]
            entries = [*folders, *(one for one in entries if "/" not in one["path"][len(prefix) :])]
        start = int(asked.get("cursor", 0))
        headers = {"Content-Type": "application/json"}
        if start + self.hub.page < len(entries):
            more = "&".join(f"{key}={quote(value)}" for key, value in asked.items() if key != "cursor")
            address = f"{self.hub.url}{urlsplit(self.path).path}?{more}&cursor={start + self.hub.page}"
            headers["Link"] = f'<{address}>; rel="next"'
        return self.send(200, json.dumps(entries[start : start + self.hub.page]).encode(), headers)

    def resolve(self, files: Files, revision: str, path: str, fault: str | None) -> None:
        data = files.get(path)
        commit = {"X-Repo-Commit": revision}
        if data is None:
            return self.send(404, b"", {**commit, "X-Error-Code": "EntryNotFound"})
        etag = sha256(data) if is_large(path) else git(data)
        headers = {**commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if is_large(path):
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data)), **self.pointers(data)}
        if self.hub.storage and is_large(path):
            return self.send(302, b"", {**headers, "Location": f"{self.hub.storage}/{etag}?X-Amz-Signature=signed"})
        if fault == "corrupt":
            data = bytes([data[0] ^ 1]) + data[1:]
        status = 200
        if (wanted := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")) is not None:
            start = int(wanted[1]) if wanted[1] else max(0, len(data) - int(wanted[2]))
            end = min(int(wanted[2]) if wanted[1] and wanted[2] else len(data) - 1, len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            data, status = data[start : end + 1], 206
        if self.command == "GET":
            self.hub.sent += len(data)
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
        if fault in ("drop", "stall"):
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            if fault == "stall":
                time.sleep(self.hub.stall)
            return
        if fault == "slow":
            for start in range(0, len(data), max(1, len(data) // 8)):
                self.wfile.write(data[start : start + max(1, len(data) // 8)])
                self.wfile.flush()
                time.sleep(0.2)
            return
        self.wfile.write(data)


def is_large(path: str) -> bool:
    """Whether the Hub keeps the file in its large file storage."""
    return path.endswith((".parquet", ".jsonl", ".jsonl.gz", ".safetensors"))


def sha256(data: bytes) -> str:
    """The digest of a large file."""
    return hashlib.sha256(data).hexdigest()


def git(data: bytes) -> str:
    """The digest of a file in git."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def entry(path: str, data: bytes) -> dict[str, Any]:
    """A file in a listing."""
    found: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": git(data)}
    if is_large(path):
        found["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 130}
    return found
