"""The nine tasks, and one outside the suite: identifier, schema family, and what builds a split of it."""

from collections.abc import Callable
from dataclasses import dataclass

import emoji
import facts
import faq
import flags
import pages
import sections
from sources import Library
from splits import SPLITS
from tables import TaskTables


@dataclass(frozen=True)
class MiniTask:
    """One task, and the splits that it has."""

    id: str
    family: str
    build: Callable[[Library, str], TaskTables]
    splits: tuple[str, ...] = SPLITS


TASKS = (
    MiniTask("mini-faq-t2t", "beir", faq.build_t2t),
    MiniTask("mini-emoji-i2i", "mbeir", emoji.build_i2i),
    MiniTask("mini-flag-t2i", "mbeir", flags.build_t2i),
    MiniTask("mini-flag-i2t", "mbeir", flags.build_i2t),
    MiniTask("mini-page-t2vd", "vidore", pages.build_t2vd),
    MiniTask("mini-flag-t2it", "mbeir", flags.build_t2it),
    MiniTask("mini-fact-it2t", "mbeir", facts.build_it2t),
    MiniTask("mini-emoji-it2i", "mbeir", emoji.build_it2i),
    MiniTask("mini-fact-it2it", "mbeir", facts.build_it2it),
    # Outside the suite: its pages are those of mini-page-t2vd.
    MiniTask("mini-section-t2vd", "sections", sections.build_t2vd, ("test",)),
)

# Too large to ship: built only when both task and split are named, and checked by their recorded checksums.
NOT_SHIPPED = frozenset({("mini-page-t2vd", "train")})
