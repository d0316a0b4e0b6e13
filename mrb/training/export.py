"""Save what was trained so that MRB and other programs can load it.

LoRA weights are saved as a folder that names its base, a whole model as a folder like the one it came from. Trained
label rows that differ from the head's rows of the label tokens are written into the head of a whole model if the head
is not tied to the input embeddings and each label is one token; otherwise they are saved next to the weights, in a file
that MRB's engine reads (`mrb.engine.head.ROWS_FILE`). A text model whose label rows are in its head is also saved as a
CrossEncoder of sentence-transformers, with the files that sentence-transformers 6.2 writes (`CrossEncoder.save`): a
`Transformer` module that returns the last token's logits, a `LogitScore` module that reads the labels' logits, and the
prompt as a chat template. The instruction is the `system` message, set by `CrossEncoder.predict(..., prompt=...)`. A
prompt over `max_seq_length` loses its end, and what the template adds after the document is put back: so the document
gives way, as in MRB. A vision-language model is not saved as a CrossEncoder, though sentence-transformers 6.2 takes
images. Of a prompt with an image that is too long it does not put the end back, so its score would be read elsewhere.
And it resizes images with torchvision, which gives other pixels: `backend="pil"`, which chooses Pillow, reaches the
processor's video part too, which refuses it. The card shows how transformers scores such a model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mrb._util.files import read_json, write_bytes, write_json
from mrb.engine.head import ROWS_FILE
from mrb.engine.prompt import resolve_label_ids
from mrb.engine.prompt_template import PromptTemplate
from mrb.errors import TrainingError
from mrb.training.encoder import is_encoder, write_pair_encoder
from mrb.training.model import Learner, Start

STATE_FILE = "trained.safetensors"
"""In a checkpoint for resuming: the trained parameters, in the precision in which they are held."""
COPIED = (
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "generation_config.json",
    "chat_template.json",
    "chat_template.jinja",
)
"""Files copied from the base's folder, in addition to weights, configuration and tokenizer."""

