"""Recognise what kind of reranker a model is from its small files; nothing is guessed from an architecture alone.

`recognise_model` returns the adapter and its options, or refuses with the command to type instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mrb.engine.prompt_template import PromptTemplate
from mrb.engine.published_prompts import LAYOUTS
from mrb.errors import AdapterError, to_one_line
from mrb.rerankers.known_models import find_known_models

# Networks that were pretrained to read two texts at once: a head on one of them takes plain pairs. A decoder with a
# head needs the prompt of its training.
PAIR_ENCODERS = frozenset(
    {
        *("albert", "bert", "big_bird", "camembert", "convbert", "deberta", "deberta-v2", "distilbert", "electra"),
        *("ernie", "eurobert", "funnel", "longformer", "megatron-bert", "mobilebert", "modernbert", "mpnet", "nezha"),
        *("nystromformer", "rembert", "roberta", "roformer", "xlm", "xlm-roberta", "xlm-roberta-xl", "xlnet", "xmod"),
    }
)
_OPENING = re.compile(r"\{[{%#]")
_CLOSING = {"{{": "}}", "{%": "%}", "{#": "#}"}
_MAX_TEMPLATES = 50
_GAP = "\0"
_TRAINED = ("layout", "max_length", "min_pixels", "max_pixels")
_SENTENCE = "sentence_transformers"


@dataclass(frozen=True)
class Recognised:
    """The adapter that runs a model, its options as text, and in words what the model is."""

    adapter: str
    what: str
    options: Mapping[str, str] = field(default_factory=dict)


def recognise_model(address: str, files: Mapping[str, str], options: Mapping[str, str]) -> Recognised:
    """Return what runs a model.

    Args:
        address: The model as the user gave it, for messages: ORG/NAME or a folder.
        files: The content of its small files by name (`mrb.hub.model_files`).
        options: The user's options; `layout` and `trust_remote_code` decide where the files do not.

    Raises:
        AdapterError: A file is damaged, or no adapter is sure to be right. The message says what to type.
    """
    return _Model(address, files, options).recognise()


class _Model:
    def __init__(self, address: str, files: Mapping[str, str], options: Mapping[str, str]) -> None:
        self.address, self.files, self.options = address, files, options
        self.config = self._read_table("config.json")
        self.modules = self._read("modules.json", list) or []
        self.tuned = self._read_table("adapter_config.json")

    def recognise(self) -> Recognised:
        if not {"config.json", "modules.json", "adapter_config.json"} & self.files.keys():
            raise AdapterError(
                f"{self.address}: holds no config.json, modules.json or adapter_config.json, so it is no model that "
                "MRB knows; `mrb models` lists the adapters"
            )
        if "training.json" in self.files and (trained := self._read_training()) is not None:
            return trained
        self._refuse_own_code()
        if "modules.json" in self.files:
            return self._recognise_modules()
        if "layout" in self.options:
            return Recognised("yes-no", f"{self._describe()} with the layout that was named")
        if self.tuned:
            base = _to_text(self.tuned.get("base_model_name_or_path")) or "a base that it does not name"
            raise self._refuse(f"LoRA weights on {base}", "its files do not hold the prompt of its training", base)
        return self._recognise_architecture()

    def _read_training(self) -> Recognised | None:
        """Return the reranker of a folder that `mrb train` wrote."""
        recipe = self._read_table("training.json").get("recipe")
        model = recipe.get("model") if isinstance(recipe, dict) else None
        stated = {name: model.get(name) for name in _TRAINED} if isinstance(model, dict) else {}
        layout = stated.pop("layout", None)
        known = {known.name for known in LAYOUTS}
        if (
            not isinstance(layout, str)
            or layout not in known
            or not all(type(value) is int and value > 0 for value in stated.values())
        ):
            return None
        options = {"layout": layout, **{name: str(value) for name, value in stated.items()}}
        return Recognised("yes-no", f"trained by mrb train, layout {layout}", options)

    def _refuse_own_code(self) -> None:
        """Refuse a model with code of its own, unless the user has typed that it may run."""
        own = self.config.get("auto_map")
        foreign = [name for name in self._list_module_types() if not name.startswith(f"{_SENTENCE}.")]
        if self._is_trusted() or not (own or foreign):
            return
        code = foreign[0] if foreign else next(iter(own.values()), "") if isinstance(own, dict) else ""
        name = self._describe()
        if "modules.json" in self.files:
            hint = f"mrb run --model {self.address} --set trust_remote_code=true"
        elif name.endswith("ForSequenceClassification"):
            hint = self._spell("cross-encoder", trust_remote_code="true")
        else:
            raise AdapterError(
                f"{self.address}: {name}, a class of its own code ({_to_text(code) or 'auto_map'}), which no adapter "
                "scores; docs/adapters.md shows how to write one"
            )
        raise AdapterError(
            f"{self.address}: {name} with code of its own ({_to_text(code) or 'auto_map'}), which MRB runs only if you "
            f"say so; after you have read it: {hint}"
        )

    def _is_trusted(self) -> bool:
        return self.options.get("trust_remote_code", "").lower() in ("1", "true", "yes", "on")

    def _spell(self, adapter: str, **options: str) -> str:
        """Return the command that names the adapter."""
        trusted = {"trust_remote_code": "true"} if self._is_trusted() else {}
        given = {"path": self.address, **options, **trusted}
        return " ".join(["mrb run --model", adapter, *(f"--set {name}={value}" for name, value in given.items())])

    def _recognise_modules(self) -> Recognised:
        settings = self._read_table("config_sentence_transformers.json")
        stated, prompts = settings.get("model_type"), settings.get("prompts")
        types = self._list_module_types()
        if stated == "CrossEncoder" or any(f"{_SENTENCE}.cross_encoder." in name for name in types):
            return Recognised("cross-encoder", "a CrossEncoder of sentence-transformers")
        if stated not in (None, "SentenceTransformer"):
            raise AdapterError(
                f"{self.address}: a {_to_text(stated)} of sentence-transformers, which no adapter of MRB runs; "
                "docs/adapters.md shows how to write one"
            )
        if any(name.endswith(".LogitScore") for name in types):
            return Recognised("cross-encoder", "a CrossEncoder of sentence-transformers")
        last = types[-1].rpartition(".")[2] if types else "no module"
        # Many models were trained with a prompt that their card alone states; without it their scores are worse.
        told = "" if isinstance(prompts, dict) and any(prompts.values()) else ", no prompt in its files"
        return Recognised("bi-encoder", f"a SentenceTransformer (embeddings, last module {last}{told})")

    def _recognise_architecture(self) -> Recognised:
        names = [name for name in _to_list(self.config.get("architectures")) if isinstance(name, str)]
        name = names[0] if names else ""
        if name.endswith("ForSequenceClassification"):
            return self._recognise_classifier(name)
        if name.endswith(("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")):
            return self._recognise_language_model()
        raise AdapterError(
            f"{self.address}: {self._describe()}, which no adapter scores as it is; saved by sentence-transformers it "
            "states its pooling (modules.json) and is a bi-encoder; `mrb models` lists the adapters"
        )

    def _recognise_classifier(self, name: str) -> Recognised:
        labels = self._count_labels()
        if labels != 1:
            raise AdapterError(
                f"{self.address}: {name} with {labels} labels, a classifier; a reranker gives one score a pair"
            )
        kind = _to_text(self.config.get("model_type"))
        marked = _SENTENCE in self.config or "sbert_ce_default_activation_function" in self.config
        # A decoder with a chat template may have been trained with it, which sentence-transformers' mark does not say.
        if kind in PAIR_ENCODERS or (marked and not self._list_templates()):
            return Recognised("cross-encoder", f"{name} with one label")
        raise AdapterError(
            f"{self.address}: {name}, a decoder with one label, and its files do not say with which prompt it was "
            f"trained; if with plain pairs of texts: {self._spell('cross-encoder')}"
        )

    def _recognise_language_model(self) -> Recognised:
        found = [layout for template in self._list_templates() for layout in match_layouts(template)]
        names = list(dict.fromkeys(layout.name for layout in found))
        if len(names) == 1:
            return Recognised(
                "yes-no", f"{self._describe()}, chat template of the layout {names[0]}", {"layout": names[0]}
            )
        reason = "its chat template fits several layouts" if names else "its files do not hold a reranker's prompt"
        raise self._refuse(self._describe(), reason, *self._list_bases(), layouts=names)

    def _refuse(self, what: str, reason: str, *bases: str, layouts: Iterable[str] = ()) -> AdapterError:
        """Return the error of a language model whose layout must be named."""
        known = [layout for base in bases for layout in suggest_layouts(base)]
        names = list(dict.fromkeys([*layouts, *known])) or sorted(layout.name for layout in LAYOUTS)
        hint = self._spell("yes-no", layout=names[0] if len(names) == 1 else f"... one of {', '.join(names)}")
        return AdapterError(
            f"{self.address}: {what}; {reason}, and a wrong prompt gives plausible wrong scores: {hint}"
        )

    def _describe(self) -> str:
        names = [_to_text(name) for name in _to_list(self.config.get("architectures"))]
        return names[0] if names and names[0] else "a model without an architecture in its config.json"

    def _count_labels(self) -> int:
        stated = self.config.get("id2label")
        if isinstance(stated, dict):
            return len(stated)
        count = self.config.get("num_labels")
        return count if type(count) is int else 2  # the default of transformers

    def _list_module_types(self) -> list[str]:
        return [_to_text(module.get("type")) for module in self.modules if isinstance(module, dict)]

    def _list_templates(self) -> list[str]:
        """Return the chat templates of all files that may hold one."""
        found: list[object] = [self.files.get("chat_template.jinja")]
        for name in ("tokenizer_config.json", "chat_template.json"):
            stated = self._read_table(name).get("chat_template")
            found += [one.get("template") if isinstance(one, dict) else one for one in _to_list(stated)]
        if len(found) > _MAX_TEMPLATES:
            raise AdapterError(f"{self.address}: has {len(found):,} chat templates, at most {_MAX_TEMPLATES} are read")
        return [one for one in found if isinstance(one, str)]

    def _list_bases(self) -> list[str]:
        """Return the models that the model's own files name as its origin."""
        found = re.findall(
            r"^(?:base_model: *|- )['\"]?([\w.-]+/[\w.-]+)", self.files.get("README.md", "")[:4000], re.M
        )
        return [_to_text(self.config.get("_name_or_path")), *found]

    def _read_table(self, name: str) -> dict[str, Any]:
        return self._read(name, dict) or {}

    def _read(self, name: str, kind: type[Any]) -> Any:
        """Return a JSON file's content, None without the file."""
        if name not in self.files:
            return None
        try:
            content = json.loads(self.files[name])
        except (ValueError, RecursionError) as error:
            raise AdapterError(f"{self.address}: {name}: {to_one_line(error, 120)}") from error
        if not isinstance(content, kind):
            raise AdapterError(f"{self.address}: {name} is not a JSON {'list' if kind is list else 'object'}")
        return content


