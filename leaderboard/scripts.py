"""Data that scripts ask for when somebody chooses it: one plain script a file, because pages open from disk, where a
script can be loaded and a JSON file cannot."""

from __future__ import annotations

import json

from mrb.leaderboard.page import Page
from mrb.leaderboard.tables.cells import visible


def data_script(key: str, value: object) -> Page:
    """`data/<key>.js`, which hands `value` to `DATA` (static/data.js) under its key.

    `value` is made of lists, texts, numbers and dicts with keys of our own. It is ASCII without `<`, `>` and `&`, and
    texts have their invisible characters written out, as on the pages.
    """
    text = json.dumps([key, _shown(value)], ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Page(f"data/{key}.js", f"DATA.put(...{text});\n".encode("ascii"))


def _shown(value: object) -> object:
    if isinstance(value, dict):
        return {key: _shown(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(inner) for inner in value]
    return visible(value)
