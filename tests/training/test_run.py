"""Whole runs of training: it learns, goes on after a kill, splits among processes, and says what it was."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mrb.errors import MRBError, TrainingError
from mrb.evaluation.run import run as score
from mrb.evaluation.spec import select_tasks
from mrb.results.schema import read_result
from mrb.training.recipe import LoadedRecipe
from mrb.training.record import read_training_record, write_training_record
from mrb.training.run import train
from tests.builders.logs import logged
from tests.builders.training import killed_at, launched, recipe_of, toy_groups

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
DEV = "mini-flag-t2i-dev"


@pytest.fixture(autouse=True)
def cache(training_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRB_CACHE", str(training_cache))


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_groups(tmp_path_factory.mktemp("groups"))


@pytest.fixture
def small(tmp_path: Path, tiny: Tiny, groups: Path) -> Callable[..., LoadedRecipe]:
    """`small(changes)`: the small recipe on a tiny checkpoint."""
    return lambda *changes, architecture="qwen2_5_vl": recipe_of(tmp_path, tiny(architecture), groups, changes)


def go(recipe: LoadedRecipe, out: Path, *, fresh: bool = False) -> list[str]:
    """Train; what was logged."""
    with logged() as said:
        train(recipe, out, fresh=fresh, command=("mrb", "train"))
    return said


def curve(out: Path, *columns: str) -> list[list[str]]:
    with (out / "log.csv").open() as file:
        return [[row[name] for name in columns or ("step", "loss", "grad_norm")] for row in csv.DictReader(file)]


def test_a_run_learns_and_leaves_what_it_says(small: Any, tmp_path: Path) -> None:
    changes = ("tuning.method=full", "tuning.embeddings=trained", "tuning.vision=trained", "schedule.steps=18")
    changes += (f"evaluation.tasks=['{DEV}']", "evaluation.limit=3", "evaluation.depth=5", "evaluation.every=15")
    out = tmp_path / "out"
    said = go(small(*changes, "schedule.learning_rate=2e-3", "output.save_every=12"), out)
    losses = [float(loss) for (loss,) in curve(out, "loss")]
    assert len(losses) == 18
    assert sum(losses[-4:]) < 0.6 * sum(losses[:4])
    assert all(float(loss) == pytest.approx(float(sft), rel=1e-5) for loss, sft in curve(out, "loss", "sft"))
    assert (out / "checkpoint-12").is_dir()
    assert any("vision tower: " in line for line in said)

    record = read_training_record(out)
    assert record is not None
    assert record.finished
    assert record.steps == 18
    assert record.sources[0].name == "toy"
    assert "mini-flag-t2i" in record.contamination.checked
    assert "fiqa" in record.contamination.unknown
    assert [(r.task, r.measure) for r in record.results] == [(DEV, "nDCG@10")]
    with (out / "dev.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["15", "18"]

    # What training measured is what `mrb run` measures with the saved model.
    options = {"path": str(out / "model"), "layout": "gmr", "max_pixels": "9408", "max_length": "400"}
    selection = select_tasks(None, [DEV], (), 5)
    run = score(replace(selection, model="yes-no", options=options, out=tmp_path / "runs", limit=3))
    found = read_result(run.folder / DEV / "result.json").measures["nDCG@10"]
    assert record.results[0].value == pytest.approx(found.mean, abs=1e-9)
    assert record.results[0].low == pytest.approx(found.low, abs=1e-9)

    card = (out / "model" / "README.md").read_text()
    for words in ("| toy | 8 |", f"| {DEV} | ", "| mini-flag-t2i | checked | 0 |", "| fiqa | unknown | - |"):
        assert words in card
    assert "| `schedule.steps` | `18` | the user |" in card
    assert f"layout=gmr --set max_length=400 --set min_pixels=3136 --set max_pixels={9408}" in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    compile(code, "card", "exec")
    assert "It is no CrossEncoder of sentence-transformers" in card


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_killed_run_goes_on_with_the_same_curve(small: Any, tmp_path: Path, method: str) -> None:
    changes = (f"tuning.method={method}", "schedule.steps=5", "output.save_every=2", "rows.trainable=true")
    recipe = small(*changes, "loss.name=contrastive", "model.layout=gmr-cl", "memory.chunk_tokens=900")
    go(recipe, tmp_path / "whole")
    wanted = curve(tmp_path / "whole")
    assert len({loss for _, loss, _ in wanted}) == 5
    out = tmp_path / "killed"
    killed_at(recipe, out, 4)
    assert len(curve(out)) >= 3
    assert not (out / "model").exists()
    (out / "checkpoint-4").mkdir(exist_ok=True)  # as a kill in the middle of saving leaves it
    said = go(recipe, out)
    assert f"continuing after {out / 'checkpoint-2'}" in said
    assert curve(out) == wanted
    for name in ("adapter_model.safetensors", "label_rows.safetensors") if method == "lora" else ("model.safetensors",):
        assert (out / "model" / name).read_bytes() == (tmp_path / "whole" / "model" / name).read_bytes()


def test_a_run_goes_on_with_less_memory_and_other_output(small: Any, tmp_path: Path) -> None:
    changes = ["tuning.vision=trained", "schedule.steps=5", "loss.name=contrastive", "model.layout=gmr-cl"]
    go(small(*changes), tmp_path / "whole")
    out = tmp_path / "killed"
    killed_at(small(*changes, "output.save_every=2"), out, 4)
    less = [
        "memory.queries=1",
        "memory.chunk_tokens=700",
        "memory.image_cache_mb=0",
        "memory.gradient_checkpointing=true",
    ]
    said = go(small(*changes, *less, "output.save_every=1", "output.keep=9"), out)
    assert f"continuing after {out / 'checkpoint-2'}" in said
    assert len(list(out.glob("checkpoint-*"))) == 4, "2 from before, then one at each step"
    whole, found = ([list(map(float, row)) for row in curve(folder)] for folder in (tmp_path / "whole", out))
    for one, other in zip(whole, found, strict=True):
        assert other == pytest.approx(one, rel=2e-4)
    with pytest.raises(TrainingError, match="holds another run"):
        go(small(*changes, "memory.precision=bf16"), out)


def test_the_best_step_is_kept_and_progress_is_shown(small: Any, tmp_path: Path) -> None:
    tasks = (f"evaluation.tasks=['{DEV}']", "evaluation.limit=3", "evaluation.depth=5", "evaluation.every=1")
    kept = ("evaluation.at_start=true", "evaluation.keep_best=true")
    out = tmp_path / "out"
    said = go(small(*tasks, *kept, "schedule.steps=3", "output.save_every=1"), out)
    with (out / "dev.csv").open() as file:
        values = [(int(row["step"]), float(row["value"])) for row in csv.DictReader(file)]
    assert [step for step, _ in values] == [0, 1, 2, 3]
    best = max(values, key=lambda one: one[1])
    record = read_training_record(out)
    assert record is not None and record.best_step == best[0]
    assert f"for {best[0]} steps of 4 queries" in (out / "best" / "README.md").read_text()
    assert not (out / "best.part").exists()
    # It is the model of that step: scored, it gives that step's value.
    options = {"path": str(out / "best"), "layout": "gmr", "max_pixels": "9408", "max_length": "400"}
    selection = select_tasks(None, [DEV], (), 5)
    run = score(replace(selection, model="yes-no", options=options, out=tmp_path / "runs", limit=3))
    found = read_result(run.folder / DEV / "result.json").measures["nDCG@10"].mean
    assert found == pytest.approx(best[1], abs=1e-9)
    (header,) = [line for line in said if line.split()[:2] == ["step", "loss"]]
    assert header.split()[-5:] == ["tokens", "tokens/s", "memory_gb", "seconds", "left"]
    assert all(float(value) > 0 for row in curve(out, "tokens_per_second", "memory_gb") for value in row)


def test_another_run_in_the_folder_is_refused_unless_fresh(small: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(small("schedule.steps=1"), out)
    with pytest.raises(TrainingError, match="holds another run"):
        go(small("schedule.steps=2"), out)
    go(small("schedule.steps=2"), out, fresh=True)
    assert [step for (step,) in curve(out, "step")] == ["1", "2"]
    (out / "training.json").unlink()
    (out / "checkpoint-2").mkdir()
    with pytest.raises(TrainingError, match="checkpoints but no record"):
        go(small("schedule.steps=2"), out)


@pytest.mark.parametrize("loss", [("supervised", "gmr"), ("contrastive", "gmr-cl")])
def test_parts_of_a_step_give_the_curve_of_the_big_batch(small: Any, tmp_path: Path, loss: tuple[str, str]) -> None:
    changes = (f"loss.name={loss[0]}", f"model.layout={loss[1]}", "schedule.steps=4")
    for queries in (4, 1):
        go(small(*changes, f"memory.queries={queries}"), tmp_path / str(queries))
    big, parts = ([list(map(float, row)) for row in curve(tmp_path / name)] for name in ("4", "1"))
    for one, other in zip(big, parts, strict=True):
        assert other == pytest.approx(one, rel=2e-4)
    assert big[0][1] != big[-1][1]


def test_two_processes_give_the_curve_of_one(small: Any, tmp_path: Path) -> None:
    # A trained tower and groups without any image: the process that sees none must still meet the other.
    changes = ["tuning.vision=trained", "schedule.steps=3", "memory.queries=1", "memory.chunk_tokens=900"]
    changes += ["loss.name=contrastive", "model.layout=gmr-cl", f"evaluation.tasks=['{DEV}']", "evaluation.limit=3"]
    go(small(*changes), tmp_path / "one")
    more = [word for change in changes for word in ("--set", change)]
    done = launched(["-m", "mrb", "train", str(tmp_path / "small.toml"), *more, "--out", "two"], 2, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = ([list(map(float, row)) for row in curve(tmp_path / name)] for name in ("one", "two"))
    assert len(two) == 3
    for own, other in zip(one, two, strict=True):
        assert other == pytest.approx(own, rel=2e-4)
    assert (done.stdout + done.stderr).count("\nmodel: ") == 1
    assert json.loads((tmp_path / "two" / "training.json").read_text())["finished"]
    assert (tmp_path / "two" / "dev.csv").read_text() == (tmp_path / "one" / "dev.csv").read_text()


def test_batches_of_other_processes_give_the_same_curve(small: Any, tmp_path: Path) -> None:
    go(small("schedule.steps=3", "memory.workers=0"), tmp_path / "none")
    go(small("schedule.steps=3", "memory.workers=2"), tmp_path / "two")
    assert len(curve(tmp_path / "none")) == 3
    assert curve(tmp_path / "two") == curve(tmp_path / "none")
    none, two = (read_training_record(tmp_path / name) for name in ("none", "two"))
    assert none is not None and two is not None
    assert none.identity() == two.identity(), "a run may go on with another number"


def test_half_precision_trains_close_to_full(small: Any, tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        go(small("schedule.steps=2", "schedule.queries=2", f"memory.precision={precision}"), tmp_path / precision)
    full, half = ([float(loss) for (loss,) in curve(tmp_path / name, "loss")] for name in ("fp32", "bf16"))
    assert half == pytest.approx(full, rel=0.05)
    assert half != full
    from safetensors.torch import load_file

    weights = load_file(tmp_path / "bf16" / "model" / "adapter_model.safetensors")
    assert {values.dtype for values in weights.values()} == {torch.float32}  # what learns is never rounded


def test_test_data_in_the_groups_is_dropped_and_recorded(small: Any, tmp_path: Path, groups: Path) -> None:
    from mrb.data.load import load_task_data
    from mrb.data.task import load_task

    data = load_task_data(load_task("mini-faq-t2t"))
    query_id = next(iter(data.queries))
    relevant = {doc_id for grades in data.qrels.values() for doc_id, grade in grades.items() if grade > 0}
    unjudged = next(doc_id for doc_id in data.corpus if doc_id not in relevant)
    rows = [json.loads(line) for line in groups.read_text().splitlines()]
    rows[0]["query"] = {"text": data.queries.item(query_id).text}
    rows[1]["negatives"][0] = {"text": data.corpus.item(next(iter(data.qrels[query_id]))).text}
    rows[2]["negatives"][0] = {"text": data.corpus.item(unjudged).text}
    own = groups.with_name("mixed.jsonl")
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = go(small(f"data.groups=['{own}']", "schedule.steps=1"), tmp_path / "out")
    assert any("mixed.jsonl: checking its groups, once" in line for line in said)
    record = read_training_record(tmp_path / "out")
    assert record is not None
    assert record.groups == 7
    dropped = record.contamination.dropped
    assert (dropped.groups, dropped.negatives, dropped.unjudged) == (1, 1, 1)
    assert dropped.hits["mini-faq-t2t"] >= 2 and dropped.unjudged_hits["mini-faq-t2t"] == 1
    assert "| mini-faq-t2t | checked | 2 | 1 |" in (tmp_path / "out" / "model" / "README.md").read_text()


def test_what_cannot_be_run_is_refused_before_training(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MRB_OFFLINE", "1")  # the Hub's client would try five times
    for changes, words in {
        ("evaluation.tasks=['no-such']",): "unknown task",
        ("evaluation.depth=5000", f"evaluation.tasks=['{DEV}']"): "deep, depth 5000",
        ("output.report_to=['wandb']",): "wandb, which is not installed",
        ("model.path=no/such", "model.revision=" + "0" * 40): "cannot be fetched",
        ("model.path=./nothing",): "no such folder",
        ("data.groups=['nothing.jsonl']",): "no such file of groups",
        ("rows.yes=['certainly so']", "rows.no=['no']"): "wanted one",
    }.items():
        with pytest.raises(MRBError, match=words):
            go(small(*changes), tmp_path / "out")
    with pytest.raises(MRBError, match="documents are image"):
        go(small(f"evaluation.tasks=['{DEV}']", architecture="qwen2"), tmp_path / "out")


def test_a_group_that_the_model_cannot_take_is_named_by_file_and_row(small: Any, tmp_path: Path, groups: Path) -> None:
    from mrb.training.dry_run import report_dry_run

    recipe = small("model.max_length=30")
    for act in (lambda: go(recipe, tmp_path / "out"), lambda: list(report_dry_run(recipe))):
        with pytest.raises(MRBError, match=rf"^{groups}, row \d: a prompt of .* cannot be cut to max_length=30"):
            act()
    with pytest.raises(MRBError, match=rf"^{groups}, row \d: this model takes no images"):
        go(small(architecture="qwen2"), tmp_path / "text")


def test_what_is_wrong_with_a_group_reaches_the_trainer_whole_from_a_data_loaders_process() -> None:
    from torch.utils.data import DataLoader, Dataset

    from mrb.errors import DataError
    from mrb.training.dataset import Batch, collate

    class Bad(Dataset[Any]):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, place: int) -> Any:
            empty = Batch([], torch.zeros(0, dtype=torch.bool), [])
            return DataError("groups.jsonl, row 2: too thin") if place else empty

    (part,) = DataLoader(Bad(), batch_size=2, num_workers=1, collate_fn=collate)
    assert isinstance(part["batch"], DataError)
    assert str(part["batch"]) == "groups.jsonl, row 2: too thin"


def test_a_run_without_gain_stops_early_and_again_when_resumed(small: Any, tmp_path: Path) -> None:
    changes = ("schedule.steps=6", "schedule.learning_rate=1e-12", "output.save_every=1", "evaluation.patience=2")
    changes += (f"evaluation.tasks=['{DEV}']", "evaluation.limit=1", "evaluation.depth=2", "evaluation.every=1")
    out = tmp_path / "out"
    said = go(small(*changes), out)
    assert sum("no gain in 2 evaluations: training stops" in line for line in said) == 1
    record = read_training_record(out)
    assert record is not None and record.stopped_step == 3 and record.steps == 6
    assert "for 3 steps of 4 queries" in (out / "model" / "README.md").read_text()
    assert "It stopped there, 3 steps early" in (out / "model" / "README.md").read_text()
    kept = {name: (out / name).read_text().splitlines()[-1].split(",")[:2] for name in ("log.csv", "dev.csv")}
    weights = (out / "model" / "adapter_model.safetensors").read_bytes()
    for removed in ((), ("checkpoint-3",)):  # killed after the last step's checkpoint, and before it
        for name in ("model", *removed):
            shutil.rmtree(out / name)
        write_training_record(out, record.model_copy(update={"finished": False, "stopped_step": None}))
        go(small(*changes), out)
        assert read_training_record(out) == record
        assert (out / "model" / "adapter_model.safetensors").read_bytes() == weights
        for name, line in kept.items():
            assert (out / name).read_text().splitlines()[-1].split(",")[:2] == line
