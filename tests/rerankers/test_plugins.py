"""From the word after `--model` to a built adapter: where it is looked for, how options are typed, what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb._util.hashing import hash_file
from mrb.errors import AdapterError
from mrb.rerankers.plugins import RERANKERS, RETRIEVERS, list_installed, load_adapter
from tests.builders.adapters import SCORER, Write, refused

pytestmark = pytest.mark.usefixtures("folder")


# Where it is looked for


def test_a_file_of_the_working_folder(write: Write) -> None:
    path = write("my_adapter.py", SCORER)
    for spec in ("my_adapter", "my_adapter.py"):
        adapter = load_adapter(spec, {})
        assert adapter.name == "my_adapter"
        assert adapter.target.score([1, 2]) == [1.0, 1.0]
        assert adapter.source == "my_adapter.py"
        assert adapter.source_sha256 == hash_file(path)
    assert load_adapter("my_adapter:Scorer", {}).name == "my_adapter:Scorer"


def test_a_name_of_both_an_installed_adapter_and_a_file_is_refused(
    write: Write, site: Callable[..., None], folder: Path
) -> None:
    write("site/toy_package.py", SCORER.replace("1.0", "3.0"))
    write("site/toy_name.py", SCORER.replace("1.0", "2.0"))
    write("toy_name.py", SCORER)
    site("toy_name = toy_package:Scorer")
    message = refused("toy_name")
    assert "both toy_name.py here and the installed reranker toy_name (toys 1.2)" in message
    # Each of the two spellings that the message gives picks what it says.
    assert "give ./toy_name.py for the file, toy_package:Scorer for the other" in message
    assert load_adapter("./toy_name.py", {}).target.score([0]) == [1.0]
    assert load_adapter("toy_name.py", {}).target.score([0]) == [1.0]
    assert load_adapter("toy_package:Scorer", {}).target.score([0]) == [3.0]
    # With `:Name` a module is meant, never an entry point.
    assert load_adapter("toy_name:Scorer", {}).target.score([0]) == [1.0]
    (folder / "toy_name.py").unlink()
    adapter = load_adapter("toy_name", {})
    assert (adapter.target.score([0]), adapter.source) == ([3.0], "toys 1.2")
    assert adapter.source_sha256 == hash_file(folder / "site/toy_package.py")
    assert "toy_name" in list_installed()
    del sys.modules["toy_name"]
    assert load_adapter("toy_name:Scorer", {}).target.score([0]) == [2.0]


def test_a_package_that_has_the_name_of_a_shipped_adapter(write: Write, folder: Path) -> None:
    (folder / "bm25").mkdir()
    assert load_adapter("bm25", {}).source.startswith("mrb ")  # a folder that is no package
    write("bm25/__init__.py", SCORER)
    with pytest.raises(
        AdapterError, match=r"'bm25' is both bm25.__init__\.py here and .*: give bm25:NAME for the file"
    ):
        load_adapter("bm25", {})
    assert load_adapter("bm25:Scorer", {}).target.score([0]) == [1.0]
    assert load_adapter("mrb.baselines.rerankers.bm25:BM25Reranker", {}).source == "mrb.baselines.rerankers.bm25"


@pytest.mark.parametrize("group", [RERANKERS, RETRIEVERS])
def test_a_file_that_has_the_name_of_a_shipped_adapter(write: Write, group: str) -> None:
    body = SCORER if group == RERANKERS else "class Mine:\n    def search(self, data, depth):\n        yield from ()\n"
    write("bm25.py", body)
    with pytest.raises(AdapterError, match=r"'bm25' is both bm25\.py here and the installed"):
        load_adapter("bm25", {}, group)
    for spec in ("bm25.py", "./bm25.py"):
        assert load_adapter(spec, {}, group).source == "bm25.py"


def test_a_word_that_ends_in_py_is_the_path_of_a_file(write: Write, folder: Path) -> None:
    write("dir/beside.py", "VALUE = 5.0\n")
    path = write("dir/mine.py", SCORER.replace("class", "from beside import VALUE\nclass").replace("1.0", "VALUE"))
    write("mine.py", SCORER)
    for spec in ("./dir/mine.py", "dir/mine.py", str(path), "dir/../dir/mine.py"):
        adapter = load_adapter(spec, {})
        assert (adapter.name, adapter.source, adapter.target.score([0])) == ("mine", "mine.py", [5.0])
    assert load_adapter("dir/mine.py:Scorer", {}).name == "mine:Scorer"
    assert load_adapter("mine.py", {}).target.score([0]) == [1.0]
    assert "there is no " in refused("./dir/other.py") and "names a file" in refused("bm25.py")
    assert "it has no 'Other'" in refused("dir/mine.py:Other")


def test_a_dotted_module_and_a_package_of_the_working_folder(write: Write) -> None:
    write("toy_models/__init__.py", "")
    write("toy_models/small.py", SCORER)
    adapter = load_adapter("toy_models.small", {})
    assert (adapter.source, adapter.target.score([0])) == ("toy_models.small", [1.0])


def test_a_file_may_import_what_lies_beside_it(write: Write) -> None:
    write("toy_helper.py", "VALUE = 4.0\n")
    write("my_adapter.py", "import toy_helper\ndef score(request):\n    return [toy_helper.VALUE]\n")
    assert load_adapter("my_adapter", {}).target(None) == [4.0]


def test_a_second_folder_gives_its_own_file(write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("one/my_adapter.py", SCORER)
    write("two/my_adapter.py", SCORER.replace("1.0", "2.0"))
    for place, score in (("one", 1.0), ("two", 2.0)):
        monkeypatch.chdir(folder / place)
        assert load_adapter("my_adapter", {}).target.score([0]) == [score]


def test_nothing_of_that_name(site: Callable[..., None]) -> None:
    site("toy_known = toy_package:Scorer")
    message = refused("toy_unknown")
    assert message.startswith(
        "unknown reranker 'toy_unknown' (did you mean toy_known?): none of this name is installed "
    )
    assert "no toy_unknown.py in" in message
    assert refused("toy_unknown.part").startswith("unknown reranker 'toy_unknown.part'")


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "../adapter",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "my adapter",
        "x;y",
        "x\n",
        "x:y\n",
        "x:y:z",
        ":Name",
        "x:",
        "_x",
        ".x",
        "-x",
        "x\x00",
        "ｘ",
        "x:Name.attr",
        "$(x)",
    ],
)
def test_hostile_names_are_refused_before_anything_is_opened(spec: str) -> None:
    assert "is not a reranker name: give NAME, MODULE:NAME or FILE.py" in refused(spec)


@pytest.mark.parametrize("spec", ["a..b", "a.", "mrb..adapters", "9"])
def test_names_that_no_module_can_have_are_unknown(spec: str) -> None:
    assert "unknown reranker" in refused(spec)


# What a module may hold


def test_several_classes_are_listed(write: Write) -> None:
    write("my_adapter.py", SCORER + SCORER.replace("Scorer", "Other") + "class Helper:\n    pass\n")
    message = refused("my_adapter")
    assert message == "my_adapter: holds several that fit: Scorer, Other; pick one: my_adapter:Scorer"
    assert load_adapter("my_adapter:Other", {}).target.score([0]) == [1.0]


def test_imported_and_private_classes_do_not_count(write: Write) -> None:
    write("toy_base.py", SCORER)
    write(
        "my_adapter.py",
        "from toy_base import Scorer\nclass _Base(Scorer):\n    pass\nclass Mine(_Base):\n    pass\n",
    )
    assert type(load_adapter("my_adapter", {}).target).__name__ == "Mine"


def test_a_function_serves_where_there_is_no_class(write: Write) -> None:
    write("my_adapter.py", "def score(request):\n    return [2.0]\ndef _helper(x):\n    return x\n")
    assert load_adapter("my_adapter", {}).target(None) == [2.0]
    write("two_functions.py", "def score(request):\n    return [2.0]\ndef helper(x):\n    return x\n")
    assert refused("two_functions").startswith("two_functions: holds several that fit: score, helper")


def test_nothing_that_fits(write: Write) -> None:
    write("my_adapter.py", "class Thing:\n    pass\ndef two(a, b):\n    return a\nX = 1\n")
    assert "holds no class with a method score or score_stream or rank, and no function" in refused("my_adapter")
    assert refused("my_adapter:Nothing") == ("my_adapter.py: it has no 'Nothing'; it holds: nothing that fits")
    assert refused("my_adapter:Thing") == "my_adapter:Thing: has no method score or score_stream or rank"
    assert refused("my_adapter:X") == "my_adapter:X: has no method score or score_stream or rank"


def test_an_object_that_is_built_already(write: Write) -> None:
    path = write("my_adapter.py", SCORER + "ready = Scorer()\n")
    adapter = load_adapter("my_adapter:ready", {})
    assert adapter.target.score([0]) == [1.0]
    assert adapter.source_sha256 == hash_file(path)
    assert refused("my_adapter:ready", {"k": "1"}) == "my_adapter:ready has no option 'k'; it has: none"


def test_first_stages_are_found_by_their_own_method(write: Write) -> None:
    write("my_stage.py", "class Stage:\n    def search(self, queries, corpus):\n        return []\n")
    assert load_adapter("my_stage", {}, RETRIEVERS).target.search([], []) == []
    with pytest.raises(AdapterError, match="first stage"):
        load_adapter("toy_unknown", {}, RETRIEVERS)


# Files that do not load


def test_a_syntax_error_has_file_and_line(write: Write) -> None:
    write("my_adapter.py", "x = 1\ndef score(request:\n    return\n")
    assert refused("my_adapter").startswith("my_adapter.py, line 2: syntax error: ")
    write("toy_outer.py", "import toy_inner\n")
    write("toy_inner.py", "x = 1\n\n  y = 2\n")
    assert refused("toy_outer") == "toy_inner.py, line 3: syntax error: unexpected indent"


def test_an_error_at_import_has_its_line(write: Write) -> None:
    write("my_adapter.py", "x = 1\nraise ValueError('no\\nweights')\n")
    assert refused("my_adapter") == (
        "my_adapter: importing it fails: ValueError: no weights (my_adapter.py, line 2); "
        "MRB_TRACEBACK=1 shows all of it"
    )
    assert "my_adapter" not in sys.modules


def test_a_script_that_exits_at_import_does_not_end_mrb(write: Write) -> None:
    write("my_adapter.py", "import sys\nsys.exit(0)\n")
    assert "importing it fails: SystemExit: 0 (my_adapter.py, line 2)" in refused("my_adapter")


@pytest.mark.parametrize("name", ["my_adapter", "toy_missing_reranker", "toy_missing"])
def test_a_missing_dependency_is_named(write: Write, name: str) -> None:
    # Also where the adapter's own name begins with that of the package that it needs.
    write(f"{name}.py", "import toy_missing.part\n" + SCORER)
    assert refused(name).startswith(f"{name}: needs the module 'toy_missing")


def test_a_missing_dependency_of_a_package(write: Write) -> None:
    write("toy_models/__init__.py", "")
    write("toy_models/small.py", "import toy_missing\n")
    write("toy_missing_models/__init__.py", "import toy_missing\n")
    assert refused("toy_missing_models").startswith("toy_missing_models: needs the module 'toy_missing'")
    assert refused("toy_models.small") == ("toy_models.small: needs the module 'toy_missing', which is not installed")


def test_an_import_error_without_a_module_keeps_its_words(write: Write) -> None:
    write("my_adapter.py", "raise ModuleNotFoundError('please install the toy extra')\n")
    assert "please install the toy extra" in refused("my_adapter")
    write("other_adapter.py", "from json import nothing_here\n")
    assert "cannot import name 'nothing_here' from 'json'" in refused("other_adapter")


def test_a_file_may_not_take_the_name_of_a_module_in_use(write: Write) -> None:
    import json

    write("json.py", SCORER)
    assert refused("json") == "json.py: a module 'json' that MRB itself uses has this name; rename the file"
    assert sys.modules["json"] is json


def test_entry_points_that_do_not_load(write: Write, site: Callable[..., None]) -> None:
    write("site/toy_package.py", "raise ValueError('broken')\n")
    site("toy_one = toy_package:Scorer\ntoy_two = toy_gone:Scorer\ntoy_three = mrb.errors:Nothing")
    assert refused("toy_one") == (
        "reranker 'toy_one' (toys 1.2) cannot be imported: ValueError: broken (toy_package.py, line 1); "
        "MRB_TRACEBACK=1 shows all of it"
    )
    assert "cannot be imported: ModuleNotFoundError: No module named 'toy_gone'" in refused("toy_two")
    assert "cannot be imported: AttributeError" in refused("toy_three")


def test_two_distributions_with_one_name(write: Write, site: Callable[..., None]) -> None:
    site("toy_both = toy_a:Scorer", "toys")
    site("toy_both = toy_b:Scorer", "more_toys")
    message = refused("toy_both")
    assert message.startswith("several installed packages offer the reranker 'toy_both': ")
    assert "toy_a:Scorer (toys 1.2)" in message and "toy_b:Scorer (more_toys 1.2)" in message


def test_an_adapter_whose_init_raises(write: Write) -> None:
    write(
        "my_adapter.py",
        """
        class Scorer:
            def __init__(self, model: str = "small"):
                raise OSError(f"no weights\\nfor {model}")
            def score(self, request):
                return []
        """,
    )
    assert refused("my_adapter", {"model": "big"}) == (
        "my_adapter: building it fails: OSError: no weights for big (my_adapter.py, line 4); "
        "MRB_TRACEBACK=1 shows all of it"
    )
