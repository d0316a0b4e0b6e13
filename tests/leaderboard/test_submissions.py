"""The board from submissions: beside runs, with their stored averages, many at once; and what was not recomputed."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from mrb.candidates.judgement_packs import build_pack, write_pack
from mrb.cli.main import cli
from mrb.data.task import Sample, load_suite, load_task
from mrb.errors import MRBError, ResultError
from mrb.evaluation.measure import measure
from mrb.evaluation.plan import load_plan
from mrb.evaluation.spec import TaskSpec
from mrb.leaderboard.build import build
from mrb.leaderboard.pages import assets, overview
from mrb.leaderboard.site import make_site
from mrb.leaderboard.tables import per_query_cache
from mrb.leaderboard.tables.finding import fold_words, join_words
from mrb.leaderboard.tables.rows import AVERAGE_TASKS, AVERAGE_TYPES, Table
from mrb.leaderboard.tables.runs import make_card, read_entries, read_runs
from mrb.leaderboard.tables.table_grouping import group_runs
from mrb.rerankers.declaration import load_reranker
from mrb.results.run import average_over_tasks, average_over_types, compute_suite_averages, load_run
from mrb.submission.as_run import to_run
from mrb.submission.reader import read_submission_folder
from mrb.submission.validate import validate_submission
from tests.builders.submissions import submitted, trial_run

pytestmark = pytest.mark.slow

MINI = load_suite("mini")


@pytest.fixture(scope="module")
def synthetic() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "synthetic.py"
    spec = importlib.util.spec_from_file_location("synthetic", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def many(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve synthetic submissions of mrb."""
    folder = tmp_path_factory.mktemp("synthetic")
    assert len(synthetic.write_submissions(folder, 12, queries=30, rankings=True)) == 12
    return folder


def test_a_submission_has_the_numbers_of_the_run_that_it_is_of(tmp_path: Path) -> None:
    run = trial_run(tmp_path, tasks=MINI.tasks, limit=4)
    folder = submitted(run, tmp_path / "results")
    (comparison,) = group_runs(read_runs([run, tmp_path / "results"]))
    view = Table(comparison).compute_view("nDCG@10")
    rows = {row.key: row for row in view.rows}
    assert set(rows) == {"random", "mrb__random"}
    for column in (*MINI.tasks, AVERAGE_TASKS, AVERAGE_TYPES):
        one, other = rows["random"].cells[column], rows["mrb__random"].cells[column]
        assert (one.mean, one.low, one.high, one.gain) == (other.mean, other.low, other.high, other.gain)
    types = {row.key: row for row in Table(comparison).get_type_view().rows}
    assert types["random"].cells["t2t"].low == types["mrb__random"].cells["t2t"].low
    page = build([run, folder], tmp_path / "site")
    text = page.read_text()
    assert 'href="data/mrb__random/submission.json"' in text and 'data-run="random"' not in text
    copied = page.parent / "data" / "mrb__random" / "submission.json"
    assert copied.read_bytes() == (folder / "submission.json").read_bytes()
    assert not list(page.parent.rglob("*.parquet"))


def test_stored_averages_are_those_that_the_run_gives(tmp_path: Path) -> None:
    run = load_run(trial_run(tmp_path, tasks=MINI.tasks, limit=4))
    received = read_submission_folder(submitted(run.folder, tmp_path))
    stored = to_run(received)
    assert received.submission.averages == compute_suite_averages(run, MINI)
    for name in ("nDCG@10", "MRR@10"):
        for average in (average_over_tasks, average_over_types):
            assert average(run, MINI.tasks, name) == average(stored, MINI.tasks, name)
        of_type = average_over_tasks(stored, ["mini-faq-t2t"], name)
        assert of_type == average_over_tasks(run, ["mini-faq-t2t"], name)
    assert average_over_tasks(stored, MINI.tasks[:2], "MRR@10").interval is None, "no average of the suite"


def test_a_part_of_a_suite_has_averages_of_whole_types_only(trial: Path, pristine: Path) -> None:
    found = read_submission_folder(pristine).submission.averages
    assert found.tasks is None and found.types is None and set(found.of_types) == {"t2t"}
    run = to_run(read_submission_folder(pristine))
    assert average_over_tasks(run, MINI.tasks, "nDCG@10").mean is None
    assert load_run(trial).tasks["mini-faq-t2t"].queries == run.tasks["mini-faq-t2t"].queries


