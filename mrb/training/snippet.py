"""The Python code in a model card that scores a pair with transformers alone, as MRB does."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, StrictUndefined

from mrb.engine.prompt_template import PromptTemplate
from mrb.training.export import can_express

TEMPLATE = Path(__file__).with_name("snippet.py.jinja")


def make_snippet(
    layout: PromptTemplate, *, folder: str, max_length: int, pixels: tuple[int, int] | None = None
) -> str | None:
    """Return the code, None for a prompt that it cannot express.

    Args:
        layout: The model's prompt template.
        folder: The model's folder as the code names it.
        max_length: The longest prompt in tokens.
        pixels: The least and the most pixels of an image, None for a model that takes no images.
    """
    if not can_express(layout) or layout.instruction != "{text}" or layout.special_tokens:
        return None
    body = "".join(
        part
        if kind == "text"
        else ""
        if part == "seam" or (part.endswith("_image") and pixels is None)
        else f"{{{part}}}"
        for kind, part in layout.pieces
    )
    prompt, _, end = body.partition("{document_text}")
    code = Environment(autoescape=False, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)  # noqa: S701
    return code.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        prompt=repr(prompt + "{document_text}"),
        end=repr(end),
        layout=layout,
        default=repr(layout.default_instruction),
        empty=f" or {layout.empty!r}" if layout.empty else "",
        negative=layout.labels[1] if layout.score == "difference" else None,
        folder=folder,
        max_length=max_length,
        pixels=pixels,
    )
