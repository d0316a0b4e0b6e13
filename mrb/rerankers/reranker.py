"""The contract of an adapter: its input (`Request`), its methods and its declarations.

An adapter is any object with `score(request)`, or a plain function of a request; no base class is needed. It returns
one finite number per candidate; higher is better. `docs/adapters.md` is the guide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, get_args

from mrb.data.items import Item
from mrb.results.schema import Kind

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class FirstStage:
    """First-stage ranks (from 1) and scores of a request's candidates, in the request's order."""

    ranks: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Request:
    """One query and the candidates to score.

    `instruction` is that of the task. `key` pairs an answer with its request and carries no information about the data.
    A pointwise adapter gets its candidates in a fixed hash order, other adapters in first-stage order. `first_stage` is
    None unless the adapter declares `uses_first_stage = True`.
    """

    instruction: str
    query: Item
    candidates: Sequence[Item]
    key: int
    first_stage: FirstStage | None = None


class Reranker(Protocol):
    """The one method that an adapter needs. It may be `async def`; then `concurrency` requests run at a time.

    Optional declarations (class or instance attributes) and methods:

    - `kind`: "pointwise" (default: a score depends on its pair only), "setwise" or "listwise";
    - `inputs`: the modalities it takes, of "text", "image", "image+text" (default: all): one collection for both sides,
      or `{"query": ..., "document": ...}`; a task with another modality on a side is reported as not covered and never
      scored;
    - `max_images` (default 1): how many images of one query or document it takes, None for any number; a task whose
      items may have more is reported as not covered and never scored;
    - `version`: a string that the author changes when scores change;
    - `uses_first_stage` (default False): requests carry first-stage ranks and scores, and every result shows this;
    - `batch_invariant` (default False): scores are bit-identical however requests are batched;
    - `concurrency` (default 8): requests in flight, for `async` adapters;
    - `check_item(item)`: raises an `MRBError` for a query or document that it cannot score, so that `mrb run --dry-run`
      can name it; it should not decode pixels;
    - `close()`: called once at the end.
    """

    def score(self, request: Request) -> Sequence[float] | Awaitable[Sequence[float]]:
        """Return one finite number per candidate, in the order of `request.candidates`; higher is better."""
        ...


class StreamingReranker(Protocol):
    """An adapter that batches across queries."""

    def score_stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Sequence[float]]]:
        """Yield (request.key, scores) for each request, in any order. MRB limits the number of requests in flight."""
        ...


class ListwiseReranker(Protocol):
    """An adapter that returns an order instead of scores. It must declare `kind = "listwise"`."""

    def rank(self, request: Request) -> Sequence[int]:
        """Return the positions in `request.candidates`, best first, each exactly once."""
        ...
