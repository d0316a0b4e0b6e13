"""`rerank-api`: an adapter for any HTTP server with a rerank call: Cohere, Jina, vLLM, OpenRouter, TEI.

The forms of calls and answers, with their sources, are in `mrb.baselines._util.rerank_shapes`. Images are sent as data
URLs. Never run against a hosted service or a served model here: tested with a local server that checks the format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mrb.baselines._util.http_client import Service, ServiceError
from mrb.baselines._util.rerank_shapes import SHAPES, ShapeName
from mrb.data.inputs import PLURAL, Side, StatedInputs
from mrb.data.items import Item
from mrb.data.task import Modality
from mrb.errors import AdapterError
from mrb.rerankers.declaration import parse_inputs
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.reranker import Request


class RerankAPI:
    """Gets scores from a rerank server, several requests at a time.

    Options: `url` (full address of the call), `model` (its name on the server), `shape` (form of calls and answers:
    "vllm", with images as content parts; "cohere", also Jina's, texts alone; "openrouter"; "tei"), `api_key_env` (name
    of the environment variable with the key, sent as a bearer token), `inputs` (what the served model takes: a list, or
    an object with the lists `query` and `document`; default text), `max_images` (how many of one query or document;
    null: any number), `kind` ("setwise" for a model that reads all documents together), `timeout` (seconds per
    attempt), `retries` (further attempts after 429, 5xx, a lost connection or a time-out), `requests_per_minute`,
    `max_documents` (per call, longer lists are split; default: 32 for tei, else 100), `concurrency`,
    `instruction_field` (field for the task's instruction; not sent by default), `extra` (further fields of every call,
    as JSON; published with results).

    Covers what `inputs` and `max_images` say. Licence: that of the service; the adapter is Apache-2.0, part of MRB.
    """

    card = ModelCard(
        licence="the server's", checkpoint="a server's", takes="text, image, both", run_here="-", server=True
    )
    version = "1"

    def __init__(
        self,
        url: str,
        model: str,
        shape: ShapeName = "vllm",
        api_key_env: str | None = None,
        inputs: StatedInputs = ("text",),
        max_images: int | None = 1,
        kind: Literal["pointwise", "setwise"] = "pointwise",
        timeout: float = 60.0,
        retries: int = 6,
        requests_per_minute: float | None = None,
        max_documents: int | None = None,
        concurrency: int = 8,
        instruction_field: str | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self._shape = SHAPES[shape]
        fields = {**dict(self._shape.fields), **(extra or {})}
        taken = [name for name in (*fields, instruction_field) if name in self._shape.own_fields]
        if taken:
            raise AdapterError(f"rerank-api: the field {taken[0]!r} is set by the adapter itself; leave it out")
        if max_documents is None:
            max_documents = self._shape.most_documents
        if max_documents < 1:
            raise AdapterError(f"rerank-api: max_documents is {max_documents}, wanted a whole number from 1")
        if max_images != 1 and not self._shape.several_images:
            raise AdapterError(f"rerank-api: shape={shape} takes one image; max_images is for shape=vllm")
        self.model = model
        self.inputs: StatedInputs = _fit_inputs(inputs, shape)
        self.max_images = max_images
        self.kind = kind
        self.max_documents = max_documents
        self.concurrency = concurrency
        self.instruction_field = instruction_field
        self.extra = fields
        self._service = Service(
            url,
            api_key_env,
            timeout=timeout,
            retries=retries,
            requests_per_minute=requests_per_minute,
            connections=concurrency,
        )

    async def score(self, request: Request) -> list[float]:
        """Return the server's relevance score of each candidate, unchanged. ServiceError says what went wrong."""
        candidates = request.candidates
        if self.kind == "setwise" and len(candidates) > self.max_documents:
            raise ServiceError(
                f"{len(candidates)} candidates and max_documents={self.max_documents}: the list of a setwise model "
                "cannot be cut into several calls"
            )
        scores: list[float] = []
        for start in range(0, len(candidates), self.max_documents):
            part = candidates[start : start + self.max_documents]
            answer = await self._service.post(self._make_body(request, part))
            scores += self._read_scores(answer, len(part))
        return scores

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()

    def _make_body(self, request: Request, part: Sequence[Item]) -> bytes:
        fields = {**self.extra, **self._shape.make_fields(self.model, request.query, part)}
        if self.instruction_field is not None:
            fields[self.instruction_field] = request.instruction
        return json.dumps(fields).encode()

    def _read_scores(self, answer: object, count: int) -> list[float]:
        """Return the scores in document order; each index must occur once, each score must be finite."""
        shape = self._shape
        results = shape.find_results(answer)
        if results is None:
            raise self._service.make_error(f"no list {shape.results!r} in it" if shape.results else "no list", answer)
        found: dict[int, float] = {}
        for entry in results:
            fields = entry if isinstance(entry, dict) else {}
            index, score = fields.get("index"), fields.get(shape.score)
            if type(index) is not int or not 0 <= index < count:
                raise self._service.make_error(f"index {index!r}, asked about {count} documents", entry)
            if index in found:
                raise self._service.make_error(f"index {index} twice", entry)
            number = _to_finite(score)
            if number is None:
                raise self._service.make_error(
                    f"{shape.score} {score!r} of document {index} is no finite number", entry
                )
            found[index] = number
        if len(found) < count:
            absent = next(index for index in range(count) if index not in found)
            raise self._service.make_error(f"no score for document {absent} of {count}", answer)
        return [found[index] for index in range(count)]


def _fit_inputs(stated: StatedInputs, shape: ShapeName) -> StatedInputs:
    """Return what is stated, by side. One list for both sides loses what the shape's queries cannot hold.

    Raises AdapterError if the shape cannot hold something that is stated for documents, or for queries alone.
    """
    inputs, queries = parse_inputs("rerank-api", stated), SHAPES[shape].queries
    _check_side(shape, "document", inputs.document, SHAPES[shape].candidates)
    if isinstance(stated, Mapping):
        _check_side(shape, "query", inputs.query, queries)
        return {"query": inputs.query, "document": inputs.document}
    held = tuple(modality for modality in inputs.query if modality in queries)
    return {"query": held or queries, "document": inputs.document}


def _check_side(shape: ShapeName, side: Side, stated: Sequence[Modality], taken: Sequence[Modality]) -> None:
    for modality in stated:
        if modality not in taken:
            raise AdapterError(f"rerank-api: shape={shape} takes {PLURAL[side]} of {', '.join(taken)}, not {modality}")


def _to_finite(value: object) -> float | None:
    """Return `value` as a float if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond the range of floats
        return None
