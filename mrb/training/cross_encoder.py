"""Save a text reranker so that sentence-transformers loads it as a CrossEncoder.

The files are those that sentence-transformers 6.2 writes (`CrossEncoder.save`): a `Transformer` module that returns the
last token's logits, a `LogitScore` module that reads the labels' logits, and the prompt as a chat template. The
instruction is the `system` message, set by `CrossEncoder.predict(..., prompt=...)`.
"""

from __future__ import annotations

import json
from pathlib import Path

from mrb._util.files import write_bytes, write_json
from mrb.engine.prompt_template import PromptTemplate

_PACKAGE = "sentence_transformers"
_SCORE = "1_LogitScore"


def fits(layout: PromptTemplate) -> bool:
    """Return whether a chat template can express the prompt: one string, with no token added after it."""
    return layout.final_token is None and ("field", "cut") not in layout.pieces


def write_cross_encoder(folder: Path, layout: PromptTemplate, positive: int, negative: int | None) -> None:
    """Write the CrossEncoder files next to the weights and the tokenizer in `folder`.

    `positive` and `negative` are the label token ids. Scores are those that MRB ranks by, so no sigmoid is applied.
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


def chat_template(layout: PromptTemplate) -> str:
    """Return the prompt of a text pair as a Jinja template over messages with the roles system, query and document."""

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