def match_layouts(template: str) -> list[PromptTemplate]:
    """Return the layouts whose prompt is that of a chat template, to the character.

    If several have the same prompt, only those whose default instruction is in the template are returned, if any is.
    """
    literal = _strip_ends(_split_template(template))
    same = [layout for layout in LAYOUTS if literal in _list_forms(layout)]
    told = [layout for layout in same if layout.default_instruction and layout.default_instruction in template]
    return told or same


def _split_template(template: str) -> list[str]:
    """Return the literal texts around the expressions, statements and comments of Jinja, in linear time."""
    parts, start, at = [], 0, 0
    closing = dict(_CLOSING)
    while (found := _OPENING.search(template, at)) is not None:
        sign = closing.get(found[0])
        end = -1 if sign is None else template.find(sign, found.end())
        if end < 0:  # the end of the template has no such sign
            closing.pop(found[0], None)
            at = found.start() + 1
            continue
        parts.append(template[start : found.start()])
        start = at = end + 2
    return [*parts, template[start:]]


def suggest_layouts(base: str) -> list[str]:
    """Return the layouts of the published model `base` (ORG/NAME), for a suggestion; empty if it is not known."""
    known = find_known_models().get(base.lower())
    layout = getattr(known.factory, "prompt", None) if known is not None else None
    return [layout.name] if layout in LAYOUTS else []


def _list_forms(layout: PromptTemplate) -> list[tuple[str, ...]]:
    """Return the literal texts around a prompt's fields, with and without a place for the instruction.

    Image and text of a side are one field, as they are one message to a template.
    """
    forms = []
    for instruction in (layout.instruction.replace("{text}", _GAP), ""):
        fields = {"instruction": instruction, "seam": "", "cut": ""}
        text = "".join(part if kind == "text" else fields.get(part, _GAP) for kind, part in layout.pieces)
        forms.append(_strip_ends(re.split(f"{_GAP}+", text)))
    return forms


def _strip_ends(parts: list[str]) -> tuple[str, ...]:
    """Return the texts without a start token and without white space at the end, which files lose or gain."""
    parts = [parts[0].removeprefix("<bos>"), *parts[1:]]
    return (*parts[:-1], parts[-1].rstrip())


def _to_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _to_text(value: object) -> str:
    return to_one_line(value, 80) if isinstance(value, str) else ""
