"""Training data from a grammar: flags drawn by rule, each with the description that the rule gives.

Seventy-seven training flags are too few to learn from what bands, crosses and cantons look like and what they are
called. Here the parts and the turns of phrase of those 77 descriptions are put together anew: nothing of any test flag
is looked up. A drawing can come out like a real flag, as bands of three colours are few; what is made is held against
test data as all training data is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from mrb._util.hashing import sample_hash
from mrb.baselines.synthetic.flag_grammar import describe_and_draw
from mrb.baselines.synthetic.flag_sheet import BASIC
from mrb.baselines.synthetic.flag_styles import STYLES, as_png
from mrb.baselines.synthetic.table_builders import Rows, in_parts
from mrb.data.items import Item
from mrb.data.task_data import TaskData
from mrb.errors import TrainingError

_TYPES = ("t2i", "i2t", "t2it")
_FLAT = 0.85  # of documents' pictures: documents of these tasks are flat drawings; queries' pictures are of all styles


def plain(data: TaskData, copies: int) -> TaskData:
    """As `drawn`, of flags that are a field of one colour: what colours are called comes before where they are. Each
    basic colour is there once in a part, so that no document is right for another's query."""

    def part(copy: int, place: int) -> tuple[str, str]:
        group, one = divmod(place, len(BASIC))
        name = f"{copy}-{group}"
        lot = np.random.default_rng(sample_hash(data.task.id, f"plain/{name}")).permutation(len(BASIC))
        return name, BASIC[int(lot[one])]

    return _made(data, copies, part)


def drawn(data: TaskData, copies: int) -> TaskData:
    """`copies` times as many queries as `data` has, each about a drawn flag, the same in every build.

    The side that is a description, or a picture, becomes one of the drawn flag; a document with both keeps its text,
    which does not describe. Ids are `part/query id`, and each copy is a part of the task, which is searched alone.
    TrainingError for a task that is none of pictures and descriptions.
    """
    return _made(data, copies, lambda copy, place: (str(copy), None))


def _made(data: TaskData, copies: int, part: Callable[[int, int], tuple[str, str | None]]) -> TaskData:
    """`part` gives the name of the part and the ink of the field, if it is to be nothing else, by copy and place."""
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
            rng = np.random.default_rng(sample_hash(data.task.id, f"drawn/{own}"))
            flag = describe_and_draw(rng, field)
            style = str(rng.choice(list(STYLES), p=list(STYLES.values())))
            queries.add(own, _side(data.queries.item(query_id), flag, style, rng))
            document = data.corpus.item(next(iter(data.qrels[query_id])))
            corpus.add(own, _side(document, flag, "flat" if rng.random() < _FLAT else style, rng))
            qrels[own] = {own: 1}
    return TaskData(in_parts(data.task, names), queries.table("queries"), corpus.table("corpus"), qrels, data.counts)


def _side(item: Item, flag: tuple[str, Image.Image], style: str, rng: np.random.Generator) -> tuple[str, bytes | None]:
    """(text, PNG) of an item that is to show the flag, or to tell it."""
    words, picture = flag
    if item.image is None:
        return words, None
    return item.text, as_png(picture, style, rng)
