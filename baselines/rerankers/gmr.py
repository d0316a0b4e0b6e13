"""GMR-3B and GMR-7B (arXiv 2510.14824): the paper's rerankers on Qwen2.5-VL, with the prompt of their training.

GMR-7B: vec-ai/lychee-rerank-mm, Apache-2.0, at the commit of its model card that was read (`--set revision=` names
another). GMR-3B: no public checkpoint is known (the name in its model card, vec-ai/lychee-rerank-mm-3b, was removed and
is unconfirmed), so its folder must be named: `--set path=...`.
`--set layout=gmr-cl` scores a contrastively trained (CL) checkpoint as its loss does, by the logit of "yes". The
prompt's source is a public script that runs the 7B model; the authors' code is not public. Tested against numbers of
Qwen3-VL-Reranker's script, whose prompt has the same form (tests/builders/authors/gmr.json). Takes text, image and
both, one image per side.
Never run on their real weights here.
"""

from __future__ import annotations

from mrb.engine.published_prompts import GMR, GMR_CL
from mrb.engine.yes_no import YesNo
from mrb.rerankers.model_card import make_engine_card


class GMR7B(YesNo):
    """vec-ai/lychee-rerank-mm."""

    card = make_engine_card("8.29B", compared_with="a script of the same form")
    model = "vec-ai/lychee-rerank-mm"
    revision = "6d5f4f5f687956e48e192a975627016eb55846bc"
    prompt = GMR
    other_prompts = (GMR_CL,)


class GMR3B(YesNo):
    """The 3B model, whose Hub id is unconfirmed: name a folder."""

    card = make_engine_card(
        "3.75B", "unconfirmed", "a script of the same form", checkpoint="unconfirmed: name a folder", needs=("path",)
    )
    prompt = GMR
    other_prompts = (GMR_CL,)
