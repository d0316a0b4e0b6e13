"""How long a server asks to wait."""

from __future__ import annotations

import email.utils
import time

import pytest

from mrb._util.retry_after import parse_retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"RateLimit": '"api";r=0;t=55'}, 55.0),  # as huggingface.co sends it
        ({"RateLimit": '"resolvers";r=0; t = 7', "Retry-After": "300"}, 7.0),
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({}, None),
    ],
)
def test_it_reads_seconds(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_retry_after(headers) == seconds


def test_it_reads_a_date() -> None:
    found = parse_retry_after({"Retry-After": email.utils.formatdate(time.time() + 100, usegmt=True)})
    assert found is not None and 90 < found <= 100
