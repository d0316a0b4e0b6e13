"""Sweeps: every arm and seed once, whatever kills them; a report of what is there. Random starts and derived data."""

from __future__ import annotations

import csv
import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import sweep_report as report
from click.testing import CliRunner

from mrb.baselines.retrievers.colours import COLOURS, find_mentions, name_pixels
from mrb.baselines.synthetic.flag_grammar import describe_and_draw
from mrb.baselines.synthetic.flag_sheet import TALL, WIDE
from mrb.baselines.synthetic.recoloured import recoloured
from mrb.baselines.synthetic.synthetic_flags import drawn
from mrb.cli.main import cli
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.data.task_data import TaskData
from mrb.errors import TrainingError
from mrb.retrieval.first_stage import split_parts
from mrb.training.data import prepare
from mrb.training.data.prepare import DERIVED, derive, hash_plugin
from mrb.training.random_init import make_random_start
from mrb.training.recipe import load_recipe
from mrb.training.run import train
from mrb.training.sweep import Sweep, SweepRun, format_results, load_sweep, run_sweep
from tests.builders.training import recipe_of, toy_groups

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
DEV = "mini-faq-t2t-dev"
SWEEP = """
schema_version = 1
title = "two arms"
recipe = "small"
seeds = [0, 1]
reference = "one"
[[arms]]
name = "one"
set.loss = { name = "unified", weight = "sft", direction = "sft" }
[[arms]]
name = "two"
set.loss = { name = "unified", weight = "cl", direction = "cl" }
set.model = { layout = "gmr-cl" }
"""
CHANGES = ("schedule.steps=2", f"evaluation.tasks=['{DEV}']", "evaluation.limit=2", "evaluation.depth=3")


@pytest.fixture(autouse=True)
def cache(training_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRB_CACHE", str(training_cache))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny, training_cache: Path) -> Path:
    """A folder with the sweep's recipe, whose runs of seed 0 are finished in `out`."""
    folder = tmp_path_factory.mktemp("sweep")
    recipe_of(folder, tiny("qwen2"), toy_groups(folder, pictures=False))
    (folder / "both.toml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRB_CACHE", str(training_cache))
        words = ["train", "sweep", str(folder / "both.toml"), "--seed", "0", "--out", str(folder / "out")]
        done = CliRunner().invoke(cli, [*words, *(w for change in CHANGES for w in ("--set", change))])
        assert done.exit_code == 0, done.output
        assert "run 2 of 2: two, seed 0" in done.output
        assert done.output.splitlines()[-1] == f"results: {folder / 'out' / 'results.csv'}"
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "sweep")


def load(folder: Path, seeds: Sequence[int] = (0, 1)) -> Sweep:
    # The recipe names the groups and the model by their paths, which the copies share.
    return load_sweep(str(folder / "both.toml"), folder / "out", CHANGES, seeds)


def finish(folder: Path, run: SweepRun) -> None:
    """The finished run of seed 0 again, as if by another seed."""
    shutil.copytree(folder / "out" / run.arm / "seed-0", run.folder)
    record = json.loads((run.folder / "training.json").read_text())
    (run.folder / "training.json").write_text(json.dumps(record | {"recipe_sha256": run.loaded.sha256}))


def read_rows(folder: Path) -> list[tuple[str, str]]:
    with (folder / "out" / "results.csv").open() as file:
        return [(row["arm"], row["seed"]) for row in csv.DictReader(file)]


def test_a_sweep_goes_on_where_it_stopped_and_repeats_nothing(folder: Path) -> None:
    made: list[tuple[str, int]] = []
    sweep = load(folder)

    def go(run: SweepRun) -> None:
        if len(made) == 1:
            raise KeyboardInterrupt
        finish(folder, run)
        made.append((run.arm, run.seed))

    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, folder / "out", go)
    # All arms of a seed before the next seed's, so that a part of a sweep can be compared.
    assert made == [("one", 1)]
    assert read_rows(folder) == [("one", "0"), ("two", "0"), ("one", "1")]
    run_sweep(sweep, folder / "out", lambda run: finish(folder, run))
    assert read_rows(folder) == [("one", "0"), ("two", "0"), ("one", "1"), ("two", "1")]
    (result,) = json.loads((folder / "out/two/seed-1/training.json").read_text())["results"]
    with (folder / "out" / "results.csv").open() as file:
        assert list(csv.DictReader(file))[-1] == {"arm": "two", "seed": "1"} | {k: str(v) for k, v in result.items()}
    table = [line.split() for line in format_results(sweep)]
    value = f"{100 * result['value']:.2f}"
    assert (table[0], table[-1]) == (["arm", "seed", DEV, "mean"], ["two", "1", value, value])


