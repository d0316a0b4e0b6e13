"""The table of mteb's names: complete for the registry's sets on the Hub, in the order of their parts."""

from __future__ import annotations

from mrb.data.mteb_names import find_tasks, load_mteb_names
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
    assert find_tasks(["CQADupstackGisRetrieval", "CQADupstackRetrieval"]) == ({"cqadupstack"}, set())
    assert find_tasks(["NQ-PL", "MSMARCO"]) == ({"msmarco"}, {"nq"})
    assert find_tasks(["unheard of"]) == (set(), set())
