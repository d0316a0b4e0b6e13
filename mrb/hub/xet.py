"""Handle Xet, from which the Hub's client downloads large files if `hf_xet` is installed: time limits, and a switch to
plain HTTP if it fails."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar

from mrb.errors import to_one_line

T = TypeVar("T")
_LOG = logging.getLogger("mrb.hub")

RETRIES = 1
"""Retries of a request to Xet. The default of five pauses for minutes without a message."""
CONNECT_SECONDS = 5


def retry_without_xet(action: Callable[[], T]) -> T:
    """Call `action`, which uses the Hub's client, and call it again over plain HTTP if Xet failed.

    After a failure the process and its children keep using plain HTTP, and one warning is logged. Other errors pass.
    """
    _limit_patience()
    try:
        return action()
    except Exception as error:
        if not is_xet_failure(error):
            raise
        disable_xet(f"{type(error).__name__}: {to_one_line(error, 200)}")
    return action()


def uses_xet() -> bool:
    """Return whether huggingface_hub uses Xet for files that the Hub offers there."""
    from huggingface_hub import constants

    return not constants.HF_HUB_DISABLE_XET and find_spec("hf_xet") is not None


def is_xet_failure(error: BaseException) -> bool:
    """Return whether Xet or the Hub's address for Xet tokens failed; False for other answers of the Hub."""
    if not uses_xet():
        return False
    if url := find_failed_url(error):
        return re.search(r"/xet-(read|write)-token/", url) is not None
    module = type(error).__module__
    if module.startswith("hf_xet"):
        return True
    # hf_xet itself raises built-in exceptions.
    own = isinstance(error, RuntimeError | ValueError | ConnectionError | TimeoutError)
    return own and module == "builtins" and error.__cause__ is None


def find_failed_url(error: BaseException) -> str:
    """Return the URL of the failed request, without its query, which may hold a signature; empty if unknown."""
    asked: Any = getattr(error, "response", error)
    try:
        return str(asked.request.url).partition("?")[0]
    except (AttributeError, RuntimeError):  # the HTTP library raises RuntimeError if there is no request
        return ""


def disable_xet(reason: str) -> None:
    """Use plain HTTP from now on in this process and its children, and log the reason."""
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_XET = True
    os.environ["HF_HUB_DISABLE_XET"] = "1"
    _LOG.warning("files go over plain HTTP instead of Xet storage from here on: %s", reason)


def _limit_patience() -> None:
    """Set the limits that hf_xet reads when its first transfer begins; the user's own settings stay."""
    from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT

    for name, value in {
        "RETRY_MAX_ATTEMPTS": f"{RETRIES}",
        "CONNECT_TIMEOUT": f"{CONNECT_SECONDS}s",
        "READ_TIMEOUT": f"{HF_HUB_DOWNLOAD_TIMEOUT}s",
    }.items():
        os.environ.setdefault(f"HF_XET_CLIENT_{name}", value)
