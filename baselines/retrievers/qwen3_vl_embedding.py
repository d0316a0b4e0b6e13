"""Qwen3-VL-Embedding (arXiv 2601.04720): Qwen/Qwen3-VL-Embedding-2B (2,048 dimensions) and -8B (4,096), Apache-2.0.

Prompt as in QwenLM/Qwen3-VL-Embedding, src/models/qwen3_vl_embedding.py, tested against numbers of that code
(tests/builders/authors/qwen3-vl-embedding.json): the instruction is the system turn and gets a full stop if it ends
without punctuation, the images come before the text, an empty item is NULL. The vector is read at the closing
`<|endoftext|>`, which the checkpoint's tokenizer adds to the authors' prompt (unconfirmed on the checkpoint itself).
Documents get the default instruction, queries the task's (`--set instruction=default` for none). A prompt of over 8,192
tokens loses text, as in the authors' code. Images take 4 to 1,800 tokens of 32 x 32 pixels; the authors' code resizes
with qwen_vl_utils, MRB with the checkpoint's own image processor and the same limits. Vectors keep their full
dimensions. Takes text, image and both. The commits are those that mteb names.
Never run on its real weights here.
"""

from __future__ import annotations

import unicodedata

from mrb.engine.last_token import LastToken
from mrb.engine.prompt_template import PromptTemplate
from mrb.rerankers.model_card import make_engine_card

PROMPT = PromptTemplate(
    name="qwen3-vl-embedding",
    template=(
        "<|im_start|>system\n{instruction}<|im_end|>\n"
        "<|im_start|>user\n{query}<|im_end|>\n"
        "<|im_start|>assistant\n<|endoftext|>"
    ),
    default_instruction="Represent the user's input.",
    empty="NULL",
    max_images=None,
    max_length=8192,
    min_pixels=4 * 32 * 32,
    max_pixels=1800 * 32 * 32,
)


class Qwen3VLEmbedding2B(LastToken):
    """Qwen/Qwen3-VL-Embedding-2B."""

    card = make_engine_card("2B")
    model = "Qwen/Qwen3-VL-Embedding-2B"
    revision = "9f2f7e710d6d81056aa5c0a4f04764fec6bb7bda"
    prompt = PROMPT

    def as_instruction(self, instruction: str) -> str:
        """Return the instruction without surrounding white space, ended with punctuation."""
        stripped = instruction.strip()
        if stripped and not unicodedata.category(stripped[-1]).startswith("P"):
            return stripped + "."
        return stripped


class Qwen3VLEmbedding8B(Qwen3VLEmbedding2B):
    """Qwen/Qwen3-VL-Embedding-8B."""

    card = make_engine_card("8B")
    model = "Qwen/Qwen3-VL-Embedding-8B"
    revision = "2c4565515e0f265c6511776e7193b22c0968ddc7"
