"""Tasks of the user's own: where they are found, and what a definition from elsewhere may not do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mrb.data.own_tasks import (
    check_definitions,
    find_own_task,
    list_own_tasks,
    load_folder_task,
    open_data,
    read_task_file,
    register_task,
    require_task_folder,
    resolve_task,
)
from mrb.data.task import Task, list_tasks, load_task
from mrb.errors import DataError, MRBError, TaskError
from mrb.evaluation.spec import TaskSpec
from tests.builders.data_folders import write_beir

HUB = """
type = "t2t"
instruction = "Find the answer."
[source]
kind = "hub"
schema_family = "beir"
format = "parquet"
[[source.parts]]
repository = "someone/answers"
revision = "{commit}"
corpus = {{config = "corpus", split = "corpus"}}
queries = {{config = "queries", split = "queries"}}
qrels = {{config = "default", split = "test"}}
""".format(commit="a" * 40)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in MRB_TASKS with a data folder and the file of a task on the Hub."""
    (folder := tmp_path / "tasks" / "own-beers").mkdir(parents=True)
    write_beir(folder)
    (tmp_path / "tasks" / "own-answers.toml").write_text(HUB)
    monkeypatch.setenv("MRB_TASKS", str(tmp_path / "tasks"))
    return tmp_path / "tasks"


def test_mrb_tasks_gives_data_folders_and_task_files(places: Path) -> None:
    beers, answers = load_task("own-beers"), load_task("own-answers")
    assert require_task_folder(beers) == places / "own-beers"
    assert answers.source.parts[0].repository == "someone/answers" and answers.title == "own-answers"
    assert {"own-beers", "own-answers"} <= {task.id for task in list_own_tasks()}
    assert resolve_task(str(places / "own-beers" / "task.toml").replace("task.toml", "")) == beers
    assert resolve_task(str(places / "own-answers.toml")) == answers


def test_a_data_folder_may_stand_in_mrb_tasks_itself(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRB_TASKS", os.pathsep.join([str(places / "own-beers"), str(places / "none")]))
    with pytest.raises(TaskError, match=r"MRB_TASKS: .*none is no folder"):
        list_own_tasks()


def test_a_package_gives_tasks_by_an_entry_point(tmp_path: Path) -> None:
    (package := tmp_path / "their_tasks").mkdir()
    (package / "__init__.py").write_text("")
    (package / "packaged-answers.toml").write_text(HUB)
    (info := tmp_path / "their_tasks-1.0.dist-info").mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-tasks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mrb.tasks]\ntheirs = their_tasks\n")
    program = "from mrb.data.task import load_task; print(load_task('packaged-answers').instruction)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "Find the answer.\n"


def test_an_unknown_task_is_told_how_own_ones_are_found() -> None:
    with pytest.raises(TaskError, match="--data FOLDER, --task FILE"):
        load_task("nobodys-task")
    assert find_own_task("nobodys-task") is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kind = "hub"', 'kind = "embedded"', "needs a content hash"),
        ('kind = "hub"', 'kind = "folder"', "needs a content hash"),
        ('revision = "' + "a" * 40 + '"', 'revision = "main"', "should match pattern"),
        ('instruction = "Find the answer."', "", "instruction: Field required"),
        ('type = "t2t"', 'id = "nfcorpus"\ntype = "t2t"', "is one of the registry's"),
        ('type = "t2t"', 'title = "a\\u001bb"\ntype = "t2t"', "control characters"),
        ("Find the answer.", "Find what lies in /home/ada/notes", "looks like a path or a secret"),
        ("[source]", "[source", "not valid TOML"),
        (HUB, "type = 't2t'", "has no \\[source\\]"),
    ],
)
def test_a_task_file_that_is_wrong_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in HUB
    (tmp_path / "answers.toml").write_text(HUB.replace(old, new))
    with pytest.raises(TaskError, match=words) as caught:
        read_task_file(tmp_path / "answers.toml")
    assert "\n" not in str(caught.value)


def test_the_registrys_tasks_state_what_own_ones_may_leave_out() -> None:
    for task in list_tasks():
        assert task.status is not None and len(task.status_reason) >= 10, task.id
        assert task.description and task.languages and task.licence and task.citation, task.id
        assert task.size.queries and task.size.documents, task.id


def changed(task: Task, **fields: Any) -> Task:
    return Task.model_validate({**task.model_dump(), **fields})


def test_a_definition_from_elsewhere_is_never_a_path_nor_the_packages(tmp_path: Path) -> None:
    (folder := tmp_path / "own-beers").mkdir()
    task = load_folder_task(write_beir(folder))
    assert check_definitions({task.id: task})
    embedded = load_task("mini-faq-t2t").source.model_dump()
    frozen = {"file": "../../x", "sha256": "0" * 64, "first_stage": "x", "track": "x", "depth": 1}
    for wrong in (
        {"source": embedded},
        {"candidates": frozen},
        {"id": "nfcorpus"},
        {"title": "a\u202eb"},
        {"rules": {"raw_qrels": True}},
    ):
        broken = changed(task, **wrong)
        with pytest.raises(ValueError, match=r".+"):
            check_definitions({broken.id: broken})
    with pytest.raises(ValueError, match="the definition named other defines own-beers"):
        check_definitions({"other": task})


