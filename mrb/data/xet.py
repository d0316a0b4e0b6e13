"""Xet, the storage from which the Hub's client takes large files where `hf_xet` is installed: limits on its patience,
and plain HTTP where it fails."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar

from mrb.errors import one_line

T = TypeVar("T")
_LOG = logging.getLogger("mrb.hub")

RETRIES = 1
"""Of a request to Xet. Its own default is five, with pauses of minutes, during which nothing is said."""
CONNECT_SECONDS = 5


def or_plain_http(action: Callable[[], T]) -> T:
    """What `action`, a call of the Hub's client, returns; where Xet failed, what it returns over plain HTTP.

    The process and its children then stay with plain HTTP, and a warning says so once. Other errors pass.
    """
    _limit_patience()
    try:
        return action()
    except Exception as error:
        if not is_xet_failure(error):
            raise
        leave_xet(f"{type(error).__name__}: {one_line(error, 200)}")
    return action()


def uses_xet() -> bool:
    """Whether the client takes files from Xet where the Hub offers it."""
    from huggingface_hub import constants

    return not constants.HF_HUB_DISABLE_XET and find_spec("hf_xet") is not None


def is_xet_failure(error: BaseException) -> bool:
    """Whether Xet, or its token's address on the Hub, failed. False for what the Hub itself answered."""
    if not uses_xet():
        return False
    if url := asked_url(error):
        return re.search(r"/xet-(read|write)-token/", url) is not None
    module = type(error).__module__
    if module.startswith("hf_xet"):
        return True
    # hf_xet itself raises Python's own classes.
    own = isinstance(error, RuntimeError | ValueError | ConnectionError | TimeoutError)
    return own and module == "builtins" and error.__cause__ is None


def asked_url(error: BaseException) -> str:
    """The address whose request failed, without its query, which may hold a signature; empty where none is known."""
    asked: Any = getattr(error, "response", error)
    try:
        return str(asked.request.url).partition("?")[0]
    except (AttributeError, RuntimeError):  # the second: the HTTP library's error of no request
        return ""


def leave_xet(reason: str) -> None:
    """Use plain HTTP from here on, in this process and its children, and say why."""
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_XET = True
    os.environ["HF_HUB_DISABLE_XET"] = "1"
    _LOG.warning("files go over plain HTTP instead of Xet storage from here on: %s", reason)


def _limit_patience() -> None:
    """Limits that hf_xet reads when its first transfer begins; the user's own settings stay."""
    from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT

    for name, value in {
        "RETRY_MAX_ATTEMPTS": f"{RETRIES}",
        "CONNECT_TIMEOUT": f"{CONNECT_SECONDS}s",
        "READ_TIMEOUT": f"{HF_HUB_DOWNLOAD_TIMEOUT}s",
    }.items():
        os.environ.setdefault(f"HF_XET_CLIENT_{name}", value)
