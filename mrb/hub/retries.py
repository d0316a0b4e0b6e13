"""Calls of the Hub that are tried again, and what is said of those that fail."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

from mrb._util.files import DISK_FULL, UNWRITABLE
from mrb._util.retry_after import parse_retry_after
from mrb.errors import DataError, to_one_line
from mrb.hub.xet import find_failed_url, retry_without_xet

T = TypeVar("T")

WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait before each retry when the Hub or the network fails."""
PATIENCE = 15.0
"""Seconds after which no retry begins. huggingface_hub retries by itself; its retries must not multiply these."""
PATIENCE_UNREACHED = 1.5
"""The same limit while no server has answered, so that a wrong address or a missing network is reported soon."""
CONNECT_SECONDS = 10.0
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
MAX_WAIT_ASKED = 600.0
"""Longest wait in seconds that is accepted from a Hub that limits requests. The live Hub's windows are 300 s."""
_QUERY = re.compile(r"\?\S+")
_reached: set[str] = set()  # endpoints that have answered in this process
_LOG = logging.getLogger("mrb.hub")


def call_with_retries(action: Callable[[], T], where: str) -> T:
    """Call `action` and return its result; retry after WAITS if the Hub or the network fails.

    If the Hub limits requests, the wait is as long as its answer states. Raises DataError, which begins with `where`,
    if no attempt succeeds.
    """
    from huggingface_hub.constants import ENDPOINT

    network = list_network_errors()
    for name in ("file_download", "utils._http"):
        logging.getLogger(f"huggingface_hub.{name}").addFilter(_strip_url_queries)
    started = time.monotonic()
    for wait in (*WAITS, None):
        try:
            _check_reachable(ENDPOINT)
            return retry_without_xet(action)
        except network as caught:
            error = _unwrap_error(caught)
            if (refused := describe_refusal(error)) is not None:
                raise DataError(f"{where}: {refused}") from error
            asked = _read_retry_after(error)
            patience = PATIENCE if _has_answered(error) else PATIENCE_UNREACHED
            if wait is None or time.monotonic() - started > patience or (asked or 0) > MAX_WAIT_ASKED:
                raise DataError(f"{where}: {describe_failure(error)}") from error
            if asked is not None:
                _LOG.warning("%s: the Hub limits requests and asks to wait %.0f s", where, asked)
                started += asked
            time.sleep(wait if asked is None else asked + 1)  # the Hub rounds its seconds down
    raise AssertionError("the last attempt returns or raises")


def describe_failure(error: BaseException) -> str:
    """Return what failed between here and the Hub, and what to do."""
    at = f" at {find_failed_url(error)}" if find_failed_url(error) else ""
    return (
        f"the Hub cannot be reached or fails ({type(error).__name__}{at}: {describe_error(error)}); "
        "check the network and run the same command again, what was fetched is kept"
    )


def find_connection_error() -> BaseException | None:
    """Return why the Hub does not answer, None if it does or has done so in this process."""
    from huggingface_hub.constants import ENDPOINT

    try:
        _check_reachable(ENDPOINT)
    except list_network_errors() as caught:
        return _unwrap_error(caught)
    return None


def list_network_errors() -> tuple[type[BaseException], ...]:
    """Return the exception classes that huggingface_hub raises when the Hub, the network or the disk fails."""
    from huggingface_hub.errors import HfHubHTTPError

    # The base class of all errors of the HTTP library, which differs between its versions.
    return HfHubHTTPError.__bases__[0], OSError


def _check_reachable(endpoint: str) -> None:
    """Check once per process that the Hub answers. Without this check huggingface_hub would retry for 25 s."""
    from huggingface_hub import get_session

    if endpoint not in _reached:
        get_session().head(endpoint, timeout=CONNECT_SECONDS)
        _reached.add(endpoint)


def _has_answered(error: BaseException) -> bool:
    """Return whether the failing server (the Hub or its file storage) has answered at all."""
    from huggingface_hub.constants import ENDPOINT

    # Both HTTP libraries of huggingface_hub use these names: ConnectError, ConnectTimeout, ConnectionError.
    return ENDPOINT in _reached and not type(error).__name__.startswith("Connect")


def _strip_url_queries(said: logging.LogRecord) -> bool:
    """Remove the queries of URLs, which may hold signatures, from huggingface_hub's log records."""
    said.msg, said.args = _QUERY.sub("", said.getMessage()), ()
    return True


def _unwrap_error(error: BaseException) -> BaseException:
    """Return the cause of huggingface_hub's "not in the cache either", or another error itself."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    return error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None else error


def _read_retry_after(error: BaseException) -> float | None:
    """Return the seconds that a 429 answer asks to wait, or None."""
    response = getattr(error, "response", None)
    return parse_retry_after(response.headers) if response is not None and response.status_code == 429 else None


def describe_refusal(error: BaseException) -> str | None:
    """Describe an error that a retry cannot change; None if a retry may help."""
    from huggingface_hub import errors

    error = _unwrap_error(error)
    if isinstance(error, errors.GatedRepoError):
        return f"access is restricted: accept its terms at {_to_web_page(find_failed_url(error))}, then {LOG_IN}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"no such repository, or it is private: then {LOG_IN}"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision, or not any more; MRB does not take another one in its place"
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return f"no such file or folder: {describe_error(error)}"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status == 401:
            return f"the Hub does not accept the token (401): {LOG_IN} to one that is valid"
        return None if status == 429 or status >= 500 else f"the Hub answers {status}: {describe_error(error)}"
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return "the disk is full; free some space or set HF_HOME to another disk"
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return f"cannot be written: {error.filename}: {error.strerror}"
    return None


def _to_web_page(url: str) -> str:
    """Return the web page of the repository whose API or file has this URL."""
    found = re.match(r"(https?://[^/]+)/(?:api/)?(?:models/)?((?:datasets/)?[^/]+/[^/]+)", url)
    return f"{found[1]}/{found[2]}" if found is not None else "its page on the Hub"


def describe_error(error: BaseException) -> str:
    """Return huggingface_hub's message on one line, without the queries of URLs, which may hold signatures that give
    access."""
    return to_one_line(_QUERY.sub("", str(error)), 240)
