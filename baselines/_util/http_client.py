"""HTTP client of `rerank-api`, for a server that may be slow, busy or wrong: time-outs, retries, rate limit, a secret
key.

The key is read from the environment when the adapter is built, and sent in one header. It is not an option, so it is in
no result; text from the server passes `_told`, which removes the key before it can reach an error.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import random
import re
from typing import TYPE_CHECKING, NoReturn

from mrb._util.retry_after import parse_retry_after
from mrb.errors import AdapterError, to_one_line

if TYPE_CHECKING:
    import httpx2

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_WAIT = 300.0
"""Seconds. If a server asks for a longer pause the run ends: its quota is used up."""
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 60.0
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ServiceError(Exception):
    """A call without an answer, or with a wrong one."""


class Service:
    """One address to which JSON is posted.

    `timeout` is in seconds for one attempt as a whole; `retries` counts the attempts after the first. Plain http never
    goes through a proxy of the environment, and with a key only to this machine. Raises AdapterError if the address,
    the key or a number is invalid.
    """

    def __init__(
        self,
        url: str,
        api_key_env: str | None,
        *,
        timeout: float,
        retries: int,
        requests_per_minute: float | None,
        connections: int,
    ) -> None:
        import httpx2

        if not timeout > 0 or retries < 0 or not (requests_per_minute is None or requests_per_minute > 0):
            raise AdapterError("rerank-api: timeout and requests_per_minute must be over 0, retries 0 or more")
        address = _check_address(url, keyed=api_key_env is not None)
        self.url = str(address)
        self.timeout = timeout
        self.retries = retries
        self._key = _read_key(api_key_env) if api_key_env is not None else None
        self._pace = _Pace(60 / requests_per_minute if requests_per_minute else 0.0)
        self._lost = (httpx2.TransportError, httpx2.DecodingError, TimeoutError)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        self._client = httpx2.AsyncClient(
            headers=headers,
            timeout=None,  # the limit is on an attempt as a whole
            limits=httpx2.Limits(max_connections=max(1, connections)),
            follow_redirects=False,  # key and data go only to the address that the user typed
            trust_env=address.scheme == "https",
        )

    async def post(self, body: bytes) -> object:
        """Return the JSON answer to `body`.

        Raises ServiceError when attempts are used up or another one would not help.
        """
        attempt = 0
        while True:
            await self._pace.turn()
            try:
                status, pause, text = await self._post_once(body)
            except self._lost as error:
                pause, problem = 0.0, f"no answer ({self._hide_key(_describe_loss(error, self.timeout))})"
            else:
                if status == 200:
                    return self._parse_answer(text)
                problem = f"answered {status}: {self._hide_key(text)}"
                if status != 429 and status < 500:
                    self._give_up(problem, status)
            attempt += 1
            if attempt > self.retries:
                raise ServiceError(f"{self.url}: {problem}; attempts: {attempt}")
            if pause > MAX_WAIT:
                raise ServiceError(f"{self.url}: {problem}; it asks for a pause of {pause:.0f} s")
            self._pace.hold(pause)
            await asyncio.sleep(_compute_backoff(attempt))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def make_error(self, problem: str, answer: object) -> ServiceError:
        """Return the error for an answer that is JSON but not as expected."""
        return ServiceError(f"{self.url}: wrong answer: {self._hide_key(problem)}: {self._hide_key(repr(answer))}")

    async def _post_once(self, body: bytes) -> tuple[int, float, str]:
        """Return (status, seconds that the server asks to wait, text)."""
        async with asyncio.timeout(self.timeout), self._client.stream("POST", self.url, content=body) as response:
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_ANSWER_BYTES:
                    raise ServiceError(f"{self.url}: the answer is larger than {MAX_ANSWER_BYTES} bytes")
            pause = parse_retry_after(response.headers) or 0.0
            return response.status_code, pause, data.decode("utf-8", "replace")

    def _parse_answer(self, text: str) -> object:
        try:
            answer: object = json.loads(text)
        except (ValueError, RecursionError):
            raise ServiceError(f"{self.url}: the answer is not JSON: {self._hide_key(text)}") from None
        return answer

    def _give_up(self, problem: str, status: int) -> NoReturn:
        if 300 <= status < 400:
            problem = f"answered {status}, a redirect, which is not followed: give the final address"
        raise ServiceError(f"{self.url}: {problem}")

    def _hide_key(self, text: str) -> str:
        """Return a server's text shortened and without the key, for an error."""
        if self._key is not None:
            for written in {self._key, repr(self._key)[1:-1], json.dumps(self._key)[1:-1]}:
                text = text.replace(written, "***")
        return to_one_line(text, 120)


class _Pace:
    """Spaces calls `gap` seconds apart, and delays all of them when the server asks for a pause."""

    def __init__(self, gap: float) -> None:
        self._gap = gap
        self._free_at = 0.0

    async def turn(self) -> None:
        """Wait for the caller's turn."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._free_at)
        self._free_at = start + self._gap
        await asyncio.sleep(start - now)

    def hold(self, seconds: float) -> None:
        """Delay new calls by so many seconds."""
        self._free_at = max(self._free_at, asyncio.get_running_loop().time() + seconds)


def _compute_backoff(attempt: int) -> float:
    """Return the seconds before the next attempt: doubled each time, with jitter so that callers spread."""
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311


def _describe_loss(error: Exception, timeout: float) -> str:
    return f"none within {timeout:g} s" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"


def _check_address(url: str, *, keyed: bool) -> httpx2.URL:
    """Return the address, parsed by the client that will call it. Raises AdapterError if it must not be used."""
    import httpx2

    try:
        address = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        address = httpx2.URL("")
    if address.scheme not in ("http", "https") or not address.host:
        raise AdapterError("rerank-api: url must be the full address of the call, http(s)://HOST/PATH")
    if address.userinfo or address.query or address.fragment:
        # Not shown: it may contain the key.
        raise AdapterError("rerank-api: url may hold no user name, password or query: results publish it (api_key_env)")
    if keyed and address.scheme == "http" and not _is_loopback(address.host):
        raise AdapterError(
            f"rerank-api: a key over plain http to {to_one_line(address.host, 80)} can be overheard; use https"
        )
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_key(variable: str) -> str:
    """Return the key. Errors do not show the given name, which may be the key itself."""
    if not _NAME.fullmatch(variable):
        raise AdapterError(
            "rerank-api: api_key_env is the name of an environment variable that holds the key, not a key"
        )
    key = os.environ.get(variable, "").strip()
    if not key:
        raise AdapterError("rerank-api: the environment variable that api_key_env names is not set")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise AdapterError("rerank-api: the key in the environment holds characters that no header takes")
    return key
