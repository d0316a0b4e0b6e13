"""Data that scripts load on demand, as one plain script per file.

Pages also open from disk, where a browser can load a script but not a JSON file.
"""

from __future__ import annotations

import json

from mrb.leaderboard.page import Page
from mrb.leaderboard.tables.cells import escape_invisible


def make_data_script(key: str, value: object) -> Page:
    """Return `data/<key>.js`, which passes `value` to `DATA` (static/data.js) under its key.

    `value` consists of lists, texts, numbers and dicts with keys of our own. The file is ASCII; invisible characters in
    texts are written out, as on the pages. Text is HTML only where it is Markup, which templates have escaped.
    """
    text = json.dumps([key, _shown(value)], ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Page(f"data/{key}.js", f"DATA.put(...{text});\n".encode("ascii"))


def _shown(value: object) -> object:
    if isinstance(value, dict):
        return {key: _shown(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(inner) for inner in value]
    return escape_invisible(value)
