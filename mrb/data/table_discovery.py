"""Find the files of each table of a repository by the `configs:` of its README or, without them, by file paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mrb.data.task import Part, Table
from mrb.errors import DataError

Tables = dict[str, dict[str, list[str]]]
"""{config: {split: the paths of its files, in order}}."""

FORMATS = {".parquet": "parquet", ".jsonl": "json", ".jsonl.gz": "json", ".json": "json", ".tsv": "tsv"}
_SHARD = re.compile(r"-\d{5}-of-\d{5}(-[0-9a-f]+)?$")
_ROOT_TABLES = ("corpus", "queries", "query")
_ALSO = {"default": "qrels", "qrels": "default", "query": "queries", "queries": "query"}
_ROLE_CONFIGS = {"corpus": ("corpus",), "queries": ("queries", "query"), "qrels": ("default", "qrels")}


def detect_format(path: str) -> str | None:
    """Return `parquet`, `json` or `tsv` by the file's name, or None if it is not a table."""
    return next((form for ending, form in FORMATS.items() if path.endswith(ending)), None)


def discover_tables(paths: Sequence[str], metadata: Mapping[str, Any] | None) -> Tables:
    """Return the tables of a repository with these `paths`; `metadata` is the header of its README or None."""
    data = sorted(path for path in paths if detect_format(path) is not None)
    declared = _find_declared(data, (metadata or {}).get("configs"))
    return declared or _find_conventional(data)


def choose_table(tables: Tables, role: str, table: Table, where: str) -> tuple[str, str, list[str]]:
    """Return (config, split, paths) of the table for `role` (`corpus`, `queries` or `qrels`).

    The task's own pair is tried first, then its alternatives, then the usual configs of the role with the wanted split
    or with their only split. Raises DataError, which lists the tables found and wanted, if none matches.
    """
    pairs = [(table.config, table.split), *table.alternatives]
    for config, split in pairs:
        if paths := tables.get(config, {}).get(split):
            return config, split, paths
    for config in dict.fromkeys([*(config for config, _ in pairs), *_ROLE_CONFIGS[role]]):
        splits = tables.get(config, {})
        split = table.split if table.split in splits else next(iter(splits), "")
        if splits.get(split) and (split == table.split or len(splits) == 1):
            return config, split, splits[split]
    found = ", ".join(f"{config}/{split}" for config, splits in tables.items() for split in splits) or "no table"
    wanted = ", ".join(f"{config}/{split}" for config, split in pairs)
    raise DataError(f"{where}: {role}: tables found: {found}; wanted one of: {wanted}")


def get_roles(part: Part) -> dict[str, Table]:
    """Return the three tables that every part has, by role."""
    return {"corpus": part.corpus, "queries": part.queries, "qrels": part.qrels}


def _find_declared(paths: Sequence[str], configs: object) -> Tables:
    """Return the tables by the `configs:` of a README. A pattern that matches no file gives no table."""
    tables: Tables = {}
    for config in configs if isinstance(configs, list) else ():
        if not isinstance(config, dict) or not isinstance(config.get("config_name"), str):
            continue
        for split, pattern in _iterate_patterns(config.get("data_files")):
            matched = [path for path in paths if _compile_glob(pattern).fullmatch(path)]
            if matched:
                tables.setdefault(config["config_name"], {}).setdefault(split, []).extend(matched)
    return tables


def _iterate_patterns(data_files: object) -> Iterable[tuple[str, str]]:
    """Yield (split, pattern). `data_files` is a pattern, a list of them, or a list of {split, path(s)}."""
    for entry in data_files if isinstance(data_files, list) else [data_files]:
        split, paths = (entry.get("split", "train"), entry.get("path")) if isinstance(entry, dict) else ("train", entry)
        for path in paths if isinstance(paths, list) else [paths]:
            if isinstance(path, str) and isinstance(split, str):
                yield split, path.removeprefix("./")


def _compile_glob(glob: str) -> re.Pattern[str]:
    """Compile a glob: `*` and `?` match within a folder, `**` across folders."""
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    return re.compile("".join(signs.get(piece, re.escape(piece)) for piece in pieces))


def _find_conventional(paths: Sequence[str]) -> Tables:
    """Find tables by paths: `config/split-00000-of-00002.parquet`, `config/split/*`, `corpus.jsonl`, `qrels/*`."""
    tables: Tables = {}
    for path in paths:
        ending = next(ending for ending in sorted(FORMATS, key=len, reverse=True) if path.endswith(ending))
        *folders, name = path.removesuffix(ending).split("/")
        name = _SHARD.sub("", name)
        if folders and folders[0] == "data":
            folders = folders[1:]
        if not folders:
            config, split = (name, name) if name in _ROOT_TABLES else ("default", name)
        else:
            config, split = folders[0], folders[1] if len(folders) > 1 else name
        tables.setdefault(config, {}).setdefault(split, []).append(path)
    for config in list(tables):
        if config in _ALSO:
            tables.setdefault(_ALSO[config], tables[config])
    return tables
