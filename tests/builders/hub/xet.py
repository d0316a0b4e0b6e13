"""Xet storage on loopback, for files that are read: the headers that point to it, its token, and the reconstruction of
a file from one block, as `hf_xet` asks for them; and its failures."""

from __future__ import annotations

import hashlib
import json
import re
import time
from typing import Any

from tests.builders.hub.server import Hub

CHUNK_BYTES = 64 * 1024
_TOKEN = re.compile(r"/api/(datasets|models)/[^/]+/[^/]+/xet-(read|write)-token/.+")
CLOSED = "http://127.0.0.1:9"
UNKNOWN_HOST = "http://cas.invalid"


class Xet:
    """Answers what `hf_xet` asks where `hub.xet` is set: `works`, `token 404` and other answers of the token's address,
    `closed` (port), `invalid` (name of the host), `hang`, `corrupt` (bytes), or the number of an HTTP error of the
    storage."""

    hub: Hub
    path: str
    headers: Any
    send: Any
    json: Any

    def xet(self, path: str) -> bool:
        """Answer a request of Xet; False if it is none."""
        if self.hub.xet and _TOKEN.fullmatch(path):
            self.token()
        elif self.hub.xet and path.startswith("/cas/"):
            self.storage(path.removeprefix("/cas/"))
        else:
            return False
        return True

    def pointers(self, data: bytes) -> dict[str, str]:
        """The headers by which the Hub says that a file lies in Xet."""
        repository = re.match(r"(?:/(datasets))?/([^/]+/[^/]+)/resolve/([^/]+)", self.path)
        if not self.hub.xet or repository is None:
            return {}
        name = hashlib.blake2s(data).hexdigest()
        self.hub.blocks[name] = data
        kind, name_of, revision = repository.groups(default="models")
        token = f"{self.hub.url}/api/{kind}/{name_of}/xet-read-token/{revision}"
        rebuild = f"{self.hub.url}/cas/v1/reconstructions/{name}"
        links = f'<{token}>; rel="xet-auth", <{rebuild}>; rel="xet-reconstruction-info"'
        return {"X-Xet-Hash": name, "X-Xet-Refresh-Route": token, "Link": links}

    def token(self) -> None:
        if self.hub.xet.startswith("token "):
            return self.send(int(self.hub.xet.split()[1]), b"{}", {})
        storage = {"closed": CLOSED, "invalid": UNKNOWN_HOST}.get(self.hub.xet, f"{self.hub.url}/cas")
        ends = int(time.time()) + 3600
        headers = {"X-Xet-Cas-Url": storage, "X-Xet-Access-Token": "read", "X-Xet-Token-Expiration": str(ends)}
        body = {"casUrl": storage, "accessToken": "read", "exp": ends}
        return self.send(200, json.dumps(body).encode(), {**headers, "Content-Type": "application/json"})

    def storage(self, path: str) -> None:
        if self.hub.xet.isdigit():
            return self.send(int(self.hub.xet), b"{}", {})
        if self.hub.xet == "hang":
            time.sleep(10)
            return self.send(500, b"{}", {})
        version, kind, name = (*path.split("/"), "", "")[:3]
        if kind == "blocks":
            data = self.hub.blocks[name]
            block = _block(bytes([data[0] ^ 1]) + data[1:] if self.hub.xet == "corrupt" else data)
            start, end = (int(one) for one in self.headers["Range"].removeprefix("bytes=").split("-"))
            return self.send(206, block[start : end + 1], {"Content-Range": f"bytes {start}-{end}/{len(block)}"})
        if kind == "reconstructions" and version == "v1":
            data = self.hub.blocks[name]
            chunks = {"start": 0, "end": -(-len(data) // CHUNK_BYTES)}
            where = {
                "range": chunks,
                "url": f"{self.hub.url}/cas/v1/blocks/{name}",
                "url_range": {"start": 0, "end": len(_block(data)) - 1},
            }
            term = {"hash": name, "unpacked_length": len(data), "range": chunks}
            return self.json({"offset_into_first_range": 0, "terms": [term], "fetch_info": {name: [where]}})
        return self.send(404, b"{}", {})


def _block(data: bytes) -> bytes:
    """The data as chunks of a block: each with its version, its length packed, no compression, its length."""
    found = []
    for start in range(0, len(data), CHUNK_BYTES):
        chunk = data[start : start + CHUNK_BYTES]
        size = len(chunk).to_bytes(3, "little")
        found.append(b"\0" + size + b"\0" + size + chunk)
    return b"".join(found)