def test_many_submissions_are_one_table(many: Path, tmp_path: Path) -> None:
    page = build([many], tmp_path / "site")
    (comparison,) = group_runs(read_runs([many]))
    view = Table(comparison).compute_view("nDCG@10")
    assert len(view.rows) == 12 and len(view.columns) == 40
    assert all(row.cells[AVERAGE_TYPES].low is not None and row.done == 40 for row in view.rows)
    means = [row.cells[AVERAGE_TYPES].mean or 0.0 for row in view.rows]
    assert means == sorted(means, reverse=True) and means[0] > means[-1]
    tasks = (page.parent / "tables" / "mrb-100" / "tasks.html").read_text()
    assert tasks.count("data/synthetic__model-0007/submission.json") > 40


def test_a_model_is_found_by_parts_of_organisation_name_and_licence(many: Path) -> None:
    entry = read_entries([many])[0]
    assert entry.submission is not None
    stated = {"organisation": "Qwen", "name": "Qwen3-Reranker-8B", "licence": "MIT"}
    words = join_words(make_card(entry.run, entry.submission), entry.submission.model.model_copy(update=stated))
    for typed in ("qwen 8b", "Qwen/Qwen3", "Qwen__Qwen3", "MIT"):
        assert all(word in words for word in fold_words(typed).split()), typed


def test_the_first_view_stays_small_however_many_there_are(many: Path) -> None:
    entries = [
        replace(one, run=replace(one.run, path=one.run.folder.with_name(f"{one.run.name}-{copy}")))
        for one in read_entries([many])
        for copy in range(9)
    ]
    site = make_site(entries)
    (page,) = overview.make_files(site)
    assert len(site.runs) == 108 and page.path == "index.html" and page.data.count(b"<tr data-run=") == 100
    loaded = set(re.findall(rb'"(static/[^"]+)"', page.data))
    files = {one.path.encode(): one.data for one in assets.make_files(site)}
    sent = [len(gzip.compress(data)) for data in (page.data, *(files[path] for path in loaded))]
    assert sum(sent) < 100_000, "bytes as servers send them: half of what is allowed"