def test_a_run_of_another_recipe_is_not_a_finished_one(folder: Path) -> None:
    other = load_sweep(str(folder / "both.toml"), folder / "out", [*CHANGES, "schedule.learning_rate=1e-4"], [0])
    assert other.read_finished() == {}
    assert load(folder).read_finished().keys() == {("one", 0), ("two", 0)}


def test_the_report_has_scores_intervals_and_the_plots_that_have_data(folder: Path) -> None:
    out = folder / "out"
    two, three = load(folder), load(folder, (0, 1, 2))
    for run in three.runs[2:]:
        finish(folder, run)
    text = report.write_report(two, out, "both").read_text()
    assert "4 of 4 runs are finished" in text
    assert "too few seeds" in text
    for name, (_, record) in two.read_finished().items():
        assert f"| {name[0]} | {name[1]} | {100 * record.results[0].value:.2f} |" in text
    for name in ("weight_positive", "weight_negative"):
        assert ET.parse(out / f"{name}.svg").getroot().tag.endswith("svg")
        assert f"]({name}.svg)" in text
    # Two seeds give no interval, so there is nothing to draw.
    assert not (out / "differences.svg").exists() and "differences.svg" not in text
    # Both arms log their weights: two lines of two steps.
    assert (out / "weight_positive.svg").read_text().count("<polyline") == 2

    text = report.write_report(three, out, "both").read_text()
    assert "![Differences](differences.svg)" in text
    assert (out / "differences.svg").read_text().count("<circle") == 1
    # With two seeds it would be the picture of another report.
    text = report.write_report(two, out, "both").read_text()
    assert not (out / "differences.svg").exists() and "differences.svg" not in text
    # A loss without weights logs none.
    for log in out.glob("*/seed-*/log.csv"):
        rows = list(csv.DictReader(log.open()))
        with log.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(row | {"weight_positive": "", "weight_negative": ""} for row in rows)
    text = report.write_report(three, out, "both").read_text()
    assert "Size of the weights" not in text
    assert [path.name for path in out.glob("*.svg")] == ["differences.svg"]


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0.0, 10.0, [0, 2, 4, 6, 8, 10]), (0.3, 2.2, [0.5, 1, 1.5, 2]), (-3.0, 4.1, [-2, 0, 2, 4])],
)
def test_ticks_are_round_numbers_within_the_range(low: float, high: float, wanted: list[float]) -> None:
    import svg_plots

    assert svg_plots.list_ticks(low, high) == wanted


def test_processes_share_the_folder_by_seeds(folder: Path) -> None:
    for seed in (1, 0):
        own = load(folder, [seed])
        assert [(run.arm, run.seed) for run in own.runs] == [("one", seed), ("two", seed)]
        for run in own.runs:
            assert run in load(folder).runs, "the plain command's own runs, so it makes none of them again"


