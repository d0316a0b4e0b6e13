"""The first stage `colour-words`: the colours that a text names against the colours that an image shows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mrb.baselines.retrievers.colours import COLOURS, text_colours
from mrb.baselines.retrievers.features import Float64, read_picture
from mrb.data.items import Item
from mrb.data.task_data import ItemTable, TaskData
from mrb.errors import CandidatesError
from mrb.retrieval import Found, nearest


class ColourWords:
    """Cosine of two distributions over the eleven basic colours, square roots taken: one from the colour words of a
    text, one from the pixels of an image. Both ways: the query's text against the documents' images, the query's image
    against the documents' texts; where both sides have both, the mean of the two cosines.
    """

    def search(self, data: TaskData, depth: int) -> Iterator[Found]:
        """The documents whose colours fit each query's best."""
        query_ids, queries = _both(data.queries)
        doc_ids, documents = _both(data.corpus)
        crossed = np.concatenate([documents[:, len(COLOURS) :], documents[:, : len(COLOURS)]], axis=1)
        halves = [slice(None, len(COLOURS)), slice(len(COLOURS), None)]
        compared = sum(bool(queries[:, half].any() and crossed[:, half].any()) for half in halves)
        if not compared:
            raise CandidatesError(f"task {data.task.id}: colour-words needs text on one side and images on the other")
        return nearest(data.task.id, query_ids, queries, doc_ids, crossed / compared, depth)


def _both(table: ItemTable) -> tuple[list[str], Float64]:
    """(ids, rows of the text's colours followed by the image's); a missing side is all 0."""
    return list(table), np.stack([_colours(table.item(item_id)) for item_id in table])


def _colours(item: Item) -> Float64:
    shown = np.zeros(len(COLOURS), np.float64) if item.image is None else read_picture(item.image).palette
    return np.concatenate([text_colours(item.text), shown])
