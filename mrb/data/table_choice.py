"""Choose the files of each table of a task among the tables that a repository has."""

from __future__ import annotations

from mrb.data.task_fields import Part, Table
from mrb.errors import DataError
from mrb.hub.table_discovery import Tables

_ROLE_CONFIGS = {"corpus": ("corpus",), "queries": ("queries", "query"), "qrels": ("default", "qrels")}


def choose_table(tables: Tables, role: str, table: Table, where: str) -> tuple[str, str, list[str]]:
    """Return (config, split, paths) of the table for `role` (`corpus`, `queries` or `qrels`).

    A table with further configs is named `config+N`, and has the files of all of them.

    The task's own pair is tried first, then its alternatives, then the usual configs of the role with the wanted split
    or with their only split. Raises DataError, which lists the tables found and wanted, if none matches.
    """
    pairs = [(table.config, table.split), *table.alternatives]
    for config, split in pairs:
        if paths := tables.get(config, {}).get(split):
            return _add_more(tables, role, table, (config, split, paths), where)
    for config in dict.fromkeys([*(config for config, _ in pairs), *_ROLE_CONFIGS[role]]):
        splits = tables.get(config, {})
        split = table.split if table.split in splits else next(iter(splits), "")
        if splits.get(split) and (split == table.split or len(splits) == 1):
            return config, split, splits[split]
    found = ", ".join(f"{config}/{split}" for config, splits in tables.items() for split in splits) or "no table"
    wanted = ", ".join(f"{config}/{split}" for config, split in pairs)
    raise DataError(f"{where}: {role}: tables found: {found}; wanted one of: {wanted}")


def _add_more(
    tables: Tables, role: str, table: Table, found: tuple[str, str, list[str]], where: str
) -> tuple[str, str, list[str]]:
    """Return the chosen table with the files of the further configs that the task's table names."""
    config, split, paths = found
    for other in table.more:
        if not (more := tables.get(other, {}).get(split)):
            there = ", ".join(f"{name}/{one}" for name, splits in tables.items() for one in splits)
            raise DataError(f"{where}: {role}: wanted {other}/{split} beside {config}/{split}; tables found: {there}")
        paths = [*paths, *more]
    return (f"{config}+{len(table.more)}" if table.more else config), split, paths


def get_roles(part: Part) -> dict[str, Table]:
    """Return the three tables that every part has, by role."""
    return {"corpus": part.corpus, "queries": part.queries, "qrels": part.qrels}
