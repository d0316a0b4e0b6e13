"""The board on this machine alone: a server on loopback for looking at a site as browsers will get it."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
    "; frame-ancestors 'none'"
)
"""That of the pages, and what only a header can say."""
HOST = "127.0.0.1"


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder, with the policy, and no lists of folders."""

    def end_headers(self) -> None:
        """Every answer has the headers."""
        for name, value in (
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        """A folder without an index is not there."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def translate_path(self, path: str) -> str:
        """The file; one that a link leads out of the folder is not there."""
        found = super().translate_path(path)
        inside = Path(found).resolve().is_relative_to(Path(self.directory).resolve())
        return found if inside else str(Path(self.directory) / ".outside")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests: what they ask for is anybody's text."""


def server(site: Path, port: int) -> ThreadingHTTPServer:
    """A server of the files in `site`, not started. OSError if the port is taken; 0 takes a free one."""
    return ThreadingHTTPServer((HOST, port), partial(Handler, directory=str(site)))
