"""The first stage `colour-words`: compare the colours that a text names with the colours of an image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mrb.baselines.retrievers.colours import COLOURS, find_text_colours
from mrb.baselines.retrievers.features import Float64, read_image_features
from mrb.data.items import Item
from mrb.data.task_data import ItemTable, TaskData
from mrb.errors import CandidatesError
from mrb.rerankers.model_card import make_plain_card
from mrb.retrieval import RankedList, search_exact


class ColourWords:
    """Cosine of square-rooted distributions over the eleven basic colours: from a text's colour words, from an image's
    pixels.

    Both ways: the query's text against the documents' images, and the query's image against the documents' texts. If
    both sides have both, the score is the mean of the two cosines.
    """

    card = make_plain_card("text, image, both")

    def search(self, data: TaskData, depth: int) -> Iterator[RankedList]:
        """Yield the documents whose colours fit each query's best."""
        query_ids, queries = _match_colours(data.queries)
        doc_ids, documents = _match_colours(data.corpus)
        crossed = np.concatenate([documents[:, len(COLOURS) :], documents[:, : len(COLOURS)]], axis=1)
        halves = [slice(None, len(COLOURS)), slice(len(COLOURS), None)]
        compared = sum(bool(queries[:, half].any() and crossed[:, half].any()) for half in halves)
        if not compared:
            raise CandidatesError(f"task {data.task.id}: colour-words needs text on one side and images on the other")
        return search_exact(data.task.id, query_ids, queries, doc_ids, crossed / compared, depth)


def _match_colours(table: ItemTable) -> tuple[list[str], Float64]:
    """Return (ids, rows): the text's colours followed by the image's. A missing side is all 0."""
    return list(table), np.stack([_read_colours(table.item(item_id)) for item_id in table])


def _read_colours(item: Item) -> Float64:
    shown = np.zeros(len(COLOURS), np.float64) if item.image is None else read_image_features(item.image).palette
    return np.concatenate([find_text_colours(item.text), shown])
