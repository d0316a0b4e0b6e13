"""What a cross-encoder of sentence-transformers takes as query and as document, by its own configuration and template.

The configuration names the modalities. A chat template may refuse some of them on one side ("Queries must be text"), or
leave their content out of the prompt: so it is rendered with probes, and what raises or changes nothing is not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mrb.data.inputs import PLURAL, SIDES, Inputs, Side
from mrb.data.task import MODALITIES, Modality
from mrb.errors import AdapterError, to_one_line

_IMAGE_SIDE = 28
_NOT_RENDERED = {"padding", "truncation", "max_length", "return_tensors", "restore_suffix"}
"""Settings of a chat template that never reach its rendering."""

Message = dict[str, Any]


@dataclass(frozen=True)
class PairInputs:
    """What a model takes. `refused` gives, by side and modality, why the model does not take it.

    `max_images` is 1 if the second image of a query or document is refused or left out of the prompt, else None.
    """

    inputs: Inputs
    refused: Mapping[tuple[Side, Modality], str]
    max_images: int | None


def takes_parts(model: Any) -> bool:
    """Return whether a pair becomes messages with typed parts; otherwise it is two plain texts."""
    config = getattr(model[0], "modality_config", {}).get("message")
    return config is not None and config.get("format") != "flat"


def derive_pair_inputs(name: str, path: str, model: Any) -> PairInputs:
    """Return what the model takes on each side.

    Args:
        name: Name of the adapter, for messages.
        path: Name of the model, for messages.
        model: A CrossEncoder.

    Raises:
        AdapterError: It takes no text, or its chat template cannot render a query and a document of texts.
    """
    if not model.supports("text"):
        raise AdapterError(f"{name}: {path} takes no text; it takes {', '.join(map(str, model.modalities))}")
    if not takes_parts(model):
        return PairInputs(Inputs.both("text"), _refuse_all("pairs of this model are two plain texts"), 1)
    configured = ["text"] + ["image"] * model.supports("image") + ["image+text"] * model.supports(("image", "text"))
    render = _make_renderer(model)
    _check_texts(name, path, render)
    refused = {
        (side, modality): _find_refusal(render, side, modality)
        if modality in configured
        else "its configuration does not name this modality"
        for side in SIDES
        for modality in MODALITIES
    }
    taken = {side: [m for m in MODALITIES if not refused[side, m]] for side in SIDES}
    for modality in taken["query"]:
        # Inputs are declared by side, so a query must go with every document.
        if said := next(filter(None, (_render(render, modality, other)[1] for other in taken["document"])), ""):
            refused["query", modality] = said
    inputs = Inputs(query=tuple(m for m in MODALITIES if not refused["query", m]), document=tuple(taken["document"]))
    taken["query"] = list(inputs.query)
    most = None if all(_shows_second_image(render, side, taken[side]) for side in SIDES) else 1
    return PairInputs(inputs, {key: why for key, why in refused.items() if why}, most)


def narrow_inputs(name: str, path: str, found: PairInputs, stated: Inputs) -> Inputs:
    """Return what the user states that the model takes. AdapterError if the model does not take it."""
    chosen: dict[Side, tuple[Modality, ...]] = {"query": stated.query, "document": stated.document}
    for side, modalities in chosen.items():
        for modality in modalities:
            if why := found.refused.get((side, modality)):
                raise AdapterError(
                    f"{name}: {path} does not take {modality} {PLURAL[side]}, which the adapter's inputs name: {why}"
                )
    return stated


def list_refusals(found: PairInputs) -> list[str]:
    """Return a line for each side and reason: which modalities the model does not take."""
    lines: dict[tuple[str, str], list[str]] = {}
    for (side, modality), why in found.refused.items():
        lines.setdefault((PLURAL[side], why), []).append(modality)
    return [f"{side} of {', '.join(modalities)} are not covered: {why}" for (side, why), modalities in lines.items()]


def _make_renderer(model: Any) -> Callable[[Any, Any], str]:
    """Return a function that renders a query and a document as the model's prompt."""
    first = model[0]
    settings = (getattr(first, "processing_kwargs", None) or {}).get("chat_template", {})
    chosen = {key: value for key, value in settings.items() if key not in _NOT_RENDERED}

    def render(query: Any, document: Any) -> str:
        messages = first.input_formatter.pair_to_messages((query, document))
        return str(first.processor.apply_chat_template(messages, tokenize=False, **chosen))

    return render


def _check_texts(name: str, path: str, render: Callable[[Any, Any], str]) -> None:
    _, said = _try(render, {"text": "red fox"}, {"text": "blue hill"})
    why = said or _find_refusal(render, "query", "text") or _find_refusal(render, "document", "text")
    if why:
        raise AdapterError(f"{name}: {path}: its chat template cannot render a query and a document: {why}")


def _find_refusal(render: Callable[[Any, Any], str], side: Side, modality: Modality) -> str:
    """Return why the template does not take the modality on this side; empty if it does."""
    image = _make_image()
    probes: dict[Modality, tuple[Message, tuple[Message, ...]]] = {
        "text": ({"text": "red fox"}, ({"text": "blue hat"},)),
        "image": ({"image": image}, ({"text": ""},)),
        "image+text": (
            {"image": image, "text": "red fox"},
            ({"text": "red fox"}, {"image": image, "text": "blue hat"}),
        ),
    }
    probe, others = probes[modality]
    text = {"text": "a"}

    def show(content: Message) -> tuple[str, str]:
        return _try(render, *((content, text) if side == "query" else (text, content)))

    shown, said = show(probe)
    if said:
        return said
    if any(show(other) == (shown, "") for other in others):
        return "its chat template leaves the content out"
    return ""


def _shows_second_image(render: Callable[[Any, Any], str], side: Side, taken: Sequence[Modality]) -> bool:
    """Return whether the second image of an item changes the prompt; True for a side that takes no image."""
    if taken == ["text"]:
        return True
    image, text = _make_image(), {"text": "a"}

    def show(images: list[Any]) -> tuple[str, str]:
        content = {"image": images} if "image" in taken else {"image": images, **text}
        return _try(render, *((content, text) if side == "query" else (text, content)))

    two, said = show([image, image])
    return not said and two != show([image])[0]


def _render(render: Callable[[Any, Any], str], query: Modality, document: Modality) -> tuple[str, str]:
    image = _make_image()
    contents: dict[Modality, Message] = {
        "text": {"text": "a"},
        "image": {"image": image},
        "image+text": {"image": image, "text": "a"},
    }
    return _try(render, contents[query], contents[document])


def _try(render: Callable[[Any, Any], str], query: Any, document: Any) -> tuple[str, str]:
    """Return (prompt, ""), or ("", what the template raised)."""
    try:
        return render(query, document), ""
    except Exception as error:  # a template may raise anything
        return "", to_one_line(f"its chat template raised: {error}", 200)


def _make_image() -> Any:
    from PIL import Image

    return Image.new("RGB", (_IMAGE_SIDE, _IMAGE_SIDE), "white")


def _refuse_all(why: str) -> dict[tuple[Side, Modality], str]:
    return {(side, modality): why for side in SIDES for modality in MODALITIES if modality != "text"}
