"""Parse how long a server asks to wait before the next request."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping

_SECONDS = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*")
_RATE_LIMIT = re.compile(r";\s*t\s*=\s*(\d{1,9})")


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait by an answer's headers; None if they state none that can be parsed.

    Reads `RateLimit` (`"api";r=0;t=55`, draft-ietf-httpapi-ratelimit-headers, as the Hub sends it), else `Retry-After`
    (RFC 9110: seconds or a date). A date in the past gives 0.
    """
    limited = _RATE_LIMIT.search(headers.get("RateLimit", ""))
    after = headers.get("Retry-After", "")
    stated = limited or _SECONDS.fullmatch(after)
    if stated is not None:
        return float(stated[1])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
