"""Another model in the place of the first, and the same command: its own number, or a refusal that names --fresh."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from mrb.errors import ResultError
from mrb.evaluation.run import run
from mrb.evaluation.spec import select_tasks
from tests.builders.by_hand import LIMITS
from tests.builders.services import xlm_roberta

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
TASK = "mini-faq-t2t-dev"
HELPER = "def scale(value):\n    return 1.0 * value\n"
ADAPTER = """
from toy_retrained import scale

class Mine:
    def score(self, request):
        words = set(request.query.text.lower().split())
        return [scale(len(words & set(d.text.lower().split())) / (1 + len(d.text))) for d in request.candidates]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = list(sys.path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield tmp_path
    sys.path[:] = path


def score(model: str, options: dict[str, str], *, fresh: bool = False, depth: int = 3, limit: int = 4) -> list[float]:
    """The scores that `mrb run` leaves, by its own code, on the first queries of a task."""
    sys.modules.pop("toy_retrained", None)
    selection = select_tasks(None, [TASK], [], depth)
    asked = replace(selection, model=model, options=options, name="run", limit=limit, fresh=fresh)
    table = pq.read_table(run(asked).folder / TASK / "scores.parquet")
    found: list[float] = table.column("score").to_pylist()
    return found


def scaled(path: Path) -> None:
    """Trained on, as far as a file of weights shows it: other numbers under the same names."""
    weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    changed = {name: value + torch.randn_like(value) if value.ndim == 2 else value for name, value in weights.items()}
    if path.suffix == ".safetensors":
        save_file(changed, path, metadata={"format": "pt"})
    else:
        torch.save(changed, path)


def _cross_encoder(tiny: Tiny, folder: Path) -> tuple[str, dict[str, str], Callable[[], None]]:
    checkpoint = xlm_roberta(folder / "checkpoint")
    return "cross-encoder", {"path": str(checkpoint), "device": "cpu"}, lambda: scaled(checkpoint / "model.safetensors")


def _bin(tiny: Tiny, folder: Path) -> tuple[str, dict[str, str], Callable[[], None]]:
    model, options, _ = _cross_encoder(tiny, folder)
    weights = folder / "checkpoint" / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    return model, options, lambda: scaled(weights.with_name("pytorch_model.bin"))


def _engine(tiny: Tiny, folder: Path) -> tuple[str, dict[str, str], Callable[[], None]]:
    checkpoint = Path(shutil.copytree(tiny("qwen2_vl"), folder / "checkpoint"))
    limits = {key: str(value) for key, value in LIMITS.items()}
    options = {"path": str(checkpoint), "layout": "gmr", "device": "cpu", **limits}
    return "yes-no", options, lambda: scaled(max(checkpoint.glob("model*.safetensors")))


def _lora_base(tiny: Tiny, folder: Path) -> tuple[str, dict[str, str], Callable[[], None]]:
    base = Path(shutil.copytree(tiny("qwen2_vl"), folder / "base"))
    tuned = Path(shutil.copytree(tiny("mono_lora"), folder / "lora"))
    config = json.loads((tuned / "adapter_config.json").read_text())
    (tuned / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": str(base)}))
    options = {"path": str(tuned), "device": "cpu", **{key: str(value) for key, value in LIMITS.items()}}
    return "monoqwen2-vl", options, lambda: scaled(max(base.glob("model*.safetensors")))


def _helper(tiny: Tiny, folder: Path) -> tuple[str, dict[str, str], Callable[[], None]]:
    (folder / "mine.py").write_text(ADAPTER)
    (folder / "toy_retrained.py").write_text(HELPER)
    return "mine", {}, lambda: _write(folder / "toy_retrained.py", HELPER.replace("1.0 *", "2.0 + "))


def _file_of_its_own(tiny: Tiny, folder: Path) -> tuple[str, dict[str, str], Callable[[], None]]:
    """What no hash of MRB's sees: a file that the adapter reads."""
    (folder / "mine.py").write_text(
        ADAPTER.replace("scale(", "float(open('weight').read()) * (").replace("from toy_retrained import scale\n", "")
    )
    (folder / "weight").write_text("1.0")
    return "mine", {}, lambda: _write(folder / "weight", "1.01")


def _write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize(
    "kind", [_cross_encoder, _bin, _engine, _lora_base, _helper, _file_of_its_own], ids=lambda kind: kind.__name__[1:]
)
def test_retrained_in_place(
    tiny: Tiny, folder: Path, kind: Callable[..., tuple[str, dict[str, str], Callable[[], None]]]
) -> None:
    torch.manual_seed(1)
    model, options, retrain = kind(tiny, folder)
    first = score(model, options)
    assert score(model, options) == first, "the same model again is the same number"
    files = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file() and path.name != "run.json"}
    retrain()
    for depth, limit in ((3, 4), (6, 4), (3, 8)):  # again, deeper, more queries
        with pytest.raises(ResultError, match="--fresh"):
            score(model, options, depth=depth, limit=limit)
        assert all(path.read_bytes() == held for path, held in files.items())
    new = score(model, options, fresh=True)
    assert not np.allclose(new, first)
    assert new == score(model, options)
