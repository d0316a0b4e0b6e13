"""Make a task of a Hub data set that the user names by its address, `hf://datasets/ORG/NAME@COMMIT`."""

from __future__ import annotations

import pyarrow as pa

from mrb.data.folder_files import SPLIT, STANDARD_TABLES, make_qrels_table
from mrb.data.folder_notes import log_hub_reading
from mrb.data.folder_task import INSTRUCTION, choose_type, make_slug, summarize_judgements
from mrb.data.items import ImageCaps
from mrb.data.table_choice import choose_table
from mrb.data.tables import CORPUS_ID_COLUMNS, QUERY_ID_COLUMNS, iterate_qrels, make_item_table, read_files
from mrb.data.task import HEADLINE_MEASURE, Task
from mrb.data.task_fields import Images, Part, Rules, Size, Source, Table
from mrb.errors import DataError, MRBError
from mrb.hub.address import HubFolder
from mrb.hub.client import fetch_files, open_manifest
from mrb.hub.revision import resolve_revision
from mrb.hub.table_discovery import detect_format

_IDS = {"corpus": CORPUS_ID_COLUMNS, "queries": QUERY_ID_COLUMNS}


def make_hub_task(source: HubFolder, split: str = SPLIT) -> Task:
    """Return the task of a Hub data set with the tables of BEIR's or mteb's copies (corpus, queries, judgements).

    The data is fetched whole, because the type follows from the content. One line says what was read.

    Args:
        source: The data set at a commit.
        split: The split of the judgements; with another one than `test` its name is part of the id.

    Raises:
        DataError: The address has no commit; the message says which to type. A table is missing or damaged.
    """
    if source.folder:
        raise DataError(f"{source}: a data set has no folder; wanted hf://datasets/{source.repository}@COMMIT")
    if not source.pinned:
        raise DataError(f"{source}: data is named at a commit, so that all runs read the same: {_find_commit(source)}")
    manifest = open_manifest(source.repository, source.revision or "")
    found, sides, most, tables, rows = {}, [], [], {}, {}
    for role, standard in (STANDARD_TABLES | {"qrels": make_qrels_table(split)}).items():
        config, found_split, paths = choose_table(manifest.tables, role, standard, str(source))
        if role == "qrels" and split not in (SPLIT, found_split):
            raise DataError(f"{source}: no judgements of the split {split}; there are those of {found_split}")
        manifest, local = fetch_files(manifest, paths)
        form = detect_format(paths[0]) or "parquet"
        tables[role] = read_files(local, form, f"{source}, {config}/{found_split}")
        found[role] = Table(config=config, split=found_split)
        rows[role] = tables[role].table.num_rows
    for role in ("queries", "corpus"):
        table = make_item_table(tables[role], _IDS[role], prefix="", caps=ImageCaps(), cache=None, first=True)
        sides.append((table.has_texts, table.has_images))
        most.append(max(1, table.most_images))
    judgements = list(iterate_qrels(tables["qrels"], ""))
    judged, rules = summarize_judgements(
        pa.array([query_id for query_id, _, _ in judgements], pa.string()),
        pa.array([grade for _, _, grade in judgements], pa.int64()),
    )
    if not judged:
        raise DataError(f"{source}: no query has a relevant document (a grade above 0)")
    name = make_slug(source.repository.partition("/")[2] + ("" if split == SPLIT else f"-{split}"))
    if not name:
        raise DataError(f"{source}: its name has no letter that an id can have; write a task file (docs/own-data.md)")
    task = Task(
        schema_version=1,
        id=name,
        title=name,
        type=choose_type(sides[0], sides[1], str(source)),
        instruction=INSTRUCTION,
        source_measure=HEADLINE_MEASURE,
        size=Size(queries=judged, documents=rows["corpus"], qrels=rows["qrels"]),
        source=Source(
            kind="hub",
            schema_family="beir",
            format="parquet",
            parts=(Part(repository=source.repository, revision=source.revision, **found),),
        ),
        images=Images(per_query=most[0], per_document=most[1]),
        rules=Rules(**rules),
    )
    log_hub_reading(source.repository, task, {role: tables[role].table for role in ("queries", "corpus")})
    return task


def _find_commit(source: HubFolder) -> str:
    """Return the address at today's commit of the revision, or its form if the Hub cannot be asked."""
    try:
        return f"--data {resolve_revision(source)}"
    except MRBError as error:
        return f"hf://datasets/{source.repository}@COMMIT, 40 hex digits ({error})"
