"""gmr-tiny: a Qwen2.5-VL with under a million parameters, trained by `mrb train gmr-tiny`; weights are in this folder.

Its model card is README.md. Run on its real weights here. It is the fixture of `mrb train` and of the engine's Qwen-VL
path, on any machine. It learnt flags and facts: on these five types it is better than its first stage, as its card
says; elsewhere its scores mean nothing. Takes text, image and both. Licence: Apache-2.0, part of MRB.
"""

from __future__ import annotations

from pathlib import Path

from mrb.engine.published_prompts import GMR_TINY_CL
from mrb.engine.yes_no import YesNo
from mrb.rerankers.model_card import ENGINE_PACKAGES, ModelCard
from mrb.rerankers.training_data import TrainingData


class GMRTiny(YesNo):
    """The model in this folder, or, with `path`, another one trained by the recipe."""

    card = ModelCard(
        "0.77M",
        checkpoint="ships with MRB",
        takes="text, image, both: trained on flags and facts only",
        run_here="yes",
        compared_with="trained and run here",
        extra="models",
        packages=ENGINE_PACKAGES,
        trained_on=TrainingData(
            "its recipe",
            tasks=("mini-fact-it2it", "mini-fact-it2t", "mini-flag-i2t", "mini-flag-t2i", "mini-flag-t2it"),
        ),
    )
    model = str(Path(__file__).parent)
    prompt = GMR_TINY_CL
