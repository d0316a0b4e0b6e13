"""A saved text reranker as a CrossEncoder of sentence-transformers: its prompt as a template, its score as modules.

The files are those that sentence-transformers 6.2 writes (`CrossEncoder.save`): a `Transformer` that gives the last
token's logits, and a `LogitScore` that reads the labels'. The instruction is the `system` message, which
`CrossEncoder.predict(..., prompt=...)` sets.
"""

from __future__ import annotations

import json
from pathlib import Path

from mrb._util.files import write_bytes, write_json
from mrb.engine.prompt_template import Layout

_PACKAGE = "sentence_transformers"
_SCORE = "1_LogitScore"


def fits(layout: Layout) -> bool:
    """Whether a chat template can say the layout's prompt: one string, with nothing after it."""
    return layout.final_token is None and ("field", "cut") not in layout.pieces


def write_cross_encoder(folder: Path, layout: Layout, positive: int, negative: int | None) -> None:
    """Put what a CrossEncoder needs beside the weights and the tokenizer in `folder`.

    `positive` and `negative` are the ids of the labels; scores are those that MRB ranks by, so no sigmoid is applied.
    """
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{_PACKAGE}.base.modules.transformer.Transformer"},
        {"idx": 1, "name": "1", "path": _SCORE, "type": f"{_PACKAGE}.cross_encoder.modules.logit_score.LogitScore"},
    ]
    logits = {"method": "forward", "method_output_name": "logits"}
    write_json(folder / "modules.json", modules)
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "text-generation",
            "modality_config": {"text": logits, "message": {**logits, "format": "flat"}},
            "module_output_name": "causal_logits",
        },
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.linear.Identity", "prompts": {}},
    )
    score = {
        "true_token_id": positive,
        "false_token_id": negative if layout.score == "difference" else None,
        "module_input_name": "causal_logits",
    }
    write_json(folder / _SCORE / "config.json", score)
    write_bytes(folder / "chat_template.jinja", chat_template(layout).encode())


def chat_template(layout: Layout) -> str:
    """The layout's prompt of a pair of texts as a Jinja template over messages of the roles system, query, document."""

    def content(role: str) -> str:
        return f'(messages | selectattr("role", "equalto", "{role}") | map(attribute="content") | first | default(""))'

    before, _, after = layout.instruction.partition("{text}")
    default = json.dumps(layout.default_instruction)
    parts = [f"{{%- set instruction = {content('system')} or {default} -%}}"]
    for kind, part in layout.pieces:
        if kind == "text":
            parts.append(f"{{{{- {json.dumps(part)} -}}}}")
        elif part == "instruction":
            form = f"{json.dumps(before)} ~ instruction ~ {json.dumps(after)}"
            parts.append(f'{{{{- ({form}) if instruction else "" -}}}}')
        elif part in ("query_text", "document_text"):
            parts.append(f"{{{{- {content(part.removesuffix('_text'))} or {json.dumps(layout.empty)} -}}}}")
    return "".join(parts) + "\n"
