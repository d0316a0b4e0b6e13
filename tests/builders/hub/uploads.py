"""The writing half of the Hub on loopback: create, preupload, LFS batch, PUT, verify, commit, as the client calls them
with HF_HUB_DISABLE_XET=1."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import unquote

import yaml

from tests.builders.hub.server import Files, Hub, git, is_large, sha256

_WRITES = re.compile(r"/api/datasets/([^/]+/[^/]+)/(preupload|commit)/([^/]+)")
_BATCH = re.compile(r"/datasets/([^/]+/[^/]+)\.git/info/lfs/objects/batch")


class Uploads:
    """Answers requests that write; what is not one is left to the reading half."""

    hub: Hub
    command: str
    known: bool
    send: Any
    json: Any

    def upload(self, path: str, body: bytes) -> bool:
        """Answer a request that writes; False if it is none. Without the token nothing is written."""
        create, batch = path == "/api/repos/create", _BATCH.fullmatch(path)
        write, blob = _WRITES.fullmatch(path), path.startswith("/lfs/")
        if path == "/api/validate-yaml":  # the header of a README that is pushed
            self.validate_header(json.loads(body)["content"])
            return True
        if not (create or batch or write or blob):
            return False
        if not blob and not self.known:
            self.send(401, b"{}", {"X-Error-Code": "RepoNotFound"} if not create else {})
        elif blob:
            self.blob(path.removeprefix("/lfs/"), body)
        elif create:
            self.create(json.loads(body))
        elif batch:
            self.batch(json.loads(body))
        elif write:
            name, action, revision = (unquote(part) for part in write.groups())
            if not self.hub.has(name):
                self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            elif action == "preupload":
                self.preupload(self.hub.repositories[name, self.hub.commit(name, revision)], json.loads(body))
            else:
                self.commit(name, revision, [json.loads(line) for line in body.splitlines()])
        return True

    def validate_header(self, content: str) -> None:
        header = content.split("---\n")[1] if content.startswith("---\n") else ""
        try:
            good = isinstance(yaml.safe_load(header), dict)
        except yaml.YAMLError:
            good = False
        found = {"errors": [] if good else [{"message": "no YAML"}], "warnings": []}
        self.send(200 if good else 400, json.dumps(found).encode(), {})

    def create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{self.hub.url}/datasets/{name}"
        if self.hub.has(name):
            return self.send(409, json.dumps({"error": "You already created this repo", "url": url}).encode(), {})
        if asked.get("visibility") == "private" or asked.get("private"):
            self.hub.private.add(name)
        self.keep(name, "main", {".gitattributes": b"*.parquet filter=lfs\n"})
        return self.json({"url": url, "name": name})

    def preupload(self, files: Files, asked: dict[str, Any]) -> None:
        paths = [one["path"] for one in asked["files"]]
        modes = {path: "lfs" if is_large(path) else "regular" for path in paths}
        oids = {path: sha256(files[path]) if is_large(path) else git(files[path]) for path in paths if path in files}
        self.json(
            {"files": [{"path": p, "uploadMode": modes[p], "shouldIgnore": False, "oid": oids.get(p)} for p in paths]}
        )

    def batch(self, asked: dict[str, Any]) -> None:
        objects = []
        for one in asked["objects"]:
            address = f"{self.hub.url}/lfs/{one['oid']}"
            actions = {"upload": {"href": f"{address}?X-Amz-Signature=signed"}, "verify": {"href": f"{address}/verify"}}
            objects.append({**one} if one["oid"] in self.hub.uploads else {**one, "actions": actions})
        self.json({"transfer": "basic", "objects": objects})

    def blob(self, oid: str, body: bytes) -> None:
        """A blob is kept only under its own digest; `verify` says whether it is here, whole."""
        if oid.endswith("/verify"):
            data = self.hub.uploads.get(oid.removesuffix("/verify"))
            right = data is not None and len(data) == json.loads(body)["size"]
            return self.send(200 if right else 422, b"{}", {})
        if sha256(body) != oid:
            return self.send(400, b"{}", {})
        self.hub.uploads[oid] = body
        return self.send(200, b"", {})

    def commit(self, name: str, branch: str, lines: list[dict[str, Any]]) -> None:
        files: Files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
        commit = self.keep(name, branch, files)
        self.json(
            {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/datasets/{name}/commit/{commit}"}
        )

    def keep(self, name: str, branch: str, files: Files) -> str:
        """A new commit on top of the branch; its name."""
        with self.hub.lock:
            before = self.hub.repositories.get((name, self.hub.commit(name, branch)), {})
            commit = git(json.dumps([name, branch, len(self.hub.repositories), sorted(files)]).encode())
            self.hub.repositories[name, commit] = {**before, **files}
            self.hub.branches[name, branch] = commit
        return commit
