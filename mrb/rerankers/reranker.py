"""The contract of an adapter: what it is given (`Request`) and what it may declare.

An adapter is any object with `score(request)`, or a plain function of a request; no base class is needed. It returns
one finite number per candidate, higher is better. `docs/adapters.md` is the guide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from mrb.data.items import Item
from mrb.data.task import Modality

Kind = Literal["pointwise", "setwise", "listwise"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MODALITIES: tuple[Modality, ...] = get_args(Modality)


@dataclass(frozen=True)
class FirstStage:
    """What the first stage said of a request's candidates: ranks from 1, and its scores, in the request's order."""

    ranks: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Request:
    """One query and the candidates to score.

    `key` is opaque: it pairs an answer with its request and says nothing about the data. A pointwise adapter gets its
    candidates in a fixed hash order, the others in first-stage order. `first_stage` is there only for an adapter that
    declares `uses_first_stage = True`.
    """

    instruction: str
    query: Item
    candidates: Sequence[Item]
    key: int
    first_stage: FirstStage | None = None


class Reranker(Protocol):
    """The one method that an adapter needs. May be `async def`; then `concurrency` requests run at a time.

    Declarations (class or instance attributes, all optional):

    - `kind`: "pointwise" (default: a pair's score depends on nothing else), "setwise" or "listwise";
    - `inputs`: the modalities it takes, of "text", "image", "image+text" (default: all); a task with another modality
      on either side is reported as not covered and never scored;
    - `version`: a string that the author changes when scores change;
    - `uses_first_stage` (default False): asks for first-stage ranks and scores, which every result then shows;
    - `batch_invariant` (default False): scores are the same bits however requests are batched;
    - `concurrency` (default 8): requests in flight, for `async` adapters;
    - `check_item(item)`: raises an `MRBError` for a query or a document that it cannot score, which `mrb run --dry-run`
      then names; it should not decode pixels;
    - `close()`: called once at the end.
    """

    def score(self, request: Request) -> Sequence[float] | Awaitable[Sequence[float]]:
        """One finite number per candidate, in the order of `request.candidates`; higher is better."""
        ...


class StreamingReranker(Protocol):
    """An adapter that batches across queries."""

    def score_stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Sequence[float]]]:
        """(request.key, scores) for each request, in any order. The harness bounds how many are in flight."""
        ...


class ListwiseReranker(Protocol):
    """An adapter that returns an order rather than scores; it declares `kind = "listwise"`."""

    def rank(self, request: Request) -> Sequence[int]:
        """Positions into `request.candidates`, best first, each exactly once."""
        ...
