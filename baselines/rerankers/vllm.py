"""`vllm`: a reranker that vLLM loads and runs in this process (`LLM.score`), without a server.

Written for vLLM 0.33.0 (Apache-2.0), from the source in its wheel (`entrypoints/pooling/offline.py`, `scoring/`); names
have changed between releases and may again. Never run with vLLM here, which needs a GPU and its own torch: tested with
a stand-in that takes the same arguments. Licence of the weights: each model's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from mrb._util.hashing import hash_file
from mrb.baselines._util.data_urls import make_content
from mrb.baselines._util.lazy_import import check_model_path, import_or_refuse
from mrb.data.inputs import StatedInputs
from mrb.engine.identity import hash_loaded_checkpoint
from mrb.errors import AdapterError, to_one_line
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.reranker import Request

_INSTALL = "pip install vllm==0.33.0, in an environment of its own, with MRB"


class VLLM:
    """Scores are a cross-encoder's raw logits (`use_activation=False`): a sigmoid would tie scores far from 0.5.

    Options: `model` (Hub id or folder), `revision`, `inputs` (what the model takes; default text), `max_images` (how
    many of one query or document; null: any number; vLLM has a limit of its own per prompt), `hf_overrides` (JSON, as
    `vllm serve --hf-overrides`), `chat_template` (a file with the prompt of the model's training; without it many
    models give plausible wrong scores), `dtype`, `max_model_len`, `gpu_memory_utilization`, `max_tokens_per_doc`
    (longer texts are truncated; vLLM aborts the run at a prompt that is too long), `instruction` (pass the task's
    instruction to the template as `instruction`).

    Covers what `inputs` and `max_images` say. Remote code is never run.
    """

    card = ModelCard(
        licence="its own",
        checkpoint="what vLLM 0.33 scores",
        takes="what it takes",
        run_here="never: vLLM needs a GPU; tested against a stand-in",
        packages=("vllm",),
        gpu="needed",
    )
    kind = "pointwise"

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        inputs: StatedInputs = ("text",),
        max_images: int | None = 1,
        hf_overrides: dict[str, Any] | None = None,
        chat_template: Path | None = None,
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        max_model_len: int | None = None,
        gpu_memory_utilization: float = 0.92,
        max_tokens_per_doc: int | None = None,
        instruction: bool = False,
    ) -> None:
        check_model_path("vllm", model, option="model")
        self.inputs = inputs
        self.max_images = max_images
        self._template, template = _read_template(chat_template)
        if instruction and self._template is None:
            raise AdapterError("vllm: instruction=true needs a chat_template that has a place for it")
        self._instruction = instruction
        self._limits = {} if max_tokens_per_doc is None else {"max_tokens_per_doc": max_tokens_per_doc}
        library = import_or_refuse("vllm", "vllm", _INSTALL)
        self.version = f"1, vllm {library.__version__}{template}"
        self._params = library.PoolingParams
        self._llm = library.LLM(
            model=model,
            revision=revision,
            tokenizer_revision=revision,
            runner="pooling",
            hf_overrides=hf_overrides,
            dtype=dtype,
            max_model_len=max_model_len,
            gpu_memory_utilization=gpu_memory_utilization,
            trust_remote_code=False,
        )
        self.version += f", weights {hash_loaded_checkpoint(model, revision)}"

    def score(self, request: Request) -> list[float]:
        """Return one logit per candidate.

        Raises RuntimeError if vLLM failed on one; vLLM itself would return 0 for it.
        """
        found = self._llm.score(
            make_content(request.query),
            [make_content(candidate) for candidate in request.candidates],
            use_tqdm=False,
            pooling_params=self._params(use_activation=False, extra_kwargs=self._make_arguments(request.instruction)),
            chat_template=self._template,
        )
        for position, output in enumerate(found):
            if output.error is not None:
                raise RuntimeError(f"candidate {position + 1} of {len(found)}: {to_one_line(output.error, 200)}")
        return [float(output.outputs.score) for output in found]

    def close(self) -> None:
        """Free the engine."""
        self._llm = None

    def _make_arguments(self, instruction: str) -> dict[str, Any] | None:
        """Return the arguments of the prompt besides query and document."""
        shown = {"chat_template_kwargs": {"instruction": instruction}} if self._instruction else {}
        return {**self._limits, **shown} or None


def _read_template(template: Path | None) -> tuple[str | None, str]:
    """Return the template's text, and its hash as part of the adapter's version."""
    if template is None:
        return None, ""
    try:
        return template.read_text(encoding="utf-8"), f", template {hash_file(template)[:12]}"
    except (OSError, UnicodeDecodeError) as error:
        raise AdapterError(f"vllm: chat_template={template}: {to_one_line(error)}") from error
