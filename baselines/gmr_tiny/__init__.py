"""gmr-tiny: a Qwen2.5-VL of under a million parameters, trained here by `mrb train gmr-tiny`, with its weights beside
this file. Its card is README.md.

Run on its real weights here. It shows what training does on the mini suite and runs on any machine. On the five types
of flags and facts it is above its first stage, as its card says; outside of these its scores mean nothing. Takes text,
image and both. Licence: Apache-2.0, part of MRB.
"""

from __future__ import annotations

from pathlib import Path

from mrb.baselines.rerankers.prompt_templates import GMR_TINY_CL
from mrb.engine.yes_no import YesNo


class GMRTiny(YesNo):
    """The model that ships in this folder, or, by `path`, another that the recipe trained."""

    model = str(Path(__file__).parent)
    prompt = GMR_TINY_CL
