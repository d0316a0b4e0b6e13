"""`mrb tasks`: what it prints, what it sums, what it refuses, what it does not import."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from datetime import date
from typing import Any

import pytest
from click.testing import CliRunner

from mrb.cli.tasks import command
from mrb.data.task import TYPES, load_suite, load_task
from mrb.errors import TaskError

MRB = load_suite("mrb")


def tasks(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, TaskError)
    return str(result.exception)


def test_json_of_the_suite() -> None:
    listed: list[dict[str, Any]] = json.loads(tasks("--suite", "mrb", "--json"))
    assert [entry["id"] for entry in listed] == list(MRB.tasks)
    counts = Counter(entry["type"] for entry in listed)
    assert [counts[name] for name in TYPES] == [14, 1, 4, 5, 4, 2, 5, 2, 3]
    for entry in listed:
        assert re.fullmatch("[0-9a-f]{40}", entry["revision"])
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry["repository"])
        assert entry["instruction"] and entry["status_reason"]
        assert entry["measure"] == "nDCG@10"
        assert entry["status"] in ("confirmed", "inferred")
        assert entry["hash"] == load_task(entry["id"]).hash
        assert {"name", "repository", "revision"} == set(entry["parts"][0])


def test_json_names_all_parts() -> None:
    listed = json.loads(tasks("--suite", "mrb", "--json", "--text", "cqadupstack"))
    (entry,) = listed
    assert len(entry["parts"]) == 12
    assert (entry["repository"], entry["revision"]) == (
        entry["parts"][0]["repository"],
        entry["parts"][0]["revision"],
    )
    assert [part["name"] for part in entry["parts"]][:2] == ["android", "english"]


def test_sums_of_a_suite() -> None:
    assert tasks("--suite", "mrb").splitlines()[-1] == (
        "40 tasks, 253,975 queries, 33,866,469 documents, 25,397,500 pairs at depth 100, "
        "65.2 GB known, 27 tasks unknown"
    )
    assert "40 tasks, 7,599 queries" in tasks("--suite", "mrb-lite").splitlines()[-1]
    assert tasks("--suite", "mrb", "--type", "i2i").splitlines()[-1] == (
        "1 task, 2,120 queries, 40,038 documents, 212,000 pairs at depth 100, 634 MB"
    )


def test_columns_are_aligned() -> None:
    header, *rows = tasks("--suite", "mrb", "--family", "cross").splitlines()[:-2]
    assert len(rows) == 13
    at = header.index("TITLE")
    assert all(row[at - 1] == " " and row[at] != " " for row in rows)


def test_without_a_suite_the_spare_sets_are_listed_too() -> None:
    output = tasks("--text", "quora")
    header, row, *_ = output.splitlines()
    assert "SUITES" in header
    assert re.search(r"quora +t2t .* inferred +- +Quora", row)
    assert "mrb, mrb-lite" in tasks("--text", "scifact")


def test_filters_combine() -> None:
    listed = json.loads(tasks("--suite", "mrb", "--type", "it2t", "--type", "it2it", "--text", "oven", "--json"))
    assert [entry["id"] for entry in listed] == ["oven-it2t", "oven-it2it"]
    assert json.loads(tasks("--suite", "mrb", "--family", "single", "--type", "t2i", "--json")) == []
    assert tasks("--suite", "mrb", "--text", "nothing like it").endswith(
        "0 tasks, 0 queries, 0 documents, 0 pairs at depth 100, 0 MB\n"
    )


def test_one_task_whole() -> None:
    page = tasks("infovqa")
    task = load_task("infovqa")
    for words in ("nDCG@10; its source reports nDCG@5", "documented to 6875 x 24978", task.homepage, task.hash):
        assert words is not None and words in page
    assert "mean over 12 parts" in tasks("cqadupstack")
    shown = json.loads(tasks("infovqa", "--json"))
    assert shown["id"] == "infovqa"
    assert shown["definition"]["images"]["max_pixels"] == 171_723_750


def test_a_task_of_the_hub_says_whether_it_was_ever_loaded_live(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "live Hub        never loaded live; `mrb data check --remote --task nights` compares" in tasks("nights")
    assert "live Hub" not in tasks("mini-faq-t2t")
    assert {entry["seen_live"] for entry in json.loads(tasks("--suite", "mrb", "--json"))} == {None}
    task = load_task("nights")
    seen = task.source.model_copy(update={"seen_live": date(2027, 1, 31)})
    monkeypatch.setattr("mrb.data.own_tasks.load_task", lambda _: task.model_copy(update={"source": seen}))
    assert "live Hub        as stated on 2027-01-31" in tasks("nights")
    assert json.loads(tasks("nights", "--json"))["seen_live"] == "2027-01-31"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["infovqaa"], "did you mean infovqa"),
        (["--suite", "mbr"], "did you mean mrb"),
        (["--type", "t2x"], "unknown type 't2x'"),
        (["--family", "both"], "there are: single, cross, fused"),
        (["nights", "--suite", "mrb"], "give either"),
    ],
)
def test_mistakes(arguments: list[str], words: str) -> None:
    assert words in refused(*arguments)


def test_it_starts_without_heavy_modules() -> None:
    code = (
        "import sys\n"
        "from mrb.cli.tasks import command\n"
        "command(['--suite', 'mrb', '--json'], standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'pandas', 'datasets', 'pyarrow', 'PIL', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_sub_suites_are_named_and_listed_like_suites() -> None:
    line = "sub-suite mini-text-query: 4 tasks (t2t, t2i, t2vd, t2it)"
    assert line in tasks("--suite", "mini").splitlines() and line in tasks().splitlines()
    assert "4 tasks, 587 queries" in tasks("--suite", "mini-text-query").splitlines()[-1]
