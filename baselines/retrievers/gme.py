"""GME (arXiv 2412.16855), the first stage of the paper's own lists, Apache-2.0.

Alibaba-NLP/gme-Qwen2-VL-2B-Instruct has 1,536 dimensions, -7B-Instruct 3,584. Prompt, pooling and L2 norm follow
modeling_gme_qwen2vl.py of the checkpoints' repositories: the image before the text, the vector at the closing
`<|endoftext|>`. Their remote code is not run: it needs transformers before 4.52. MRB loads the weights into Qwen2-VL
and refuses missing ones. The authors' code, run on tiny weights, gives the same vectors
(tests/builders/authors/gme.json) except for these differences:

- Documents always get the default instruction. Queries get the task's (`--set instruction=default` for none), ended
  with a full stop if it lacks one, as mteb's port once did (whether the published figures were made so is unconfirmed;
  the authors' code and mteb 2.26 add none).
- Images take 4 to 1,280 tokens, as in mteb's port; the authors' code says 256 to 1,280: `--set min_pixels=200704`.
- The authors truncate a prompt of over 1,800 tokens at its end; MRB truncates the text and keeps the closing tokens.
- Special tokens in a text are read as plain text. An image over the upper limit is resized once, by the authors twice.

float16 on a GPU, as the authors run it. Takes text, image and both.

An image's tokens have consecutive positions like text, without rows and columns: the authors' model
(modeling_gme_qwen2vl.py) and mteb's port both call the decoder without positions, and transformers before 4.52, which
both need, then counts the tokens. The commits are those that mteb names. Never run on its real weights here.
"""

from __future__ import annotations

from mrb.baselines._util.training_data import MBEIR_FUSED_DATA
from mrb.engine.last_token import LastToken
from mrb.engine.prompt_template import PromptTemplate
from mrb.rerankers.model_card import make_engine_card
from mrb.rerankers.training_data import TrainingData

PROMPT = PromptTemplate(
    name="gme",
    template=(
        "<|im_start|>system\n{instruction}<|im_end|>\n"
        "<|im_start|>user\n{query}<|im_end|>\n"
        "<|im_start|>assistant\n<|endoftext|>"
    ),
    default_instruction="You are a helpful assistant.",
    max_length=1800,
    min_pixels=4 * 28 * 28,
    max_pixels=1280 * 28 * 28,
    flat_positions=True,
)

TRAINED_ON = TrainingData(
    "mteb 2.26.24 for text; arXiv 2412.16855: MSCOCO and the fused sets of M-BEIR",
    ("MSMARCO", "NQ", "HotpotQA", "FEVER", "MSCOCOI2TRetrieval", "MSCOCOT2IRetrieval", *MBEIR_FUSED_DATA),
)


class GME2B(LastToken):
    """Alibaba-NLP/gme-Qwen2-VL-2B-Instruct."""

    card = make_engine_card("2.21B", trained_on=TRAINED_ON)
    model = "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct"
    revision = "ce765ae71b8cdb208203cd8fb64a170b1b84293a"
    version = "2"
    prompt = PROMPT
    half = "float16"

    def as_instruction(self, instruction: str) -> str:
        """Return the instruction, ended with a full stop."""
        return instruction + "." if instruction and not instruction.endswith(".") else instruction


class GME7B(GME2B):
    """Alibaba-NLP/gme-Qwen2-VL-7B-Instruct."""

    card = make_engine_card("8.29B", trained_on=TRAINED_ON)
    model = "Alibaba-NLP/gme-Qwen2-VL-7B-Instruct"
    revision = "477027a6480f8630363be77751f169cc3434b673"