def test_the_shipped_sweep_has_the_papers_arms_from_one_start() -> None:
    sweep = load_sweep("url-grid", Path("out"))
    assert len(sweep.settings.seeds) >= 5
    by_arm = {run.arm: run.loaded.recipe for run in sweep.runs if run.seed == 0}
    loss = {arm: (recipe.loss.weight, recipe.loss.direction) for arm, recipe in by_arm.items()}
    assert {("sft", "sft"), ("sft", "cl"), ("cl", "sft"), ("cl", "cl"), ("base", "sft"), ("masked", "sft")} == set(
        loss.values()
    )
    assert [arm for arm, recipe in by_arm.items() if recipe.rows.start == "random"] == ["sft-random"]
    starts = {(r.model.shape, r.model.vocabulary, r.data, str(r.sampling), r.schedule) for r in by_arm.values()}
    assert len({str(start) for start in starts}) == 1
    assert {run.loaded.recipe.schedule.seed for run in sweep.runs} == set(sweep.settings.seeds)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SWEEP.replace("seeds = [0, 1]", "seeds = [0, 0]"), "twice"),
        (SWEEP.replace('reference = "one"', 'reference = "three"'), "not one of the arms"),
        (SWEEP.replace('weight = "cl"', 'weight = "no"'), "weight"),
        (SWEEP.replace("schema_version = 1", "schema_version ="), "both.toml"),
    ],
)
def test_a_wrong_sweep_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    recipe_of(tmp_path, tmp_path, tmp_path / "g.jsonl")
    (tmp_path / "both.toml").write_text(text)
    with pytest.raises(TrainingError, match=said):
        load_sweep(str(tmp_path / "both.toml"), tmp_path / "out")


def test_intervals_over_seeds_are_students() -> None:
    spread = report.Spread.of([0.1, 0.2, 0.3, 0.4, 0.5])
    # scipy.stats.t.ppf(0.975, 4) = 2.776445, standard error sqrt(0.025 / 5)
    assert spread.low == pytest.approx(0.3 - 2.776445 * 0.0707107, abs=1e-4)
    assert spread.verdict == "above 0"
    assert report.Spread.of([0.1, 0.9]).low is None


def test_a_random_start_is_the_same_twice_and_trains(tmp_path: Path) -> None:
    toy_groups(tmp_path)
    recipe = tmp_path / "random.toml"
    recipe.write_text(
        f"""
        schema_version = 1
        title = "random"
        [model]
        vocabulary = 400
        shape = "gmr-tiny"
        layout = "gmr-tiny-cl"
        max_length = 60
        max_pixels = 4096
        min_pixels = 1024
        [tuning]
        method = "full"
        [loss]
        name = "contrastive"
        [data]
        groups = ["{tmp_path / "toy.jsonl"}"]
        [sampling]
        negatives = 2
        [schedule]
        queries = 2
        steps = 1
        [memory]
        precision = "fp32"
        """
    )
    train(load_recipe(str(recipe)), tmp_path / "out", fresh=False, command=())
    start = (tmp_path / "out/start/model.safetensors").read_bytes()
    size = json.loads((tmp_path / "out/model/config.json").read_text())["text_config"]["vocab_size"]
    assert 270 < size <= 400  # few texts give fewer tokens than were asked for
    assert "random weights of the shape gmr-tiny" in (tmp_path / "out/model/README.md").read_text()
    for seed, same in ((0, True), (1, False)):
        other = load_recipe(str(recipe), [f"schedule.seed={seed}"]).recipe
        sources = prepare.prepare(other.data).sources
        make_random_start(tmp_path / str(seed), other, sources)
        assert ((tmp_path / str(seed) / "model.safetensors").read_bytes() == start) is same


def pictures(data: TaskData) -> list[str]:
    return [image.sha256 for doc_id in data.corpus if (image := data.corpus.item(doc_id).image) is not None]


