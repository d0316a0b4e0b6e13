"""A task's data for analysis: queries, corpus, judgements and candidates by id, and as Arrow, pandas or `datasets`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from mrb._util.format import cut_to_width
from mrb.candidates.lists import Candidates, read_parquet
from mrb.candidates.load import find_candidates
from mrb.data.items import Item
from mrb.data.load import load_task_data
from mrb.data.task import Task
from mrb.data.task_data import ItemTable, Qrels, TaskData
from mrb.errors import to_one_line

if TYPE_CHECKING:
    import datasets
    import pandas as pd

SHOWN_ROWS, SHOWN_CHARACTERS = 5, 200
"""How much of a table a notebook shows: rows, and characters of a row."""
V = TypeVar("V", covariant=True)
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""The type of an image in Arrow, as `datasets` stores it: encoded bytes, and a path, which is null."""


class TaskTable(Mapping[str, V]):
    """A mapping by id that is a table too. pyarrow and polars also take it directly: `pa.table(task.qrels)`."""

    @abstractmethod
    def to_arrow(self) -> pa.Table:
        """Return the whole table in memory."""

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as pandas; an image is a dictionary with its encoded `bytes`."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_dataset(self) -> datasets.Dataset:
        """Return the table as a `datasets.Dataset`; images are decoded when they are read."""
        import datasets

        made = datasets.Dataset(self.to_arrow())
        for name, feature in (("image", datasets.Image()), ("images", datasets.List(datasets.Image()))):
            if name in made.column_names:
                made = made.cast_column(name, feature)
        return made

    def _repr_html_(self) -> str:
        from mrb.results.html import format_rows_html

        rows = [
            (row_id, cut_to_width(self._describe(self[row_id]), SHOWN_CHARACTERS))
            for row_id in islice(self, SHOWN_ROWS)
        ]
        more = f", the first {len(rows)}" if len(rows) < len(self) else ""
        return format_rows_html(repr(self).strip("<>") + more, rows)

    def _describe(self, value: Any) -> str:
        """Return what a notebook shows of a value: here {document id: number}."""
        return ", ".join(f"{doc_id}: {number:g}" for doc_id, number in islice(value.items(), SHOWN_CHARACTERS))

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)


class Items(TaskTable[Item]):
    """Queries or documents: id -> `Item`. As a table: `id`, and `text` and `image` where there are any; `images`, a
    list, where an item has several."""

    def __init__(self, table: ItemTable) -> None:
        self._table = table

    def __getitem__(self, item_id: str) -> Item:
        if item_id not in self._table:
            raise KeyError(item_id)
        return self._table.item(item_id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._table.rows

    def __repr__(self) -> str:
        return f"<{len(self)} items of {self._table.name}>"

    def _describe(self, value: Item) -> str:
        count = len(value.images)
        images = f"[{count} image{'s' * (count > 1)}]" if count else ""
        return " ".join(filter(None, [images, to_one_line(value.text or "", SHOWN_CHARACTERS)]))

    def to_arrow(self) -> pa.Table:
        """Return the whole table in memory, images as encoded bytes."""
        columns = {"id": pa.array(list(self), pa.string())}
        if self._table.has_texts:
            columns["text"] = pa.array([self[item_id].text for item_id in self], pa.string())
        if self._table.has_images:
            cells = [[{"bytes": one.to_pybytes(), "path": None} for one in self._table.encoded(i)] for i in self]
            if self._table.most_images > 1:
                columns["images"] = pa.array(cells, pa.list_(IMAGE))
            else:
                columns["image"] = pa.array([cell[0] if cell else None for cell in cells], IMAGE)
        return pa.table(columns)


class Judgements(TaskTable[Mapping[str, int]]):
    """Qrels: query id -> {document id: grade}, positive grades only. As a table: `query_id`, `doc_id`, `grade`."""

    def __init__(self, qrels: Qrels) -> None:
        self._qrels = qrels

    def __getitem__(self, query_id: str) -> Mapping[str, int]:
        return self._qrels[query_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._qrels)

    def __len__(self) -> int:
        return len(self._qrels)

    def __repr__(self) -> str:
        return f"<judgements of {len(self)} queries>"

    def to_arrow(self) -> pa.Table:
        """Return the whole table in memory."""
        rows = [(query_id, doc_id, grade) for query_id, grades in self.items() for doc_id, grade in grades.items()]
        query_ids, doc_ids, grades = zip(*rows, strict=True)
        return pa.table({"query_id": query_ids, "doc_id": doc_ids, "grade": pa.array(grades, pa.int64())})


class CandidateList(TaskTable[Mapping[str, float]]):
    """The frozen list: query id -> {document id: first-stage score}, best first, before self-matches are removed. As a
    table: `query_id`, `doc_id`, `rank` from 1, `score`."""

    def __init__(self, found: Candidates) -> None:
        self._found = found

    def __getitem__(self, query_id: str) -> Mapping[str, float]:
        if query_id not in self._found:
            raise KeyError(query_id)
        doc_ids, scores = self._found.get(query_id)
        return dict(zip(doc_ids, scores.tolist(), strict=True))

    def __iter__(self) -> Iterator[str]:
        return iter(self._found.query_ids)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"<candidates of {len(self)} queries by {self._found.provenance.first_stage}>"

    def to_arrow(self) -> pa.Table:
        """Return the whole table in memory."""
        counts = np.diff(self._found.offsets)
        ranks = np.concatenate([np.arange(1, count + 1) for count in counts]).astype(np.int32)
        query_ids = pa.array(self._found.query_ids).take(pa.array(np.repeat(np.arange(len(counts)), counts)))
        scores = pa.array(self._found.scores, pa.float32())
        return pa.table({"query_id": query_ids, "doc_id": self._found.doc_ids, "rank": ranks, "score": scores})


class TaskView:
    """A task: its definition, and its data, which is loaded when it is first used.

    `definition` has all that the registry states. `candidates` raises CandidatesError if the task has no published
    list, the others raise DataError if the data cannot be loaded.
    """

    def __init__(self, task: Task, candidates: Path | None = None) -> None:
        self.definition = task
        self._list = candidates

    @property
    def id(self) -> str:
        """The task's id."""
        return self.definition.id

    @property
    def type(self) -> str:
        """The task's type, such as `t2i`."""
        return self.definition.type

    @property
    def instruction(self) -> str:
        """The instruction that a reranker gets."""
        return self.definition.instruction

    @cached_property
    def queries(self) -> Items:
        """The queries with a positive, by id."""
        return Items(self._data.queries)

    @cached_property
    def corpus(self) -> Items:
        """The documents by id."""
        return Items(self._data.corpus)

    @cached_property
    def qrels(self) -> Judgements:
        """The judgements by query id."""
        return Judgements(self._data.qrels)

    @cached_property
    def candidates(self) -> CandidateList:
        """The first stage's documents by query id."""
        return CandidateList(read_parquet(find_candidates(self.definition, self._list)))

    def __repr__(self) -> str:
        return f"<task {self.id}, {self.type}: {self.definition.title}>"

    @cached_property
    def _data(self) -> TaskData:
        return load_task_data(self.definition)
