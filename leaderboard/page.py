"""From tables to HTML: the Jinja environment and how numbers and strange text are written.

Everything that comes out of a file is text to the templates: escaped, and with its invisible characters shown, so that
no name can pass for another or turn the line around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mrb.leaderboard.plots import LEFT, MAX_ROWS, RIGHT, TOP, WIDTH, Panel, panels
from mrb.leaderboard.published import published
from mrb.leaderboard.rows import SOURCE, Table, View
from mrb.leaderboard.runs import RunCard, card
from mrb.metrics import HEADLINE
from mrb.task import TYPES

MINUS = "\u2212"
_LETTERS = {"t": "text", "i": "image", "vd": "page image", "it": "image with text"}
TYPE_WORDS = {name: " to ".join(_LETTERS[side] for side in name.split("2")) for name in TYPES}


@dataclass(frozen=True)
class Section:
    """One table of the page with its plots. `types` is None where each type has one task: the table says it all."""

    id: str
    table: Table
    views: tuple[View, ...]
    panels: list[Panel]
    types: View | None
    cards: dict[str, RunCard]


def render(tables: Sequence[Table]) -> str:
    """The board's page."""
    sections = [_section(number, table) for number, table in enumerate(tables, start=1)]
    measures = dict.fromkeys(view.measure for section in sections for view in section.views if view.measure != SOURCE)
    page = _environment().get_template("index.html.jinja")
    return page.render(
        sections=sections,
        measures=[str(HEADLINE), *(name for name in measures if name != str(HEADLINE))],
        headline=str(HEADLINE),
        source=SOURCE,
        type_words=TYPE_WORDS,
        published=published(),
        plot={"width": WIDTH, "left": LEFT, "right": RIGHT, "top": TOP, "rows": MAX_ROWS},
        version=version("mrb"),
    )


def static_files() -> dict[str, bytes]:
    """The page's style and script by file name."""
    return {path.name: path.read_bytes() for path in sorted((_folder() / "static").iterdir()) if path.is_file()}


def percent(fraction: float) -> str:
    """A fraction times 100, two decimals."""
    return f"{100 * fraction:.2f}"


def small(fraction: float) -> str:
    """A small fraction times 100, three decimals; what is there but rounds to nothing is not shown as nothing."""
    return f"{100 * fraction:.3f}" if fraction == 0 or 100 * fraction >= 0.0005 else "< 0.001"


def signed(fraction: float) -> str:
    """A difference times 100 with its sign, two decimals; what rounds to nothing has none."""
    text = f"{100 * fraction:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", MINUS)


def rate(per_second: float) -> str:
    """A rate as people read it: three digits where it is small, thousands apart where it is large."""
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def visible(value: object) -> object:
    """Text with its control, bidirectional and other invisible characters written out; other values as they are."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in value)


def _section(number: int, table: Table) -> Section:
    types = table.by_type()
    several = any(len(table.tasks_of(name)) > 1 for name in table.type_names)
    cards = {run.name: card(run) for run in table.runs}
    return Section(f"table-{number}", table, table.views, panels(types), types if several else None, cards)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_folder() / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "small": small, "signed": signed, "rate": rate}
    return environment


def _folder() -> Path:
    return Path(str(resources.files("mrb.leaderboard")))
