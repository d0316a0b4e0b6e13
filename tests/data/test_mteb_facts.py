"""The table of mteb's names: complete for the registry's sets on the Hub, in the order of their parts."""

from __future__ import annotations

import pytest

from mrb.data.mteb_facts import find_mteb_tasks, load_mteb_names, load_mteb_training
from mrb.data.task import list_tasks


def test_every_set_of_the_hub_has_a_name_for_each_part() -> None:
    tasks = {task.id: len(task.source.parts) for task in list_tasks() if task.source.kind == "hub"}
    assert tasks.pop("mrmr-knowledge") == 1, "mteb has no MRMR"
    same, related = load_mteb_names()
    assert {task_id: len(names) for task_id, names in same.items()} == tasks
    assert set(related) <= set(tasks)
    for side in (same, related):
        names = [name for found in side.values() for name in found]
        assert len(set(names)) == len(names)


def test_a_name_is_of_the_set_or_of_related_data() -> None:
    assert find_mteb_tasks(["CQADupstackGisRetrieval", "CQADupstackRetrieval"]) == ({"cqadupstack"}, set())
    assert find_mteb_tasks(["NQ-PL", "MSMARCO"]) == ({"msmarco"}, {"nq"})
    assert find_mteb_tasks(["unheard of"]) == (set(), set())


def test_training_data_of_mtebs_models_is_named_as_the_sets_are() -> None:
    known = {name for side in load_mteb_names() for names in side.values() for name in names}
    for model, names in load_mteb_training().items():
        assert set(names) <= known, model
    assert load_mteb_training()["google/flan-t5-base"] == ()


def test_the_table_of_models_is_what_mteb_states() -> None:
    mteb = pytest.importorskip("mteb")
    for model, names in load_mteb_training().items():
        (meta,) = [one for one in mteb.get_model_metas() if (one.name or "").lower() == model]
        assert set(names) <= meta.training_datasets and bool(names) == bool(meta.training_datasets), model
