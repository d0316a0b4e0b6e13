"""A local server on loopback that serves a site as browsers will get it."""

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
"""The pages' policy, and directives that only a header can state."""
HOST = "127.0.0.1"


class Handler(SimpleHTTPRequestHandler):
    """Serves the files of one folder, with the policy and without folder listings."""

    def end_headers(self) -> None:
        """Add the headers to every answer."""
        for name, value in (
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        """Answer 404 for a folder without an index."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def translate_path(self, path: str) -> str:
        """Return the file's path; a link that leads out of the folder is treated as absent."""
        found = super().translate_path(path)
        inside = Path(found).resolve().is_relative_to(Path(self.directory).resolve())
        return found if inside else str(Path(self.directory) / ".outside")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a request's text is untrusted."""


def make_server(site: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of the files in `site`, not started. Port 0 takes a free one.

    Raises OSError if the port is taken.
    """
    return ThreadingHTTPServer((HOST, port), partial(Handler, directory=str(site)))
