"""A prompt template as data: the text around query and document, the label tokens, how they become a score."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

from mrb.data.items import ImageHandle, Item
from mrb.errors import AdapterError

Score = Literal["difference", "positive"]
Side = Literal["query", "document"]
Piece = tuple[str, str]
"""("text", literal text) or ("field", name of a placeholder)."""

FIELDS = ("instruction", "query_image", "query_text", "document_image", "document_text", "seam", "cut")
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
LEAST_SAVED = 0.08
"""A prefix is shared if that saves at least this fraction of a group's tokens: the extra forward pass has a cost."""
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class PromptTemplate:
    """Template of a pointwise prompt, or of an embedding model's prompt, which has a query side only.

    `template` holds placeholders:

    - `{instruction}`;
    - `{query}` and `{document}`, short for `{query_image}{query_text}` and `{document_image}{document_text}`: a side's
      images, in order and with nothing between them, before its text;
    - `{seam}`: the end of what all candidates of a query share, or, in a template that shows the document first, of
      what all queries of a document share;
    - `{cut}`: where the model's own code joins two pieces that it has tokenised separately.

    The other fields:

    - `labels`: the tokens of the positive and the negative answer;
    - `score`: "difference" (positive minus negative logit, the log-odds) or "positive" (the positive logit alone; the
      second label may then be None);
    - `instruction`: the form around a request's instruction; `default_instruction` is used if the request has none
      ("" leaves the form out);
    - `max_images`: how many images of one side the authors' code takes; None for any number;
    - `empty`: stands for a side with neither text nor image;
    - `image`: what stands for an image; of its tokens, `image_pad` is repeated for each token of the image;
    - `escapes`: (written, shown instead) in the texts of a request, for a model whose tokenizer knows the second form
      as characters that are never a control token;
    - `strip_end`: white space at the end of a prompt with an image is removed;
    - `special_tokens`: the tokens that the tokenizer itself sets around a text are part of the prompt;
    - `flat_positions`: the model was trained with an image's tokens numbered consecutively like text, not by rows and
      columns.
    """

    name: str
    template: str
    labels: tuple[str, str | None] = ("yes", "no")
    score: Score = "difference"
    instruction: str = "{text}"
    default_instruction: str = ""
    empty: str = ""
    image: str = QWEN_IMAGE
    image_pad: str = "<|image_pad|>"
    escapes: tuple[tuple[str, str], ...] = ()
    strip_end: bool = False
    special_tokens: bool = False
    max_images: int | None = 1
    max_length: int = 3200
    min_pixels: int = 4 * 28 * 28
    max_pixels: int = 1280 * 28 * 28
    final_token: int | None = None
    flat_positions: bool = False

    def __post_init__(self) -> None:
        unknown = [name for kind, name in self.pieces if kind == "field" and name not in FIELDS]
        if unknown:
            raise ValueError(f"layout {self.name}: unknown placeholder {{{unknown[0]}}}")
        if self.score not in get_args(Score):
            raise ValueError(f"layout {self.name}: score is {self.score!r}, wanted one of {', '.join(get_args(Score))}")
        if self.score == "difference" and self.labels[1] is None:
            raise ValueError(f"layout {self.name}: a difference needs two labels")

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The template's literal texts and placeholders, in order."""
        whole = self.template
        for side in ("query", "document"):
            whole = whole.replace(f"{{{side}}}", f"{{{side}_image}}{{{side}_text}}")
        parts = _PLACEHOLDER.split(whole)
        named = (("field" if i % 2 else "text", part) for i, part in enumerate(parts))
        return tuple((kind, part) for kind, part in named if part or kind == "field")

    @cached_property
    def first(self) -> Side:
        """The side before the seam; pairs that are equal in it share a prefix."""
        order = [name for kind, name in self.pieces if kind == "field"]
        before = order[: order.index("seam")]
        return "query" if "query_text" in before else "document"


@dataclass
class Segment:
    """A part of the prompt that is tokenised separately. `literal`: control tokens in it are read as plain text."""

    text: str = ""
    literal: bool = False


@dataclass
class Rendered:
    """One pair's prompt: its segments, its images in order, and the places of its texts and its seam.

    `seam` is (segment, character); `query_text` and `document_text` are (segment, first character, one past the last).
    """

    segments: list[Segment] = field(default_factory=lambda: [Segment()])
    images: list[ImageHandle] = field(default_factory=list)
    seam: tuple[int, int] = (0, 0)
    query_text: tuple[int, int, int] | None = None
    document_text: tuple[int, int, int] | None = None

    @property
    def text(self) -> str:
        """The whole prompt as one string."""
        return "".join(segment.text for segment in self.segments)


def render(
    layout: PromptTemplate, instruction: str, query: Item, document: Item, control: Callable[[str], bool] | None = None
) -> Rendered:
    """Render a pair's prompt.

    `control` returns whether a text contains a control token. Such a text is kept literal: a document that spells a
    turn marker or an image token must not act as one. Raises AdapterError for an image on a side where the template
    has no place for it.
    """
    return _Renderer(layout, control).render(instruction, {"query": query, "document": document})


class _Renderer:
    def __init__(self, layout: PromptTemplate, control: Callable[[str], bool] | None) -> None:
        self.layout = layout
        self.control = control
        self.out = Rendered()

    def render(self, instruction: str, items: dict[str, Item]) -> Rendered:
        for kind, part in self.layout.pieces:
            if kind == "text":
                self._add(part)
            elif part == "instruction":
                self._add_instruction(instruction or self.layout.default_instruction, bool(items["query"].text))
            elif part == "seam":
                self.out.seam = self._get_place()
            elif part == "cut":
                self.out.segments.append(Segment())
            else:
                side, _, what = part.partition("_")
                self._add_image(items[side]) if what == "image" else self._add_side_text(side, items[side])
        for side, item in items.items():
            if item.images and ("field", f"{side}_image") not in self.layout.pieces:
                raise AdapterError(f"the prompt template {self.layout.name} shows no images of a {side}")
        if self.layout.strip_end and self.out.images:
            self._strip_end()
        return self.out

    def _get_place(self) -> tuple[int, int]:
        return len(self.out.segments) - 1, len(self.out.segments[-1].text)

    def _add(self, text: str) -> None:
        self.out.segments[-1].text += text

    def _strip_end(self) -> None:
        for segment in reversed(self.out.segments):
            segment.text = segment.text.rstrip()
            if segment.text:
                return

    def _add_given(self, text: str) -> tuple[int, int, int]:
        """Add a text that came from a request; return its place."""
        for written, shown in self.layout.escapes:
            text = text.replace(written, shown)
        if self.control is None or not self.control(text):
            segment, start = self._get_place()
            self._add(text)
            return segment, start, start + len(text)
        self.out.segments += [Segment(text, literal=True), Segment()]
        return len(self.out.segments) - 2, 0, len(text)

    def _add_instruction(self, instruction: str, text_follows: bool) -> None:
        if instruction:
            before, after = self.layout.instruction.split("{text}")
            self._add(before)
            self._add_given(instruction)
            # No trailing space before an empty query text: LamRA's authors strip the joined string.
            self._add(after if text_follows else after.rstrip(" "))

    def _add_image(self, item: Item) -> None:
        for image in item.images:
            self._add(self.layout.image)
            self.out.images.append(image)

    def _add_side_text(self, side: str, item: Item) -> None:
        if not item.text and not item.images:
            self._add(self.layout.empty)
            return
        place = self._add_given(item.text)
        if side == "query":
            self.out.query_text = place
        else:
            self.out.document_text = place
