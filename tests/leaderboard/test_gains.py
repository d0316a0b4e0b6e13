"""The page of gains over several first stages: what stands on it, and that a board without several has none."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import mrb
from mrb.candidates.lists import build_candidates, read_parquet, write_parquet
from mrb.candidates.load import find_candidates
from mrb.data.task import load_task
from mrb.leaderboard.build import build
from mrb.leaderboard.tables.gains import make_gain_tables
from mrb.leaderboard.tables.runs import read_runs

TASK = "mini-faq-t2t-dev"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of two rerankers on the lists of two sets, one of them on one set only; a set is named as a choice is."""
    folder = tmp_path_factory.mktemp("gains")
    frozen = read_parquet(find_candidates(load_task(TASK), None))
    for turn, name in enumerate(("near", "all")):
        made = frozen.provenance.model_copy(update={"track": name, "first_stage": name})
        turned = [
            (query_id, doc_ids[turn:], [-float(n) for n in range(turn, len(doc_ids))])
            for query_id, doc_ids, _ in frozen.lists()
        ]
        write_parquet(build_candidates(made, turned), folder / "lists" / name / f"{TASK}.parquet")
    found = {}
    for model, name in (("surface", "near"), ("surface", "all"), ("random", "near")):
        options = {"candidates": folder / "lists", "candidate_set": name, "depth": 20, "limit": 8}
        run = mrb.evaluate(model, tasks=TASK, out=folder / "runs", **options)
        found[run.name] = run.folder
    return found


def test_the_page_has_each_set_and_means_of_complete_ones(runs: dict[str, Path], tmp_path: Path) -> None:
    overview = build(list(runs.values()), tmp_path / "site")
    assert 'href="first-stages.html"' in overview.read_text()
    page = overview.with_name("first-stages.html").read_text()
    rows = re.findall(r"<tr[^>]*><th scope=\"row\">(.*?)</tr>", page, re.DOTALL)
    gains = mrb.compare_first_stages(*runs.values())
    surface = next(one for one in gains.rerankers if one.name == "surface").tasks[0]
    assert surface.spread is not None
    assert len(rows) == 3 and rows[0].startswith("first stage")
    assert rows[1].startswith(
        "<bdi>surface"
    ) and f">{100 * surface.spread.mean:+.2f}</b><small>sd {100 * surface.spread.sd:.2f}</small>" in rows[1].replace(
        "\u2212", "-"
    )
    for one in surface.gains:
        assert f'<a href="models/surface--{one.candidate_set}.html">{100 * one.own.mean:.2f}</a>' in rows[1]
        assert f"<b>{100 * one.first_stage:.2f}</b>" in rows[0]
    assert '<option value="">all</option>\n<option value="all">all</option>' in page, "no choice, and the set"
    data = (overview.parent / "data" / "gains-single-20.csv").read_text()
    assert data.count("\n") == 1 + 3 + 1 and "surface,mini-faq-t2t-dev,t2t,nDCG@10,near," in data
    assert rows[2].startswith("<bdi>random") and "needs every set" in rows[2] and "not here" in rows[2]


def test_one_set_has_no_page(runs: dict[str, Path], tmp_path: Path) -> None:
    overview = build([runs["surface--near"], runs["random--near"]], tmp_path / "site")
    assert not overview.with_name("first-stages.html").exists() and "first-stages.html" not in overview.read_text()


def test_a_run_on_several_sets_is_left_out_by_name(make_run: Callable[..., Path]) -> None:
    tracks = {"near": ["near"], "far": ["far"], "mixed": ["near", "far"]}
    found = {
        name: make_run(name, 0.5, tracks=sets, candidates=("ab" if name == "far" else "cd") * 32)
        for name, sets in tracks.items()
    }
    (table,) = make_gain_tables(read_runs(list(found.values())))
    assert table.left_out == (("mixed", "its lists belong to far, near"),)


def test_a_run_that_does_not_compare_is_left_out_by_name(runs: dict[str, Path], tmp_path: Path) -> None:
    copied = tmp_path / "again"
    shutil.copytree(runs["surface--all"], copied)
    overview = build([*runs.values(), copied], tmp_path / "site")
    page = overview.with_name("first-stages.html").read_text()
    assert "Left out: <bdi>surface--all</bdi>, the same model on the same lists as again." in page
