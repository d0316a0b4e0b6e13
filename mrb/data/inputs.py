"""What a reranker takes as queries and as documents: the value type `Inputs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_serializer, model_validator

from mrb._util.model import Model
from mrb.data.task import MODALITIES, Modality, Task

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

Side = Literal["query", "document"]
SIDES: tuple[Side, ...] = ("query", "document")
PLURAL = {"query": "queries", "document": "documents"}

StatedInputs = tuple[Modality, ...] | dict[Side, tuple[Modality, ...]]
"""The form in which an adapter declares its inputs: one collection for both sides, or one per side."""


_IN_FILES = "The modalities that the reranker takes: one list for both sides, or a list for each side."


class Inputs(Model):
    """The modalities that a reranker takes on each side.

    A file holds one list if both sides take the same, else an object with the keys `query` and `document`.

    Example:
        >>> inputs = Inputs(query=("text",), document=("text", "image"))
        >>> inputs.format()
        'queries: text; documents: text, image'
    """

    query: Annotated[tuple[Modality, ...], Field(min_length=1, max_length=len(MODALITIES))]
    document: Annotated[tuple[Modality, ...], Field(min_length=1, max_length=len(MODALITIES))]

    @classmethod
    def both(cls, *modalities: Modality) -> Self:
        """Return inputs whose two sides are the same."""
        return cls(query=modalities, document=modalities)

    def find_uncovered(self, task: Task) -> str | None:
        """Return which side of `task` is not taken and what that side takes, or None if both are taken."""
        needed: dict[Side, Modality] = {"query": task.query_modality, "document": task.document_modality}
        missing = [side for side, modality in needed.items() if modality not in self._get_side(side)]
        if not missing:
            return None
        found = " and ".join(f"{PLURAL[side]} are {needed[side]}" for side in missing)
        if self.query == self.document:
            return f"{found}; the reranker takes {self.format()}"
        taken = " and ".join(f"{PLURAL[side]} of {', '.join(self._get_side(side))}" for side in missing)
        return f"{found}; the reranker takes {taken}"

    def format(self) -> str:
        """Return the inputs in words: one list if both sides are the same, else both with the side's name."""
        if self.query == self.document:
            return ", ".join(self.query)
        return "; ".join(f"{PLURAL[side]}: {', '.join(self._get_side(side))}" for side in SIDES)

    def add(self, other: Inputs) -> Inputs:
        """Return inputs that take, on each side, what either of the two takes."""
        return Inputs(
            query=tuple(m for m in MODALITIES if m in (*self.query, *other.query)),
            document=tuple(m for m in MODALITIES if m in (*self.document, *other.document)),
        )

    def _get_side(self, side: Side) -> tuple[Modality, ...]:
        return self.query if side == "query" else self.document

    @model_validator(mode="before")
    @classmethod
    def _read_stated(cls, value: Any) -> Any:
        # Tuples, because strict mode takes no list for a tuple after a validator has touched the value.
        if isinstance(value, list | tuple):
            return {side: tuple(value) for side in SIDES}
        if isinstance(value, dict):
            return {side: tuple(taken) if isinstance(taken, list) else taken for side, taken in value.items()}
        if not isinstance(value, Inputs):
            raise ValueError("wanted a list of modalities, or an object with the lists query and document")
        return value

    @model_serializer(mode="plain")
    def _write_stated(self) -> Any:
        # One list for equal sides: results from before the sides were told apart keep their bytes.
        return self.query if self.query == self.document else {"query": self.query, "document": self.document}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        side = {"type": "array", "items": {"enum": list(MODALITIES), "type": "string"}, "minItems": 1, "maxItems": 3}
        sides = {
            "type": "object",
            "properties": dict.fromkeys(SIDES, side),
            "required": list(SIDES),
            "additionalProperties": False,
        }
        return {"title": "Inputs", "description": _IN_FILES, "anyOf": [side, sides]}
