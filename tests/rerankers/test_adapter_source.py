"""What counts as the source of an adapter, whose hash a run records."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.rerankers.plugins import load_adapter
from tests.builders.adapters import SCORER, Write

pytestmark = pytest.mark.usefixtures("folder")


def sources(spec: str) -> str | None:
    for name in ("my_adapter", "toy_helper", "toy_models", "toy_models.small", "toy_models.deep", "toy_models.base"):
        sys.modules.pop(name, None)
    return load_adapter(spec, {}).source_sha256


@pytest.mark.parametrize(
    "line",
    [
        "import toy_helper",
        "import toy_helper as other",
        "from toy_helper import VALUE",
        "from toy_helper import *",
        "import toy_lib.inner.deep",
        "from toy_lib.inner import deep",
        "import toy_middle",
        "def late():\n    import toy_helper",
    ],
)
def test_helpers_in_the_working_folder_are_part_of_the_source(write: Write, line: str) -> None:
    write("toy_helper.py", "VALUE = 4.0\n")
    write("toy_lib/inner/deep.py", "VALUE = 4.0\n")  # without __init__.py
    write("toy_middle.py", "import toy_helper\n")
    write("my_adapter.py", f"{line}\n{SCORER}")
    write("unused.py", "")
    before = sources("my_adapter")
    assert sources("my_adapter") == before
    write("unused.py", "VALUE = 1\n")
    assert sources("my_adapter") == before
    helper = "toy_lib/inner/deep.py" if "toy_lib" in line else "toy_helper.py"
    write(helper, "VALUE = 4.5\n")
    assert sources("my_adapter") != before


@pytest.mark.parametrize("spec", ["toy_models.small", "toy_models.small:Scorer", "toy_models"])
def test_relative_imports_are_part_of_the_source(write: Write, spec: str) -> None:
    write("toy_models/__init__.py", "from .small import Scorer\n" if spec == "toy_models" else "")
    write("toy_models/base.py", "VALUE = 1.0\n")
    write("toy_models/deep/rest.py", "from ..base import VALUE\n")
    write("toy_models/small.py", f"from . import base\nfrom .deep.rest import VALUE\n{SCORER}")
    spec = "toy_models:Scorer" if spec == "toy_models" else spec
    before = sources(spec)
    write("toy_models/deep/rest.py", "from ..base import VALUE  # changed\n")
    changed = sources(spec)
    write("toy_models/base.py", "VALUE = 2.0\n")
    assert len({before, changed, sources(spec)}) == 3


def test_of_an_installed_adapter_its_own_package_is_the_source(
    write: Write, site: Callable[..., None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder / "lib/site-packages"))
    write("lib/site-packages/toy_models/__init__.py", "")
    write("lib/site-packages/toy_models/base.py", "VALUE = 1.0\n")
    write("lib/site-packages/toy_models/small.py", f"import toy_other\nfrom .base import VALUE\n{SCORER}")
    write("lib/site-packages/toy_other.py", "")
    site("toy_small = toy_models.small:Scorer")
    before = sources("toy_small")
    write("lib/site-packages/toy_other.py", "# another package, which has a version of its own\n")
    write("toy_other.py", "# of the working folder, which an installed adapter does not import\n")
    assert sources("toy_small") == before
    write("lib/site-packages/toy_models/base.py", "VALUE = 2.0\n")
    assert sources("toy_small") != before
