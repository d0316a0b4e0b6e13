"""The files of a Hub data set's table, by its address, configuration and split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mrb.errors import TrainingError
from mrb.hub.address import HubFolder
from mrb.hub.client import fetch_files, open_manifest
from mrb.hub.revision import resolve_revision


@dataclass(frozen=True)
class HubTable:
    """A table of a data set at a commit: its local files by their path there, and their SHA-256."""

    source: HubFolder
    files: Mapping[str, Path]
    hashes: Mapping[str, str]


def fetch_table(source: HubFolder, config: str | None, split: str) -> HubTable:
    """Fetch the files of a table; those on this disk are not fetched again.

    Args:
        source: The data set; without a commit, at today's commit of its branch.
        config: The configuration; if None, `default`, or the only one that has the split.
        split: The split.

    Raises:
        TrainingError: There is no such table; the message lists those that are there.
        MRBError: The Hub cannot be reached, or a file is damaged.
    """
    if source.folder:
        raise TrainingError(f"{source}: a data set has no folder; name a part of it with --config and --split")
    source = resolve_revision(source)
    manifest = open_manifest(source.repository, source.revision or "")
    having = [name for name, splits in manifest.tables.items() if splits.get(split)]
    if config is None:
        config = "default" if "default" in having else having[0] if len(having) == 1 else None
    if config not in having:
        there = ", ".join(f"{name}/{one}" for name, splits in manifest.tables.items() for one in splits) or "no table"
        raise TrainingError(
            f"{source}: no {config or 'single'} table of split {split}: give --config and --split of {there}"
        )
    paths = manifest.tables[config][split]
    manifest, local = fetch_files(manifest, paths)
    return HubTable(
        source, dict(zip(paths, local, strict=True)), {path: manifest.checked[path].sha256 for path in paths}
    )