_PACKAGE = "sentence_transformers"
_SCORE = "1_LogitScore"
Rows = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Exporter:
    """Saves a learner into folders and restores it.

    `base` and `revision` are named as the base of LoRA weights: a Hub repository and its commit, or a local folder. A
    whole model is written in `dtype`. `max_length` is the longest prompt, in tokens. `merge`: LoRA weights become a
    whole model.
    """

    learner: Learner
    start: Start
    base: str
    revision: str | None
    dtype: torch.dtype
    max_length: int
    merge: bool

    def save(self, folder: Path, state: Mapping[str, Tensor] | None = None, *, final: bool = True) -> None:
        """Write weights, configuration and tokenizer into `folder`.

        `state` holds the learner's parameters by name if they were gathered from several processes. LoRA weights are
        merged only into a `final` model, not into a checkpoint.
        """
        folder.mkdir(parents=True, exist_ok=True)
        held = dict(self.learner.named_parameters()) if state is None else state
        rows = held["rows.yes"].detach().cpu(), held["rows.no"].detach().cpu()
        if is_encoder(self.learner.base.config):
            self._save_encoder(folder, rows)
            return
        given = {name.removeprefix("model."): v for name, v in (state or {}).items() if name.startswith("model.")}
        if self.learner.has_lora and not (self.merge and final):
            self._save_lora(folder, given or None)
            apart = not self._equals_head(rows)
        else:
            weights = given or self.learner.model.state_dict()
            apart = self._save_whole(folder, rows, self._merge(weights) if self.learner.has_lora else weights)
        self.start.tokenizer.save_pretrained(folder)
        if apart:
            save_file({"yes": rows[0].contiguous(), "no": rows[1].contiguous()}, folder / ROWS_FILE)
        elif self.learner.tower is None and can_express(self.start.layout):
            positive, negative = resolve_label_ids(self.start.tokenizer, self.start.layout)
            write_cross_encoder(folder, self.start.layout, positive, negative, self.max_length)

    def _save_encoder(self, folder: Path, rows: Rows) -> None:
        """Save an encoder, LoRA weights merged, with its label rows as a linear layer and in a file of their own."""
        weights = self.learner.model.state_dict()
        merged = self._merge(weights) if self.learner.has_lora else weights
        self._save_weights(folder, {name: v.to(self.dtype) for name, v in merged.items()})
        self.start.tokenizer.save_pretrained(folder)
        save_file({"yes": rows[0].contiguous(), "no": rows[1].contiguous()}, folder / ROWS_FILE)
        row = (rows[0] - rows[1] if self.start.layout.score == "difference" else rows[0])[0]
        write_pair_encoder(folder, row.float(), self.max_length)

    def save_state(self, folder: Path, state: Mapping[str, Tensor] | None = None) -> None:
        """Write the trained parameters, which `load` restores."""
        held = dict(self.learner.named_parameters()) if state is None else state
        trained = {name: held[name].detach().cpu().contiguous() for name, _ in self.learner.list_trained()}
        save_file(trained, folder / STATE_FILE)

    def load(self, folder: Path) -> None:
        """Restore the parameters that `save_state` wrote. Raises TrainingError if they are of another model."""
        path = folder / STATE_FILE
        if not path.is_file():
            raise TrainingError(f"{folder}: holds no {STATE_FILE}; training cannot continue from it")
        state, wanted = load_file(path), dict(self.learner.list_trained())
        odd = sorted(state.keys() ^ wanted.keys())
        if odd:
            raise TrainingError(f"{path}: {odd[0]} is missing there, or nothing that this recipe trains")
        with torch.no_grad():
            for name, values in wanted.items():
                values.copy_(state[name])

    def _save_lora(self, folder: Path, state: Mapping[str, Tensor] | None) -> None:
        config = self.learner.model.peft_config["default"]
        config.base_model_name_or_path = self.base
        config.revision = self.revision
        self.learner.model.save_pretrained(folder, state_dict=state)
        if self.learner.tower is not None:
            self._copy_from_base(folder)

    @torch.no_grad()
    def _merge(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the base's weights with the LoRA weights added, in float32; the model itself is not changed."""
        from peft.tuners.lora import LoraLayer

        layers: dict[str, Any] = {
            name: module for name, module in self.learner.model.named_modules() if isinstance(module, LoraLayer)
        }
        merged: dict[str, Tensor] = {}
        for name, values in weights.items():
            layer = name.rpartition(".base_layer.")[0]
            if ".lora_" in name:
                continue
            if name == f"{layer}.base_layer.weight":
                values = values.float() + layers[layer].get_delta_weight("default").float()
            merged[name.removeprefix("base_model.model.").replace(".base_layer.", ".")] = values
        return merged

    def _save_whole(self, folder: Path, rows: Rows, state: Mapping[str, Tensor]) -> bool:
        """Save a whole model. Return whether the label rows must be saved in a file of their own."""
        model = self.learner.base
        weights = {name: v.to(self.dtype) for name, v in state.items()}
        output = model.get_output_embeddings()
        tied = output.weight is model.get_input_embeddings().weight
        ids = self._find_single_ids(rows)
        apart = not self._equals_head(rows)
        if apart and not tied and ids is not None:
            name = next(name for name, module in model.named_modules() if module is output)
            head = weights[f"{name}.weight"].clone()
            head[ids] = torch.cat(rows).to(head.dtype).to(head.device)
            weights[f"{name}.weight"] = head
            apart = False
        self._save_weights(folder, weights)
        self._copy_from_base(folder)
        return apart

    def _save_weights(self, folder: Path, weights: dict[str, Tensor]) -> None:
        model = self.learner.base
        kept = model.config.dtype
        model.config.dtype = self.dtype
        try:
            model.save_pretrained(folder, state_dict=weights)
        finally:
            model.config.dtype = kept

    def _copy_from_base(self, folder: Path) -> None:
        for name in COPIED:
            if (self.start.folder / name).is_file():
                shutil.copyfile(self.start.folder / name, folder / name)

    def _find_single_ids(self, rows: Rows) -> list[int] | None:
        """Return the ids of the template's labels if each label has exactly one row, else None."""
        positive, negative = resolve_label_ids(self.start.tokenizer, self.start.layout)
        return [positive, negative] if negative is not None and all(len(row) == 1 for row in rows) else None

    def _equals_head(self, rows: Rows) -> bool:
        """Return whether the label rows equal the head's rows of the label tokens; then they need not be saved."""
        ids = self._find_single_ids(rows)
        if ids is None:
            return False
        head: Any = self.learner.base.get_output_embeddings().weight
        own = head[ids].detach().float().cpu()
        return bool(torch.equal(own, torch.cat(rows).float()))


def can_express(layout: PromptTemplate) -> bool:
    """Return whether a chat template can express the prompt and its truncation: one string, the document's text last
    but for literal text, and no token added after it.
    """
    fields = [name for kind, name in layout.pieces if kind == "field"]
    return layout.final_token is None and "cut" not in fields and fields[-1] == "document_text"


def write_cross_encoder(
    folder: Path, layout: PromptTemplate, positive: int, negative: int | None, max_length: int
) -> None:
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
            "max_seq_length": max_length,
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
    write_bytes(folder / "chat_template.jinja", make_chat_template(layout).encode())


def make_vllm_overrides(folder: Path, layout: PromptTemplate) -> str | None:
    """Return vLLM's `hf_overrides` for the whole Qwen3 model in `folder`, as JSON; None for any other model.

    With them vLLM makes a classifier of the difference of the labels' rows in the head.
    """
    path = folder / "config.json"
    config = read_json(path) if path.is_file() and (folder / "modules.json").is_file() else {}
    if config.get("model_type") != "qwen3" or layout.score != "difference":
        return None
    overrides = {
        "architectures": ["Qwen3ForSequenceClassification"],
        "classifier_from_token": [layout.labels[1], layout.labels[0]],
        "is_original_qwen3_reranker": True,
    }
    return json.dumps(overrides)


def make_chat_template(layout: PromptTemplate) -> str:
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
