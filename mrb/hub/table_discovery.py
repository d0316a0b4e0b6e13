"""Find the files of each table of a repository by the `configs:` of its README or, without them, by file paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mrb.errors import DataError, to_one_line

Tables = dict[str, dict[str, list[str]]]
"""{config: {split: the paths of its files, in order}}."""

FORMATS = {".parquet": "parquet", ".jsonl": "json", ".jsonl.gz": "json", ".json": "json", ".tsv": "tsv"}
_SHARD = re.compile(r"-\d{5}-of-\d{5}(-[0-9a-f]+)?$")
_MAX_GLOB, _MAX_OPEN_WILDCARDS = 200, 3
_ROOT_TABLES = ("corpus", "queries", "query")
_ALSO = {"default": "qrels", "qrels": "default", "query": "queries", "queries": "query"}


def detect_format(path: str) -> str | None:
    """Return `parquet`, `json` or `tsv` by the file's name, or None if it is not a table."""
    return next((form for ending, form in FORMATS.items() if path.endswith(ending)), None)


def discover_tables(paths: Sequence[str], metadata: Mapping[str, Any] | None) -> Tables:
    """Return the tables of a repository with these `paths`; `metadata` is the header of its README or None."""
    data = sorted(path for path in paths if detect_format(path) is not None)
    declared = _find_declared(data, (metadata or {}).get("configs"))
    return declared or _find_conventional(data)


def _find_declared(paths: Sequence[str], configs: object) -> Tables:
    """Return the tables by the `configs:` of a README. A pattern that matches no file gives no table."""
    tables: Tables = {}
    for config in configs if isinstance(configs, list) else ():
        if not isinstance(config, dict) or not isinstance(config.get("config_name"), str):
            continue
        for split, pattern in _iterate_patterns(config.get("data_files")):
            glob = _compile_glob(pattern)
            matched = [path for path in paths if glob.fullmatch(path)]
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
    """Compile a glob: `*` and `?` match within a folder, `**` across folders.

    Globs are of strangers, so the time of a match is limited: a part between two `**` is compiled to backtrack over its
    last `*` only, and such a `*` and each `**` count as open.
    """
    pieces = re.split(r"(\*\*/|\*\*)", glob)
    parts = pieces[::2]
    opened = len(parts) - 1 + sum("*" in part.rpartition("/")[2] for part in parts)
    if len(glob) > _MAX_GLOB or opened > _MAX_OPEN_WILDCARDS:
        raise DataError(f"README.md: the pattern {to_one_line(glob, 80)!r} is too long or has too many wildcards")
    crossing = {"**/": "(?:.*/)?", "**": ".*"}
    return re.compile("".join(crossing.get(piece) or _translate_part(piece) for piece in pieces))


def _translate_part(part: str) -> str:
    *folders, name = map(_translate_name, part.split("/"))
    return "".join(f"(?>{folder}/)" for folder in folders) + name


def _translate_name(name: str) -> str:
    """Return the pattern of a name: each `*` but the last takes as little as it can and is not tried again."""
    texts = [re.escape(text).replace(r"\?", "[^/]") for text in name.split("*")]
    if len(texts) == 1:
        return texts[0]
    first, *middle, last = texts
    return first + "".join(f"(?>[^/]*?{text})" for text in middle) + f"[^/]*{last}"


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
