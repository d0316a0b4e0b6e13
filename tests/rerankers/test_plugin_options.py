"""Options of an adapter: their types come from its signature, and what does not fit is refused."""

from __future__ import annotations

import asyncio

import pytest

from mrb._util.hashing import hash_file
from mrb.rerankers.plugins import load_adapter
from tests.builders.adapters import SCORER, Write, refused

pytestmark = pytest.mark.usefixtures("folder")


OPTIONS = """
from __future__ import annotations
from typing import Literal, Optional

class Scorer:
    def __init__(self, depth: int = 3, weight: float = 0.5, fast: bool = False, model: str = "small",
                 limit: Optional[int] = None, mode: Literal["yes", "no"] = "yes", layers: list[int] | None = None,
                 plain=None, guessed=7, ratio=0.5, flag=True, *args, **kwargs):
        self.options = {k: v for k, v in locals().items() if k not in ("self", "args", "kwargs")}

    def score(self, request):
        return []
"""


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("depth", "12", 12),
        ("weight", "1e-3", 0.001),
        ("weight", "2", 2.0),
        ("fast", "true", True),
        ("fast", "0", False),
        ("model", "12", "12"),
        ("model", "", ""),
        ("model", "null", "null"),
        ("limit", "4", 4),
        ("limit", "null", None),
        ("mode", "no", "no"),
        ("layers", "[1, 2]", [1, 2]),
        ("plain", "12", "12"),
        ("guessed", "12", 12),
        ("ratio", "3", 3.0),
        ("flag", "no", False),
    ],
)
def test_options_have_the_types_of_the_signature(write: Write, name: str, text: str, value: object) -> None:
    write("my_adapter.py", OPTIONS)
    adapter = load_adapter("my_adapter", {name: text})
    assert adapter.options == {name: value}
    assert type(adapter.options[name]) is type(value)
    assert adapter.target.options[name] == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("depth", "3.5"),
        ("depth", "many"),
        ("weight", "x\ny"),
        ("fast", "perhaps"),
        ("mode", "maybe"),
        ("layers", "1,2"),
        ("layers", '["a"]'),
        ("limit", "none at all"),
        ("guessed", "x"),
    ],
)
def test_an_option_of_the_wrong_type_is_named(write: Write, name: str, text: str) -> None:
    write("my_adapter.py", OPTIONS)
    assert refused("my_adapter", {name: text}).startswith(f"my_adapter: option {name}={text!r}: ")


def test_an_unknown_option_lists_those_there_are(write: Write) -> None:
    write("my_adapter.py", OPTIONS)
    known = "depth, weight, fast, model, limit, mode, layers, plain, guessed, ratio, flag"
    for name, close in (
        ("dpeth", " (did you mean depth?)"),
        ("args", " (did you mean layers?)"),
        ("kwargs", ""),
        ("self", ""),
    ):
        assert refused("my_adapter", {name: "1"}) == f"my_adapter has no option {name!r}{close}; it has: {known}"
    write("no_options.py", SCORER)
    assert refused("no_options", {"k": "1"}) == "no_options has no option 'k'; it has: none"


def test_an_option_that_must_be_given(write: Write) -> None:
    write(
        "my_adapter.py",
        """
        class Scorer:
            def __init__(self, model, depth: int = 3):
                self.model = model
            def score(self, request):
                return []
        """,
    )
    wanted = "my_adapter: the option 'model' must be given (--set model=..., or options= in Python)"
    assert refused("my_adapter") == refused("my_adapter", {"depth": "2"}) == wanted
    assert load_adapter("my_adapter", {"model": "x"}).target.model == "x"


def test_types_that_no_text_can_give(write: Write) -> None:
    write(
        "my_adapter.py",
        """
        from __future__ import annotations
        class Device:
            pass
        class Scorer:
            def __init__(self, device: Device | None = None):
                pass
            def score(self, request):
                return []
        class Unknown:
            def __init__(self, device: Nowhere = None):
                pass
            def score(self, request):
                return []
        """,
    )
    assert "option 'device' has the type" in refused("my_adapter:Scorer", {"device": "cpu"})
    assert "names an unknown type: name 'Nowhere'" in refused("my_adapter:Unknown", {"device": "cpu"})
    assert load_adapter("my_adapter:Unknown", {}).options == {}


def test_options_of_a_dataclass(write: Write) -> None:
    write(
        "my_adapter.py",
        """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class Scorer:
            depth: int = 3
            def score(self, request):
                return [self.depth]
        """,
    )
    assert load_adapter("my_adapter", {"depth": "9"}).target.score(None) == [9]


def test_options_of_functions_keep_what_is_declared_on_them(write: Write) -> None:
    path = write(
        "my_adapter.py",
        """
        def score(request, *, weight: float = 1.0, name="x"):
            return [weight]
        score.kind = "setwise"
        score.version = "2"
        """,
    )
    adapter = load_adapter("my_adapter", {"weight": "2"})
    assert adapter.target("request") == [2.0]
    assert (adapter.target.kind, adapter.target.version) == ("setwise", "2")
    assert adapter.source_sha256 == hash_file(path)
    assert refused("my_adapter", {"request": "1"}) == "my_adapter has no option 'request'; it has: weight, name"
    assert load_adapter("my_adapter", {}).target("request") == [1.0]


def test_async_functions_stay_async_with_options(write: Write) -> None:
    import inspect

    write("my_adapter.py", "async def score(request, weight: float = 1.0):\n    return [weight]\n")
    for options, value in (({}, 1.0), ({"weight": "2"}, 2.0)):
        target = load_adapter("my_adapter", options).target
        assert inspect.iscoroutinefunction(target)
        assert asyncio.run(target("request")) == [value]
