"""`run --shard I/N` and `mrb merge`: parts that share nothing end in the bytes of one run, or are refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.cli.main import cli
from mrb.errors import MRBError
from mrb.evaluation.journal import Journal, Record, write_journal

TASKS = ("--task", "mini-faq-t2t", "--task", "mini-flag-t2it", "--limit", "10")
FAQ = "mini-faq-t2t"
FINAL = ("result.json", "scores.parquet", "per_query.parquet")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mrb(*arguments: object) -> None:
    """The command in this process."""
    assert cli([str(argument) for argument in arguments], standalone_mode=False) is None


def finals(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*")) if p.name in FINAL}


def shard(number: int, of: int, *options: str, model: str = "random", name: str | None = None) -> Path:
    """Score a part; its folder."""
    mrb("run", "--model", model, *TASKS, "--shard", f"{number}/{of}", "--name", name or model, *options)
    found = Path("runs") / (name or model) / "shards" / f"{number}-of-{of}"
    assert not finals(found), "a part has no numbers"
    return found


def refused(*parts: Path, out: str = "merged") -> str:
    with pytest.raises(MRBError) as raised:
        mrb("merge", *parts, "--out", out)
    assert not finals(Path("merged"))
    return str(raised.value)


@pytest.fixture
def halves(folder: Path) -> tuple[Path, Path]:
    return shard(1, 2), shard(2, 2)


@pytest.mark.slow
def test_parts_end_in_the_bytes_of_an_undivided_run(capsys: pytest.CaptureFixture[str]) -> None:
    mrb("run", "--model", "random", *TASKS, "--out", "whole")
    parts = [shard(number, 3) for number in (2, 1)]
    assert "shard 1/3 is scored: runs/random/shards/1-of-3" in capsys.readouterr().out
    assert "these are missing: 3" in refused(*parts)
    parts.append(shard(3, 3))
    mrb("merge", *parts, "--out", "merged")
    whole, merged = Path("whole/random"), Path("merged")
    assert len(finals(whole)) == 6
    assert finals(merged) == finals(whole)
    for task in (FAQ, "mini-flag-t2it"):
        assert (merged / task / "journal").read_bytes() == (whole / task / "journal").read_bytes()
    record = json.loads((merged / "run.json").read_text())
    assert record["environment"]["parts"] == "3"
    timings = [json.loads((part / "run.json").read_text())["timings"][FAQ] for part in parts]
    assert record["timings"][FAQ]["pairs"] == sum(timing["pairs"] for timing in timings)
    mrb("recompute", "merged")  # every number again from the merged journal
    mrb("merge", *parts, "--out", "merged")
    assert finals(merged) == finals(whole), "again, with what is there"


def test_more_parts_than_queries() -> None:
    one = ("--task", FAQ, "--limit", "2")
    for number in (1, 2, 3):
        mrb("run", "--model", "random", *one, "--shard", f"{number}/3")
    mrb("merge", *(f"runs/random/shards/{n}-of-3" for n in (1, 2, 3)), "--out", "merged")
    mrb("run", "--model", "random", *one, "--out", "whole")
    assert finals(Path("merged")) == finals(Path("whole/random"))


@pytest.mark.slow
def test_what_does_not_belong_together_is_refused_by_name(halves: tuple[Path, Path]) -> None:
    first, second = halves
    assert "no shard of a run" in refused(first, Path("runs"))
    shutil.copytree(second, "copy")
    assert "shard 2/2 again" in refused(first, second, Path("copy"))
    assert "is itself a shard of a run" in refused(first, second, out=str(first))
    assert "the number of shards is 3" in refused(first, shard(2, 3))
    assert "identity" in refused(first, shard(2, 2, "--set", "seed=9", name="other"))
    assert "the reranker is constant" in refused(first, shard(2, 2, model="constant"))
    assert "depth is 10" in refused(first, shard(2, 2, "--depth", "10", name="shallow"))
    mrb("run", "--model", "constant", *TASKS, "--name", "busy")
    assert "holds a run of another reranker" in refused(first, second, out="runs/busy")


def _change(path: Path, changed: Callable[[list[Record]], list[Record]], **header: object) -> None:
    """Write a journal again with other records, or another header."""
    found = Journal(path)
    assert found.header is not None
    write_journal(path, found.header.model_copy(update=header), changed(found.records))


def _doubled(records: list[Record]) -> list[Record]:
    first, *others = records
    return [Record(first.query_id, first.first, first.scores + 1), *others]


def test_journals_that_differ_or_lack_something_are_refused_by_name(halves: tuple[Path, Path]) -> None:
    first, second = (part / FAQ / "journal" for part in halves)
    good = first.read_bytes(), second.read_bytes()
    query = Journal(first).records[-1].query_id
    _change(first, lambda records: records[:-1])
    line = refused(*halves)
    assert f"shard 1/2 has not scored query '{query}' of {FAQ} (1 such)" in line and "continues" in line
    first.write_bytes(good[0])

    _change(second, lambda records: [*records, *_doubled(Journal(first).records)[:1]])
    line = refused(*halves)
    assert f"{second}: query '{Journal(first).records[0].query_id}' scored " in line and "in another shard" in line
    second.write_bytes(good[1])

    found = Journal(second).header
    assert found is not None
    _change(second, list, packages={**found.packages, "numpy": "1.0"})
    assert "scored with numpy 1.0, another shard with" in refused(*halves)
    _change(second, list, packages=found.packages, score_key="0" * 64)
    assert "holds scores of another run of random" in refused(*halves)
    second.write_bytes(b"damaged" + good[1])
    assert "not a journal" in refused(*halves)
    second.write_bytes(good[1])
    mrb("merge", *halves, "--out", "merged")
