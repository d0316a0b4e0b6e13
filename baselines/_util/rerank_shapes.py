"""The forms in which rerank servers take a query with documents and give scores: what `rerank-api` calls a shape.

Sources: docs.cohere.com/reference/rerank and jina.ai/reranker (`cohere`); vllm-project/vllm, docs/models/pooling_models
and examples/pooling/score/vision_rerank_api_online.py (`vllm`); openrouter.ai/docs, .../rerank/create-rerank.md
and client-sdks/python/operations/document.md (`openrouter`); huggingface/text-embeddings-inference, `POST /rerank`
(`tei`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mrb.baselines._util.data_urls import encode_data_url, make_content
from mrb.data.items import Item
from mrb.data.task import MODALITIES, Modality

ShapeName = Literal["vllm", "cohere", "openrouter", "tei"]


@dataclass(frozen=True)
class Shape:
    """One form of calls and answers.

    Args:
        documents: The field of the documents.
        score: The field of a score in an answer.
        results: The field of the answer that lists the results; None: the answer is the list.
        names_model: The call has the model's name and the number of results wanted.
        queries: What a query may hold.
        candidates: What a document may hold.
        several_images: A query or document may hold more than one image.
        most_documents: How many documents a call has unless the user says otherwise.
        fields: Further fields, which the user may replace.
        write_query: Makes the query.
        write_document: Makes a document.
    """

    documents: str = "documents"
    score: str = "relevance_score"
    results: str | None = "results"
    names_model: bool = True
    queries: tuple[Modality, ...] = ("text",)
    candidates: tuple[Modality, ...] = ("text",)
    several_images: bool = False
    most_documents: int = 100
    fields: tuple[tuple[str, Any], ...] = ()
    write_query: Callable[[Item], Any] = lambda item: item.text
    write_document: Callable[[Item], Any] = lambda item: item.text

    @property
    def own_fields(self) -> tuple[str, ...]:
        """The fields of a call that the adapter sets."""
        return ("model", "query", self.documents, "top_n") if self.names_model else ("query", self.documents)

    def make_fields(self, model: str, query: Item, documents: Sequence[Item]) -> dict[str, Any]:
        """Return the fields of a call."""
        found = {"query": self.write_query(query), self.documents: [self.write_document(item) for item in documents]}
        # Some servers return only the best few by default.
        return {"model": model, **found, "top_n": len(documents)} if self.names_model else found

    def find_results(self, answer: object) -> list[Any] | None:
        """Return the results of an answer, None if it has none."""
        found = answer if self.results is None else answer.get(self.results) if isinstance(answer, dict) else None
        return found if isinstance(found, list) else None


def _write_parts(item: Item) -> str | dict[str, str]:
    """Return a document with its text and image under their own names, as OpenRouter takes it."""
    if item.image is None:
        return item.text
    return {**({"text": item.text} if item.text else {}), "image": encode_data_url(item.image)}


SHAPES: dict[ShapeName, Shape] = {
    "vllm": Shape(
        queries=MODALITIES,
        candidates=MODALITIES,
        several_images=True,
        write_query=make_content,
        write_document=make_content,
    ),
    "cohere": Shape(),
    "openrouter": Shape(candidates=MODALITIES, write_document=_write_parts),
    "tei": Shape(
        documents="texts",
        score="score",
        results=None,
        names_model=False,
        most_documents=32,  # the server's own --max-client-batch-size
        fields=(("raw_scores", True),),  # a sigmoid makes ties
    ),
}
