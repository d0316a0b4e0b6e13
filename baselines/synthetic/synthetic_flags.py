"""Synthetic training data from a grammar: generated flags, each with the description that its rules give.

Seventy-seven training flags are too few to learn how bands, crosses and cantons look and what they are called. This
module recombines the parts and phrases of those 77 descriptions; nothing of any test flag is looked up. A drawing can
resemble a real flag, since there are few ways to arrange three bands; like all training data it is checked against test
data.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from mrb._util.hashing import compute_sample_hash
from mrb.baselines.synthetic.flag_grammar import describe_and_draw
from mrb.baselines.synthetic.flag_sheet import BASIC
from mrb.baselines.synthetic.flag_styles import STYLES, render_style
from mrb.baselines.synthetic.table_builders import Rows, split_task
from mrb.data.items import Item
from mrb.data.task_data import TaskData
from mrb.errors import TrainingError

_TYPES = ("t2i", "i2t", "t2it")
_FLAT = 0.85  # share of flat document images: these tasks' documents are flat drawings; query images have all styles


def plain(data: TaskData, copies: int) -> TaskData:
    """Like `drawn`, with flags that are a field of one colour, to teach names of colours before their positions.

    Each basic colour occurs once per part, so that no document is right for another's query.
    """

    def part(copy: int, place: int) -> tuple[str, str]:
        group, one = divmod(place, len(BASIC))
        name = f"{copy}-{group}"
        lot = np.random.default_rng(compute_sample_hash(data.task.id, f"plain/{name}")).permutation(len(BASIC))
        return name, BASIC[int(lot[one])]

    return _make_data(data, copies, part)


def drawn(data: TaskData, copies: int) -> TaskData:
    """Return `copies` times as many queries as `data` has, each about a generated flag; the same in every build.

    The side that is a description or an image becomes that of the generated flag; a document with both keeps its text,
    which is no description. Ids are `part/query id`; each copy is a part of the task, which is searched separately.
    Raises TrainingError for a task of other types.
    """
    return _make_data(data, copies, lambda copy, place: (str(copy), None))


def _make_data(data: TaskData, copies: int, part: Callable[[int, int], tuple[str, str | None]]) -> TaskData:
    """Build the data. `part` returns (name of the part, colour of a plain flag or None) by copy and index."""
    if data.task.type not in _TYPES:
        raise TrainingError(f"task {data.task.id}: drawn data are made of tasks of the types {', '.join(_TYPES)}")
    queries, corpus = Rows(), Rows()
    qrels: dict[str, dict[str, int]] = {}
    names: dict[str, None] = {}
    for copy in range(copies):
        for place, query_id in enumerate(data.queries):
            name, field = part(copy, place)
            names[name] = None
            own = f"{name}/{query_id}"
            rng = np.random.default_rng(compute_sample_hash(data.task.id, f"drawn/{own}"))
            flag = describe_and_draw(rng, field)
            style = str(rng.choice(list(STYLES), p=list(STYLES.values())))
            queries.add(own, _make_side(data.queries.item(query_id), flag, style, rng))
            document = data.corpus.item(next(iter(data.qrels[query_id])))
            corpus.add(own, _make_side(document, flag, "flat" if rng.random() < _FLAT else style, rng))
            qrels[own] = {own: 1}
    return TaskData(split_task(data.task, names), queries.table("queries"), corpus.table("corpus"), qrels, data.counts)


def _make_side(
    item: Item, flag: tuple[str, Image.Image], style: str, rng: np.random.Generator
) -> tuple[str, bytes | None]:
    """Return (text, PNG) of an item that shows or describes the flag."""
    words, picture = flag
    if item.image is None:
        return words, None
    return item.text, render_style(picture, style, rng)
