"""One file of the site, and how a template becomes one: the Jinja environment, links, how strange text is written.

Everything that comes out of a file is text to the templates: escaped, and with its invisible characters shown, so that
no name can pass for another or turn the line around.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mrb import __version__
from mrb._util.files import is_device_name
from mrb._util.format import size_text
from mrb.data.task import TYPES
from mrb.leaderboard.tables.cells import MINUS, number, numbers, percent, run_head, signed, visible
from mrb.leaderboard.tables.columns import rate, size
from mrb.leaderboard.tables.rows import SOURCE
from mrb.metrics.measures import HEADLINE

NAVIGATION = (
    ("Overview", "index.html"),
    ("Tasks", "tasks.html"),
    ("Models", "models.html"),
    ("Compare", "compare.html"),
    ("Queries", "queries.html"),
    ("Reported", "reported.html"),
    ("About", "about.html"),
)
"""The links in every page's header: title and path. Pages in a folder stand under the entry of its name."""
_LETTERS = {"t": "text", "i": "image", "vd": "page image", "it": "image with text"}
TYPE_WORDS: dict[str, str] = {name: " to ".join(_LETTERS[side] for side in name.split("2")) for name in TYPES}
# What needs no escaping in an address and is a name on every file system.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?", re.ASCII)


@dataclass(frozen=True)
class Page:
    """A file of the site: its path, relative to the site's root with `/` between folders, and its bytes.

    ValueError for a path that is not the same file everywhere, or that could lead out of the site.
    """

    path: str
    data: bytes

    def __post_init__(self) -> None:
        if not all(is_file_name(part) for part in self.path.split("/")):
            raise ValueError(f"{self.path!r} is no path of the site")


def is_file_name(name: str) -> bool:
    """Whether `name` can be a file or folder of the site: ASCII letters, digits, '.', '_', '-', a letter or digit
    first, no dot last (Windows drops it), and no device of Windows."""
    return _NAME.fullmatch(name) is not None and not is_device_name(name)


def task_page(task_id: str) -> str:
    """The path of a task's page."""
    return f"tasks/{task_id}.html"


def model_page(run_name: str) -> str:
    """The path of a run's page: its name, which `read_runs` has found to be a file name that no other run has."""
    return f"models/{run_name}.html"


def queries_page(task_id: str) -> str:
    """The path of the list of a task's queries in the explorer."""
    return f"queries/{task_id}.html"


def query_page(task_id: str, page: int) -> str:
    """The path of a page of them, counted from 1."""
    return f"queries/{task_id}/{page}.html"


def render(template: str, path: str, *, section: str | None = None, **values: object) -> Page:
    """The page at `path` from a template that extends `base.html.jinja`, with `values` as its variables.

    Templates also have `link(target)`, the relative address, from this page, of a path of the site;
    `number_cell(cell, column, measure="")`, `number_cells(cells, columns)` and `run_head_cell(card)`: a cell, a row of
    them, and a row's head. `section` is the page of the navigation under which this one stands, if it is not that of
    its folder's name.
    """
    up = "../" * path.count("/")
    section = section or (path if "/" not in path else path.partition("/")[0] + ".html")
    found = _environment().get_template(template)
    text = found.render(
        path=path,
        section=section,
        link=lambda target: up + target,
        number_cell=partial(number, up),
        number_cells=partial(numbers, up),
        run_head_cell=partial(run_head, up),
        **values,
    )
    return Page(path, text.encode())


def small(fraction: float) -> str:
    """A small fraction times 100, three decimals; what is there but rounds to nothing is not shown as nothing."""
    return f"{100 * fraction:.3f}" if fraction == 0 or 100 * fraction >= 0.0005 else "< 0.001"


def points(hundredths: int) -> str:
    """Hundredths of a point as people read them: 6309 is 63.09."""
    return f"{hundredths / 100:.2f}"


def gained(hundredths: int) -> str:
    """The same with its sign; nothing has none."""
    return points(0) if hundredths == 0 else f"{'+' if hundredths > 0 else MINUS}{points(abs(hundredths))}"


def package_folder() -> Path:
    """The folder that holds the board's templates and static files."""
    return Path(str(resources.files("mrb.leaderboard")))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(package_folder() / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "small": small,
        "signed": signed,
        "points": points,
        "gained": gained,
        "rate": rate,
        "billions": size,
        "count": "{:,}".format,
        "size": size_text,
    }
    environment.globals |= {
        "navigation": NAVIGATION,
        "type_words": TYPE_WORDS,
        "headline": str(HEADLINE),
        "source": SOURCE,
        "task_page": task_page,
        "model_page": model_page,
        "queries_page": queries_page,
        "query_page": query_page,
        "version": __version__,
    }
    return environment
