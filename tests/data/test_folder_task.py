"""A data folder becomes a task: layouts, type, content hash, and errors that name file, line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrb.data.load import load_task_data
from mrb.data.own_tasks import find_task_folder, load_folder_task
from mrb.data.task import load_task
from mrb.errors import DataError, TaskError
from tests.builders.data_folders import QRELS, write_beir


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "My Beers"
    folder.mkdir()
    return write_beir(folder)


def test_a_beir_folder_is_a_task_that_is_found_by_its_id(beir: Path) -> None:
    task = load_folder_task(beir)
    assert (task.id, task.title, task.type) == ("my-beers", "my-beers", "t2t")
    assert (task.size.queries, task.size.documents, task.size.qrels) == (2, 3, 2)
    assert load_task("my-beers") is task and find_task_folder(task) == beir.resolve()
    data = load_task_data(task)
    assert data.qrels == QRELS
    assert data.corpus.item("doc1").text.startswith("Albert Einstein Albert Einstein was")


def test_no_path_is_in_the_definition(beir: Path) -> None:
    assert str(beir.parent) not in load_folder_task(beir).model_dump_json()


def test_an_id_of_the_registry_is_refused(tmp_path: Path) -> None:
    (folder := tmp_path / "nfcorpus").mkdir()
    with pytest.raises(TaskError, match="'nfcorpus' is one of the registry's"):
        load_folder_task(write_beir(folder))


def test_a_changed_folder_is_not_the_task_that_was_made_of_it(beir: Path) -> None:
    task = load_folder_task(beir)
    text = (beir / "corpus.jsonl").read_text()
    (beir / "corpus.jsonl").write_text(text.replace("German-born", "German"))
    with pytest.raises(DataError, match="holds other data than the task was made of"):
        load_task_data(task)
    assert load_folder_task(beir).revision != task.revision
