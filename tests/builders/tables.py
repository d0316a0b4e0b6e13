"""Tables of the toy task as columns: a corpus of three documents, two queries, two judgements."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from mrb.data.task_data import TaskData

Columns = dict[str, Any]


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


CORPUS: Columns = {"_id": ["d1", "d2", "d3"], "text": ["one", "two", "three"]}


QUERIES: Columns = {"_id": ["q1", "q2"], "text": ["first", "second"]}


QRELS: Columns = {"query-id": ["q1", "q2"], "corpus-id": ["d1", "d3"], "score": [1, 1]}


def texts(data: TaskData) -> dict[str, str]:
    return {doc_id: data.corpus.item(doc_id).text for doc_id in data.corpus}


def pictures(*values: bytes | None) -> pa.Array:
    return pa.array([None if v is None else {"bytes": v, "path": "a.png"} for v in values], IMAGE)