def test_the_data_of_an_unknown_folder_is_asked_for(tmp_path: Path) -> None:
    (folder := tmp_path / "own-lager").mkdir()
    task = load_folder_task(write_beir(folder))
    moved = changed(task, id="own-moved")
    register_task(moved)
    with pytest.raises(DataError, match="own-moved: its data was not given: give --data"):
        require_task_folder(moved)
    other = changed(task, source={**task.source.model_dump(), "parts": [other_part(task)]})
    with pytest.raises(DataError, match=r"own-lager: .* holds other data"):
        require_task_folder(other)


def other_part(task: Task) -> dict[str, Any]:
    return {**task.source.parts[0].model_dump(), "content": "1" * 64}


def test_an_own_task_takes_the_place_of_an_earlier_one_of_its_id(tmp_path: Path) -> None:
    tasks = []
    for number in range(2):
        (folder := tmp_path / str(number) / "own-ale").mkdir(parents=True)
        write_beir(folder, queries={"q1": f"number {number}", "q2": "x"})
        tasks.append(load_folder_task(folder))
    assert load_task("own-ale") is tasks[1]
    assert [require_task_folder(task).parent.name for task in tasks] == ["0", "1"]


def test_a_name_without_letters_gives_no_id(tmp_path: Path) -> None:
    (folder := tmp_path / "データ").mkdir()
    with pytest.raises(MRBError, match="its name has no letter that an id can have"):
        load_folder_task(write_beir(folder))


def two_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> list[Path]:
    """Two folders in MRB_TASKS, each with a data folder of this name; the queries differ."""
    folders = [tmp_path / place / name for place in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
        write_beir(folder, queries={"q1": f"number {folder.parent.name}", "q2": "x"})
    monkeypatch.setenv("MRB_TASKS", os.pathsep.join(str(folder.parent) for folder in folders))
    return folders


def test_two_places_do_not_share_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = two_places(tmp_path, monkeypatch, "own-twin")
    for call in (lambda: load_task("own-twin"), list_own_tasks):
        with pytest.raises(
            TaskError, match=r"MRB_TASKS: two tasks are named 'own-twin': .*a/own-twin and .*b/own-twin"
        ):
            call()
    task = load_folder_task(folders[1])
    assert load_task("own-twin") is task, "the one that is named counts"
    write_beir(folders[0], queries={"q1": "number b", "q2": "x"})
    assert {"own-twin": task}.items() <= {one.id: one for one in list_own_tasks()}.items()


def test_a_named_task_counts_before_one_of_a_place(places: Path, tmp_path: Path) -> None:
    (folder := tmp_path / "b" / "own-beers").mkdir(parents=True)
    task = load_folder_task(write_beir(folder, queries={"q1": "y", "q2": "x"}))
    assert task in list_own_tasks() and load_task("own-beers") is task


def test_a_broken_place_hides_no_other_and_is_named(places: Path) -> None:
    (places / "own-beers" / "corpus.jsonl").write_text("{")
    assert load_task("own-answers").title == "own-answers"
    with pytest.raises(TaskError, match="unknown task 'nobodys-task'; "):
        load_task("nobodys-task")
    with pytest.raises(DataError, match=r"MRB_TASKS: .*corpus\.jsonl, line 1"):
        list_own_tasks()
    (places / "own-beers" / "task.toml").write_text("id = ")
    with pytest.raises(TaskError, match=r"unknown task 'nobodys-task', but MRB_TASKS: .*task\.toml: not valid TOML"):
        load_task("nobodys-task")


def test_a_run_that_is_read_does_not_replace_the_users_definition(tmp_path: Path) -> None:
    (folder := tmp_path / "own-stout").mkdir()
    task = load_folder_task(write_beir(folder))
    foreign = changed(task, instruction="Another one.")
    TaskSpec(foreign, 1, folder=folder).make_known()
    assert load_task("own-stout") is task and require_task_folder(foreign) == folder.resolve()


def test_a_definition_is_valid_on_every_machine_or_on_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder := tmp_path / "own-arctic").mkdir()
    (write_beir(folder) / "task.toml").write_text('description = "Pages of arctic reports."')
    task = load_folder_task(folder)
    monkeypatch.setattr("socket.gethostname", lambda: "arctic")
    assert check_definitions({task.id: task})
    with pytest.raises(TaskError, match="looks like a path or a secret"):
        register_task(task)
    with pytest.raises(ValueError, match="average_over_parts needs parts with names"):
        check_definitions({task.id: changed(task, rules={"average_over_parts": True})})


@pytest.mark.parametrize("name", ["/" + "a" * 300, "/" + "a" * 300 + ".toml"])
def test_a_path_that_is_too_long_is_named(name: str) -> None:
    for call in (resolve_task, open_data):
        with pytest.raises(MRBError, match="File name too long"):
            call(name)


def test_a_data_folder_without_its_slash_is_answered_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own-shop").mkdir()
    write_beir(tmp_path / "own-shop")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TaskError, match="unknown task 'own-shop'; a data folder is named with a slash: own-shop/"):
        resolve_task("own-shop")
