"""Journals: any sequence of writes, cuts and damages ends in what was written, or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrb.errors import ResultError
from mrb.evaluation.journal import Header, Journal, Record
from tests.fuzz.mutations import ACCEPTED, examples, put, spliced, splices

pytestmark = pytest.mark.slow

HEADER = Header(score_key="a" * 64, task="t", reranker="r", source_sha256=None, packages={})
BITS = st.lists(st.integers(0, 2**32 - 1), max_size=5).map(lambda bits: np.array(bits, np.uint32).view(np.float32))
QUERIES = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), BITS, min_size=1, max_size=5)


def scores(path: Path) -> dict[str, bytes]:
    """The held bits by query."""
    return {name: values.tobytes() for name, values in Journal(path).scores.items()}


def write(path: Path, queries: dict[str, np.ndarray]) -> None:
    """Append what is not held yet."""
    held = scores(path)
    with Journal(path).open(HEADER) as writer:
        for name, values in queries.items():
            if name not in held:
                writer.append(Record(name, 0, values))


@examples(20)
@given(QUERIES, st.lists(st.floats(0, 1), max_size=4))
def test_cut_anywhere_and_gone_on_with_it_ends_in_the_same_bytes(
    room: Path, queries: dict[str, np.ndarray], cuts: list[float]
) -> None:
    path = room / "journal"
    path.unlink(missing_ok=True)
    write(path, queries)
    whole = path.read_bytes()
    for share in cuts:
        put(path, whole[: int(share * len(whole))])
        write(path, queries)
        assert path.read_bytes() == whole
    assert scores(path) == {name: values.tobytes() for name, values in queries.items()}


@examples(40)
@given(QUERIES, st.data())
def test_damaged_anywhere_it_is_refused_or_holds_what_was_written(
    room: Path, queries: dict[str, np.ndarray], data: st.DataObject
) -> None:
    path = room / "damaged"
    path.unlink(missing_ok=True)
    write(path, queries)
    whole = path.read_bytes()
    damaged = spliced(whole, data.draw(splices(len(whole))))
    put(path, damaged)
    try:
        found = scores(path)
    except ResultError as error:
        assert str(path) in str(error) and path.read_bytes() == damaged
        ACCEPTED.append(False)
        return
    ACCEPTED.append(damaged != whole)
    assert found.items() <= {name: values.tobytes() for name, values in queries.items()}.items()
