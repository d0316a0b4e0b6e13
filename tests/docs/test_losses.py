"""The page on losses: its Python runs and prints what it says, its arms can be made, its names are all there are."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import mrb.training.losses as losses
from mrb.training.losses.unified import Direction, Weight

pytestmark = pytest.mark.torch

PAGE = (Path(__file__).parents[2] / "docs" / "losses.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ARMS = re.findall(r"`((?:Contrastive|Supervised|Unified|LabelRows)\b[^`]*\))`", PAGE.split("## The arms")[1])


def test_the_example_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(EXAMPLE, names)
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", EXAMPLE, re.MULTILINE)
    assert names["one_graph"].abs().max() > 0.01  # there was a gradient to repeat


@pytest.mark.parametrize(
    "name", ["Contrastive", "Group", "LabelRows", "Listwise", "OnePass", "Supervised", "TwoPass", "Unified"]
)
def test_the_example_of_every_class_prints_what_it_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", inspect.getdoc(getattr(losses, name)) or "", re.M | re.S)
    exec(example, {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", example, re.MULTILINE)


@pytest.mark.parametrize("arm", sorted(set(ARMS)))
def test_every_arm_of_the_page_can_be_made_and_used(arm: str) -> None:
    names = {"head": torch.randn(9, 4), "width": 4, "yes": 0, "no": 1, "true": 2, "false": 3}
    made = eval(arm, {**vars(losses), **names})
    rows = made if isinstance(made, losses.LabelRows) else losses.LabelRows.random(4, seed=1)
    loss = losses.Contrastive() if isinstance(made, losses.LabelRows) else made
    labels = torch.tensor([True, False, False])
    assert loss([losses.Group(*rows(torch.randn(3, 4)), labels)]).isfinite()


def test_the_page_names_every_weight_and_direction() -> None:
    assert len(set(ARMS)) >= 10
    for column, known in (("weight", get_args(Weight)), ("direction", get_args(Direction))):
        table = PAGE.split(f"| `{column}` |")[1].split("\n\n")[0]
        assert tuple(re.findall(r"^\| `([\w-]+)`", table, re.MULTILINE)) == known