def test_recoloured_flags_change_pictures_and_words_alike() -> None:
    data = load_task_data(load_task("mini-flag-t2i-train"))
    made = derive("recoloured", data, 2)
    assert made.task.id == "mini-flag-t2i-train-recoloured"
    assert made.task.candidates is None
    assert len(made.queries) == len(made.corpus) == 2 * len(data.queries)
    assert pictures(recoloured(data, 1)) == pictures(made)[: len(data.queries)]  # the same in every build
    assert len(set(pictures(made))) > 1.9 * len(data.queries)
    # Each copy is searched alone, so that a list is as hard as the task's own.
    assert [part.name for part in made.task.source.parts] == ["0", "1"]
    for query_id in ("0/ae-look", "1/ae-look"):
        text = made.queries.item(query_id).text
        assert text != data.queries.item("ae-look").text
        top, rest = re.match(r"three equal horizontal bands of (\w+) \(top\), (\w+), and", text).groups()  # type: ignore[union-attr]
        image = made.corpus.item(query_id).image
        assert image is not None
        picture = np.asarray(image.open(), np.float64)
        height, width = picture.shape[:2]
        for name, row in ((top, height // 6), (rest, height // 2)):
            shares = name_pixels(picture[row, width // 2])
            assert COLOURS[int(shares.argmax())] == name
    with pytest.raises(TrainingError, match="recoloured"):
        derive("nothing", data, 1)


def test_data_made_by_changed_code_are_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_maker.py").write_text(
        "from their_helper import made\n\ndef make(data, copies):\n    return data\n"
    )
    (tmp_path / "their_helper.py").write_text("made = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("theirs", "their_maker:make", DERIVED)
    monkeypatch.setattr(prepare, "entry_points", lambda group: [point])
    before = hash_plugin("theirs")
    assert hash_plugin("theirs") == before
    (tmp_path / "their_helper.py").write_text("made = 2\n")
    after = hash_plugin("theirs")
    assert before.keys() == after.keys() == {"their_maker.py", "their_helper.py"}
    assert before["their_maker.py"] == after["their_maker.py"]
    assert before["their_helper.py"] != after["their_helper.py"]


def test_plain_flags_show_the_colour_that_they_tell() -> None:
    data = load_task_data(load_task("mini-flag-i2t-train"))
    made = derive("plain", data, 1)
    assert made.task.id == "mini-flag-i2t-train-plain"
    assert len(made.queries) == len(made.corpus) == len(data.queries)
    told = {query_id: find_mentions(made.corpus.item(query_id).text)[0][1] for query_id in made.queries}
    for part in (parts := split_parts(made)):
        assert len({told[query_id] for query_id in part.queries}) == len(part.queries) <= 7
    assert len(parts) == len(data.queries) / 7
    for query_id in list(made.queries)[:50]:
        image = made.queries.item(query_id).image
        assert image is not None
        picture = np.asarray(image.open(), np.float64)
        shares = name_pixels(picture[picture.shape[0] // 2, picture.shape[1] // 2])
        assert int(shares.argmax()) == told[query_id]


def test_drawn_flags_are_what_their_descriptions_tell() -> None:
    data = load_task_data(load_task("mini-flag-t2it-train"))
    made = derive("drawn", data, 3)
    assert [part.name for part in made.task.source.parts] == ["0", "1", "2"]
    assert len(made.queries) == len(made.corpus) == 3 * len(data.queries)
    assert pictures(made) == pictures(drawn(data, 3))
    assert len(set(pictures(made))) > 2.9 * len(data.queries)
    # The other text of a document is not about the flag, and stays.
    assert made.corpus.item("0/ae-description").text == data.corpus.item(next(iter(data.qrels["ae-description"]))).text
    looked_at = 0
    for query_id in made.queries:
        told = re.match(
            r"three equal horizontal bands of (\w+) \(top\), (\w+), and (\w+)$", made.queries.item(query_id).text
        )
        image = made.corpus.item(query_id).image
        assert image is not None
        opened = image.open()
        if told and opened.size == (64, 48):
            looked_at += 1
            for row, name in zip((8, 24, 40), told.groups(), strict=True):
                shares = name_pixels(np.asarray(opened, np.float64)[row, 60])
                assert COLOURS[int(shares.argmax())] == {"gold": "yellow"}.get(name, name)
    assert looked_at >= 3


def test_drawn_flags_are_made_of_tasks_with_descriptions_only() -> None:
    data = load_task_data(load_task("mini-fact-it2t-train"))
    with pytest.raises(TrainingError, match="t2i, i2t, t2it"):
        derive("drawn", data, 1)


def test_every_design_can_be_drawn_with_every_lot() -> None:
    begun = set()
    for lot in range(2000):
        words, picture = describe_and_draw(np.random.default_rng(lot))
        assert picture.size == (WIDE, TALL)
        assert 1 <= len(words.split()) < 70
        assert not re.search(r"\ba (orange)|\ban (?!orange)|  | ,", words)
        begun.add(" ".join(words.split()[:2]))
    assert len(begun) > 40
