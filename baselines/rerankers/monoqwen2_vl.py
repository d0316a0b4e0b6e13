"""MonoQwen2-VL: lightonai/MonoQwen2-VL-v0.1, LoRA weights on Qwen/Qwen2-VL-2B-Instruct, Apache-2.0.

Prompt and score follow the model card, tested against numbers of the library rerankers, which repeats it
(tests/builders/authors/monoqwen2-vl.json): the page first, then the query; the log-odds of True over False. The model
was trained for text queries over page images; MRB uses the same sentence for other modalities, which is its own reading
(the paper reports this model on all types; how is not known). `--set base_revision=...` names the commit of the base
model. Needs peft. Never run on its real weights here.
"""

from __future__ import annotations

from mrb.baselines._util.training_data import COLPALI_DATA
from mrb.engine.published_prompts import MONOQWEN
from mrb.engine.yes_no import YesNo
from mrb.rerankers.model_card import make_engine_card
from mrb.rerankers.training_data import TrainingData


class MonoQwen2VL(YesNo):
    """lightonai/MonoQwen2-VL-v0.1."""

    card = make_engine_card(
        "2.21B",
        compared_with="the library rerankers",
        takes="text, image, both (trained for text to page)",
        peft=True,
        trained_on=TrainingData("its card: vidore/colpali_train_set", COLPALI_DATA),
    )
    model = "lightonai/MonoQwen2-VL-v0.1"
    prompt = MONOQWEN
