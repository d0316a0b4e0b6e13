"""Base class of embedding models that use the hidden state of the prompt's last token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from mrb.data.items import Item
from mrb.engine.family import CAUSAL, ModelFamily
from mrb.engine.prompt_template import PromptTemplate
from mrb.engine.vector_reranker import EncoderReranker
from mrb.errors import AdapterError
from mrb.rerankers.plugins import RETRIEVERS, find_installed_name

if TYPE_CHECKING:
    from mrb.retrieval.retriever import Float32


class LastToken(EncoderReranker):
    """An encoder, and a reranker by cosine: a vector is the last hidden state of the prompt's last token, of length 1.

    A subclass states its checkpoint and its prompt:

    - `model`, `revision`: a Hub repository and the commit to load; None where the user must name one;
    - `prompt`: the prompt template, with a query side only; documents get its default instruction;
    - `half`: the dtype on a GPU unless the user names one;
    - `as_instruction`, where the model needs a task's instruction in another form.
    """

    version = "1"
    model: str | None = None
    revision: str | None = None
    prompt: PromptTemplate
    family: ModelFamily = CAUSAL
    half = "bfloat16"
    ignored: Sequence[str] = (r"^lm_head\.",)
    batch_size = 256

    def __init__(
        self,
        path: str | None = None,
        revision: str | None = None,
        instruction: Literal["task", "default"] = "task",
        device: str = "auto",
        dtype: str = "auto",
        attention: str | None = None,
        max_length: int | None = None,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        batch_tokens: int = 0,
        cache_mb: int = 256,
        image_threads: int = 0,
        shard_rows: int = 1024,
        base: str | None = None,
        base_revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Load the model. Options not listed here are those of `mrb.engine.yes_no.YesNo`.

        Args:
            path: Local folder or ORGANISATION/NAME, instead of the retriever's own checkpoint.
            revision: Commit of `path`.
            instruction: What queries get: the task's instruction ("task") or the model's default ("default").
            shard_rows: Vectors per file; a killed command may have to compute so many again.

        Raises:
            AdapterError: Something is missing or does not fit.
        """
        given = locals()  # the options, before other names join them
        from mrb.engine.checkpoint import require

        self.name = find_installed_name(type(self), RETRIEVERS)
        if instruction not in ("task", "default"):
            raise AdapterError(f"{self.name}: instruction={instruction}: there are task and default")
        if shard_rows < 1:
            raise AdapterError(f"{self.name}: shard_rows={shard_rows}: wanted a whole number from 1")
        require(self.name, "torch", "transformers")
        from mrb.engine.checkpoint import get_device
        from mrb.engine.factory import Options, build_embedder

        if dtype == "auto" and get_device(device).type == "cuda":
            dtype = self.half
        self.layout = self.prompt
        self.max_images = self.prompt.max_images
        self.shard_rows = shard_rows
        self._uses_task = instruction == "task"
        options = Options.select(
            given,
            path=path or self.model,
            revision=revision if path else revision or self.revision,
            dtype=dtype,
            share_prefix=False,
        )
        self.embedder, weights = build_embedder(self, options)
        self.revision = options.revision
        self.dtype = str(self.embedder.backbone.dtype).removeprefix("torch.")
        # Other weights in the same folder give other vectors.
        self.version = f"{self.version}+{weights}"

    def encode_queries(self, items: Sequence[Item], instruction: str) -> Float32:
        """Return float32 (n, hidden), rows of length 1, under the task's instruction unless configured otherwise."""
        return self.embedder.embed(self.as_instruction(instruction) if self._uses_task else "", items)

    def encode_documents(self, items: Sequence[Item]) -> Float32:
        """Return float32 (n, hidden), rows of length 1, always under the model's default instruction."""
        return self.embedder.embed("", items)

    def as_instruction(self, instruction: str) -> str:
        """Return a task's instruction in the form that the model was trained with."""
        return instruction

    def close(self) -> None:
        """Log how much text was truncated, and free the model's threads and caches."""
        self.embedder.stats.warn_of_cuts(self.name, "items", self.embedder.prompter.max_length)
        self.embedder.close()
        self.forget_vectors()
