"""One file of the site, and its rendering: the Jinja environment, links, display of untrusted text.

Everything read from a file is text to the templates: escaped, with invisible characters shown, so that no name can
imitate another or reverse the line's direction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mrb import __version__
from mrb._util.files import is_device_name
from mrb._util.format import format_size, format_tasks
from mrb.data.task import TYPES
from mrb.leaderboard.tables.cells import (
    MINUS,
    describe_run,
    escape_invisible,
    format_cell,
    format_percent,
    format_row,
    format_signed,
    sign_class,
)
from mrb.leaderboard.tables.fact_columns import format_parameters, format_speed
from mrb.leaderboard.tables.rows import SOURCE
from mrb.leaderboard.tables.rows_html import render_cells, render_fixed_row, render_head, render_row
from mrb.leaderboard.tables.runs import get_model_path
from mrb.metrics.measures import HEADLINE
from mrb.metrics.significance import RankBounds

NAVIGATION = (
    ("Overview", "index.html"),
    ("Tasks", "tasks.html"),
    ("Models", "models.html"),
    ("Compare", "compare.html"),
    ("Queries", "queries.html"),
    ("Reported", "reported.html"),
    ("About", "about.html"),
)
"""Title and path of the links in every page's header. Pages in a folder belong to the entry of the folder's name."""
_LETTERS = {"t": "text", "i": "image", "vd": "page image", "it": "image with text"}
TYPE_WORDS: dict[str, str] = {name: " to ".join(_LETTERS[side] for side in name.split("2")) for name in TYPES}
# Names that need no escaping in an address and are valid on every file system.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?", re.ASCII)


@dataclass(frozen=True)
class Page:
    """A file of the site: its path, relative to the site's root with `/` between folders, and its bytes.

    Raises ValueError for a path that is not the same file on every system, or that could lead out of the site.
    """

    path: str
    data: bytes

    def __post_init__(self) -> None:
        if not all(is_file_name(part) for part in self.path.split("/")):
            raise ValueError(f"{self.path!r} is not a path of the site")


def is_file_name(name: str) -> bool:
    """Return whether `name` can be a file or folder of the site.

    It may have ASCII letters, digits, '.', '_' and '-', starts with a letter or digit, has no dot at the end (Windows
    drops it), and is not a device of Windows.
    """
    return _NAME.fullmatch(name) is not None and not is_device_name(name)


def get_task_path(task_id: str) -> str:
    """Return the path of a task's page."""
    return f"tasks/{task_id}.html"


def get_embed_path(table_id: str) -> str:
    """Return the path of a table's page for frames."""
    return f"embed/{table_id}.html"


def get_queries_path(task_id: str) -> str:
    """Return the path of a task's query list in the explorer."""
    return f"queries/{task_id}.html"


def get_query_path(task_id: str, page: int) -> str:
    """Return the path of a page of queries, counted from 1."""
    return f"queries/{task_id}/{page}.html"


def render(template: str, path: str, *, section: str | None = None, **values: object) -> Page:
    """Render the page at `path` from a template that extends `base.html.jinja`, with `values` as its variables.

    Templates also get `link(target)`, the address of a path of the site relative to this page. `section` is this page's
    entry in the navigation, by default that of its folder.
    """
    up = "../" * path.count("/")
    section = section or (path if "/" not in path else path.partition("/")[0] + ".html")
    found = _load_environment().get_template(template)
    text = found.render(
        path=path,
        section=section,
        link=lambda target: up + target,
        **values,
    )
    return Page(path, text.encode())


def load_macros(template: str) -> Any:
    """Return a template's macros, with links that lead from the site's root."""
    return _load_environment().get_template(template).make_module({"link": str})


def format_small(fraction: float) -> str:
    """Return a small fraction times 100 with three decimals, "< 0.001" if a nonzero value rounds to 0."""
    return f"{100 * fraction:.3f}" if fraction == 0 or 100 * fraction >= 0.0005 else "< 0.001"


def format_points(hundredths: int) -> str:
    """Format hundredths of a point: 6309 is 63.09."""
    return f"{hundredths / 100:.2f}"


def format_gain(hundredths: int) -> str:
    """Format hundredths of a point with a sign; 0 has none."""
    sign = "+" if hundredths > 0 else MINUS if hundredths < 0 else ""
    return sign + format_points(abs(hundredths))


def format_bounds(bounds: tuple[int, int] | None) -> str:
    """Format rank bounds as the tables do; "no rank" for None."""
    return "no rank" if bounds is None else str(RankBounds(*bounds))


def find_package_folder() -> Path:
    """Return the folder with the board's templates and static files."""
    return Path(str(resources.files("mrb.leaderboard")))


@cache
def _load_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(find_package_folder() / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=escape_invisible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": format_percent,
        "small": format_small,
        "signed": format_signed,
        "points": format_points,
        "gained": format_gain,
        "rate": format_speed,
        "billions": format_parameters,
        "count": "{:,}".format,
        "size": format_size,
        "tasks": format_tasks,
    }
    environment.globals |= {
        "navigation": NAVIGATION,
        "type_words": TYPE_WORDS,
        "headline": str(HEADLINE),
        "source": SOURCE,
        "describe_run": describe_run,
        "sign_class": sign_class,
        "format_cell": format_cell,
        "format_row": format_row,
        "render_cells": render_cells,
        "render_head": render_head,
        "render_row": render_row,
        "render_fixed_row": render_fixed_row,
        "get_task_path": get_task_path,
        "get_model_path": get_model_path,
        "get_embed_path": get_embed_path,
        "get_queries_path": get_queries_path,
        "get_query_path": get_query_path,
        "format_bounds": format_bounds,
        "version": __version__,
    }
    return environment