def test_packs_give_a_board_of_submissions_what_data_gives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in ("1", "2"):
        run = trial_run(tmp_path / seed, tasks=MINI.tasks, limit=4, seed=seed)
        submitted(run, tmp_path / "results", name=f"random-{seed}")
    for task in map(load_task, MINI.tasks):
        plan = load_plan(TaskSpec(task, MINI.depth, None))
        write_pack(build_pack(plan.data, plan.candidates), tmp_path / "packs" / f"{task.id}.judgements")
    with_data = build([tmp_path / "results"], tmp_path / "data").parent
    monkeypatch.setenv("MRB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(per_query_cache, "find_missing_input", lambda *_: "not here")
    with_packs = build([tmp_path / "results"], tmp_path / "site", packs=tmp_path / "packs").parent
    files = {path.relative_to(with_data) for path in with_data.rglob("*") if path.is_file()}
    assert files == {path.relative_to(with_packs) for path in with_packs.rglob("*") if path.is_file()}
    assert [str(path) for path in files if (with_data / path).read_bytes() != (with_packs / path).read_bytes()] == []
    assert any("compare" in path.parts for path in files)
    (board,) = make_site(read_entries([tmp_path / "results"])).boards.values()
    assert {rank.note for rank in board.standing.ranks.values()} == {"neither data nor judgement pack here"}

    task = load_task(MINI.tasks[0])
    changed = load_plan(TaskSpec(task, MINI.depth, None))
    wrong = {query_id: dict.fromkeys(changed.candidates.get(query_id)[0], 1) for query_id in changed.query_ids}
    data = replace(changed.data, qrels=wrong)
    write_pack(build_pack(data, changed.candidates), tmp_path / "packs" / f"{task.id}.judgements")
    with pytest.raises(ResultError, match=rf"rankings/{task.id}\.parquet: nDCG@5 is .*, mrb__random-1 states "):
        build([tmp_path / "results"], tmp_path / "other", packs=tmp_path / "packs")


def test_a_trial_of_a_sampled_suite_is_measured_on_its_own_queries(tmp_path: Path) -> None:
    task = load_task("mini-faq-t2t")
    plan = load_plan(TaskSpec(task, 25, None, limit=5, sample=Sample(queries=50)))
    scores = {query_id: np.arange(plan.size(query_id), dtype=np.float32) for query_id in plan.query_ids}
    result = measure(plan, scores, load_reranker("random").info).result
    path = tmp_path / "mini-faq-t2t.judgements"
    write_pack(build_pack(plan.data, plan.candidates), path)
    judged = per_query_cache._load_judgements(
        path, result, task, MINI.model_copy(update={"sample": Sample(queries=50)})
    )
    assert result.data.selection == "limit" and judged.query_ids == plan.query_ids
    stated = result.first_stage["nDCG@10"].mean
    assert judged.measure_first_stage()["nDCG@10"].mean() == pytest.approx(stated)


def test_tasks_whose_data_is_not_here_are_not_recomputed_and_said_to_be_so(many: Path) -> None:
    checked = validate_submission(read_submission_folder(many / "synthetic__model-0003"))
    assert checked.recomputed == () and set(checked.not_recomputed) == set(load_suite("mrb").tasks)
    assert "no published candidate list" in checked.not_recomputed["nfcorpus"]
    plain = CliRunner().invoke(cli, ["submission", "validate", str(many / "synthetic__model-0003")])
    assert plain.exit_code == 2 and "not recomputed: 40 of 40 tasks" in plain.output
    assert plain.output.count("not recomputed: it has no published candidate list") == 40
    allowed = CliRunner().invoke(
        cli, ["submission", "validate", str(many / "synthetic__model-0003"), "--allow-not-recomputed"]
    )
    assert allowed.exit_code == 0 and "valid: synthetic__model-0003, 0 of 40 tasks recomputed, mrb" in allowed.output


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (("results", "nfcorpus", "counts", "pairs"), "counts.pairs is 3001, nfcorpus.parquet gives 3000"),
        (("results", "nfcorpus", "counts", "failed_pairs"), "counts.failed_pairs is 1, nfcorpus.parquet gives 0"),
        (("averages", "tasks", "nDCG@10", "mean"), "averages.tasks.nDCG@10 is"),
        (("averages", "of_types", "i2i", "MRR@10", "mean"), "averages.of_types.i2i.MRR@10 is"),
    ],
)
def test_what_can_be_checked_without_data_is_checked(
    many: Path, tmp_path: Path, field: tuple[str, ...], words: str
) -> None:

    folder = Path(shutil.copytree(many / "synthetic__model-0001", tmp_path / "synthetic__model-0001"))
    value = json.loads((folder / "submission.json").read_text())
    inner = value
    for name in field[:-1]:
        inner = inner[name]
    inner[field[-1]] += 1 if isinstance(inner[field[-1]], int) else 1e-6
    (folder / "submission.json").write_text(json.dumps(value))
    with pytest.raises(ResultError, match=words):
        validate_submission(read_submission_folder(folder))


def test_the_default_folder_is_the_repositorys(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.chdir(tmp_path)
    nothing = CliRunner().invoke(cli, ["leaderboard", "build"])
    assert isinstance(nothing.exception, MRBError) and "no folder leaderboard/results here" in str(nothing.exception)
    shutil.copytree(pristine, tmp_path / "leaderboard" / "results" / pristine.name)
    (tmp_path / "leaderboard" / "results" / "README.md").write_text("")
    done = CliRunner().invoke(cli, ["leaderboard", "build"])
    assert done.exit_code == 0, done.output
    assert "mrb__random" in (tmp_path / "site" / "index.html").read_text()
    (tmp_path / "empty").mkdir()
    empty = CliRunner().invoke(cli, ["leaderboard", "build", "empty"])
    assert isinstance(empty.exception, ResultError) and "no run.json here" in str(empty.exception)


def test_synthetic_tasks_keep_their_first_stage(synthetic: ModuleType) -> None:
    task = synthetic.SyntheticTask(load_task("nfcorpus"), 50, 100)
    ranks = task.ranks(1, 0.5)
    for row, before, after in zip(task.orders(ranks), task.first.tolist(), ranks.tolist(), strict=True):
        assert sorted(row.order.tolist()) == list(range(100))
        assert (after == 0) if before == 0 else row.order[after - 1] == before - 1
