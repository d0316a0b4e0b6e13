"""A checkpoint's chat template: read it, and render a pair of a query and a document with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mrb.data.items import Item
from mrb.errors import AdapterError, to_one_line


def read_chat_template(folder: Path) -> str | None:
    """Return the checkpoint's chat template, None if it has none. Raises AdapterError if a file is damaged."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        path = folder / name
        if path.is_file():
            try:
                content: Any = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise AdapterError(f"{path}: {to_one_line(error)}") from error
            found = content.get("chat_template") if isinstance(content, dict) else None
            if isinstance(found, str):
                return found
    return None


def render_pair(template: str, query: str, document: Item) -> str:
    """Return a pair as text, in the roles `query` and `document`; an image is shown before the text.

    The template is run in transformers' sandbox. Raises AdapterError if it does not render the pair.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    shown: list[dict[str, str]] = [{"type": "image"}] * len(document.images)
    shown += [{"type": "text", "text": document.text}] if document.text else []
    messages = [
        {"role": "query", "content": [{"type": "text", "text": query}]},
        {"role": "document", "content": shown},
    ]
    try:
        rendered: Any = render_jinja_template(conversations=[messages], chat_template=template)
    except Exception as error:  # whatever the template raises
        said = to_one_line(f"{type(error).__name__}: {error}", 160)
        raise AdapterError(f"the checkpoint's chat template cannot be rendered: {said}") from error
    text: str = rendered[0][0]
    return text
